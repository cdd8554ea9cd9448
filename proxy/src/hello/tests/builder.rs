//! Builds hellos, well-formed or not, and puts them into records.

/// A hello in its parts; the defaults are those of a TLS 1.3 client that names `a.test` and offers `istio`.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    pub(super) version: u16,
    pub(super) session: Vec<u8>,
    pub(super) ciphers: Vec<u8>,
    pub(super) compressions: Vec<u8>,
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
    /// Behind the extensions, where nothing should be.
    pub(super) tail: Vec<u8>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            version: 0x0303,
            session: vec![7; 32],
            ciphers: vec![0x13, 0x01, 0x13, 0x02, 0xc0, 0x2f],
            compressions: vec![0],
            extensions: vec![
                (0, server_name(b"a.test")),
                (10, vec![0, 2, 0, 0x1d]),
                (13, vec![0, 4, 4, 3, 8, 4]),
                (16, alpn(&["istio"])),
                (43, vec![2, 3, 4]),
            ],
            tail: Vec::new(),
        }
    }

    /// The same with one more extension.
    pub(super) fn with(mut self, kind: u16, data: Vec<u8>) -> Self {
        self.extensions.push((kind, data));
        self
    }

    /// The same with other data in an extension that is there, or without it.
    pub(super) fn replace(mut self, kind: u16, data: Option<Vec<u8>>) -> Self {
        match data {
            Some(data) => {
                let slot = self.extensions.iter_mut().find(|(k, _)| *k == kind);
                slot.expect("the extension is there").1 = data;
            }
            None => self.extensions.retain(|(k, _)| *k != kind),
        }
        self
    }

    /// The same with its name as given.
    pub(super) fn named(self, name: &[u8]) -> Self {
        self.replace(0, Some(server_name(name)))
    }

    /// The same, padded (RFC 7685) so that its only record has `len` bytes, header included.
    pub(super) fn padded(self, len: usize) -> Self {
        let short = self.clone().with(21, Vec::new()).whole().len();
        self.with(21, vec![0; len - short])
    }

    /// The handshake message.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.extend(vec8(&self.session));
        body.extend(vec16(&self.ciphers));
        body.extend(vec8(&self.compressions));
        let mut list = Vec::new();
        for (kind, data) in &self.extensions {
            list.extend(kind.to_be_bytes());
            list.extend(vec16(data));
        }
        body.extend(vec16(&list));
        body.extend(&self.tail);
        message(1, &body)
    }

    /// The hello in one record.
    pub(super) fn whole(&self) -> Vec<u8> {
        record(0x0301, &self.message())
    }

    /// The hello in records of these sizes, the last of which holds what is left.
    pub(super) fn records(&self, sizes: impl IntoIterator<Item = usize>) -> Vec<u8> {
        in_records(&self.message(), sizes)
    }
}

/// A handshake message.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    message[0] = kind;
    message.extend(body);
    message
}

/// A handshake record.
pub(super) fn record(version: u16, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16];
    record.extend(version.to_be_bytes());
    record.extend(vec16(payload));
    record
}

/// Bytes in handshake records of these sizes, the last of which holds what is left.
pub(super) fn in_records(bytes: &[u8], sizes: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = bytes;
    for size in sizes {
        if rest.len() <= size {
            break;
        }
        let (head, tail) = rest.split_at(size);
        raw.extend(record(0x0301, head));
        rest = tail;
    }
    raw.extend(record(0x0301, rest));
    raw
}

/// The data of a `server_name` extension with one host name.
pub(super) fn server_name(name: &[u8]) -> Vec<u8> {
    server_names(&[(0, name)])
}

/// The data of a `server_name` extension.
pub(super) fn server_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, name) in names {
        list.push(*kind);
        list.extend(vec16(name));
    }
    vec16(&list)
}

/// The data of an ALPN extension.
pub(super) fn alpn(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols.iter().flat_map(|p| vec8(p.as_bytes())).collect();
    vec16(&list)
}

/// Bytes behind their length in one byte.
pub(super) fn vec8(bytes: &[u8]) -> Vec<u8> {
    let mut vec = vec![u8::try_from(bytes.len()).unwrap()];
    vec.extend(bytes);
    vec
}

/// Bytes behind their length in two bytes.
pub(super) fn vec16(bytes: &[u8]) -> Vec<u8> {
    let mut vec = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    vec.extend(bytes);
    vec
}
