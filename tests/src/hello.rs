//! ClientHellos that no library would send, so that a story can provoke each way of refusing them. They are well formed but
//! for what a story puts in.

/// The extension types that matter here: RFC 6066 section 3, RFC 7301.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// A hello to be changed and sent.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// One that names this server and offers these protocols.
    #[must_use]
    pub fn new(names: &[&str], protocols: &[&str]) -> Self {
        let mut hello = Self::default();
        if !names.is_empty() {
            let entries: Vec<u8> = names
                .iter()
                .flat_map(|name| [&[0][..], &prefixed(name.as_bytes())].concat())
                .collect();
            hello = hello.with(SERVER_NAME, prefixed(&entries));
        }
        if !protocols.is_empty() {
            let entries: Vec<u8> = protocols
                .iter()
                .flat_map(|protocol| {
                    let length = u8::try_from(protocol.len()).expect("a short protocol");
                    [&[length], protocol.as_bytes()].concat()
                })
                .collect();
            hello = hello.with(ALPN, prefixed(&entries));
        }
        hello
    }

    /// With one more extension.
    #[must_use]
    pub fn with(mut self, kind: u16, data: Vec<u8>) -> Self {
        self.extensions.push((kind, data));
        self
    }

    /// As it goes over the wire: one record (RFC 8446 sections 4.1.2 and 5.1).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.in_records(usize::from(u16::MAX))
    }

    /// The same in records of so many bytes.
    #[must_use]
    pub fn in_records(&self, size: usize) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (kind, data) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(prefixed(data));
        }
        let mut body = vec![3, 3];
        body.extend([9; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend(prefixed(&extensions));
        let message = [&[1, 0][..], &prefixed(&body)].concat();
        let records = message.chunks(size);
        records
            .flat_map(|record| [&[0x16, 3, 1][..], &prefixed(record)].concat())
            .collect()
    }
}

/// Two bytes of length before the bytes themselves.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short vector");
    [&length.to_be_bytes(), bytes].concat()
}
