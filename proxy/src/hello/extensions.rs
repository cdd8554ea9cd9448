//! The hello's extensions (RFC 8446 section 4.2): the three we read, and that none is there twice.

use super::reader::Reader;
use super::{Alpn, Name, Reject};

/// What the extensions say.
#[derive(Debug)]
pub(super) struct Extensions {
    pub(super) name: Name,
    pub(super) alpn: Alpn,
    pub(super) early_data: bool,
}

/// `server_name`, RFC 6066 section 3.
const SERVER_NAME: u16 = 0;
/// `application_layer_protocol_negotiation`, RFC 7301 section 3.1.
const ALPN: u16 = 16;
/// `early_data`, RFC 8446 section 4.2.10.
const EARLY_DATA: u16 = 42;
/// `NameType.host_name`, RFC 6066 section 3: the only one there is.
const HOST_NAME: u8 = 0;

/// Reads the list of extensions.
pub(super) fn parse(list: &[u8]) -> Result<Extensions, Reject> {
    let mut reader = Reader::new(list);
    let mut seen = Seen::default();
    let mut name = None;
    let mut alpn = Alpn::default();
    let mut early_data = false;
    while !reader.is_empty() {
        let kind = reader.u16()?;
        let data = reader.vec16()?;
        if !seen.insert(kind) {
            return Err(Reject::DuplicateExtension);
        }
        match kind {
            SERVER_NAME => name = Some(server_name(data)?),
            ALPN => alpn = protocols(data)?,
            EARLY_DATA => early_data = true,
            _ => {}
        }
    }
    Ok(Extensions {
        name: name.ok_or(Reject::NoName)?,
        alpn,
        early_data,
    })
}

/// The one host name. A list that begins with another type of name has none that we could know the length of.
fn server_name(data: &[u8]) -> Result<Name, Reject> {
    if data.is_empty() {
        // As servers send it (RFC 6066 section 3); in a hello it names nothing.
        return Err(Reject::NoName);
    }
    let mut reader = Reader::new(data);
    let mut list = Reader::new(reader.vec16()?);
    reader.finish()?;
    if list.is_empty() || list.u8()? != HOST_NAME {
        return Err(Reject::NoName);
    }
    let name = list.vec16()?;
    if !list.is_empty() {
        return Err(Reject::TwoNames);
    }
    Name::new(name)
}

/// The protocols offered: a list that is not empty, of names that are not empty (RFC 7301 section 3.1).
fn protocols(data: &[u8]) -> Result<Alpn, Reject> {
    let mut reader = Reader::new(data);
    let mut list = Reader::new(reader.vec16()?);
    reader.finish()?;
    if list.is_empty() {
        return Err(Reject::BadList);
    }
    let mut offered = Alpn::default();
    while !list.is_empty() {
        let protocol = list.vec8()?;
        if protocol.is_empty() {
            return Err(Reject::BadList);
        }
        offered = offered.with(protocol);
    }
    Ok(offered)
}

/// Types above [`LOW`] that a hello is expected to have at most: GREASE (RFC 8701), ECH, renegotiation, private ones.
const HIGH: usize = 16;

/// Types below this have a bit each; most of those that are assigned are.
const LOW: u16 = 64;

/// Words that hold a bit for each of the 2^16 types.
const WORDS: usize = 1 << 10;

/// Which types have been seen. A usual hello needs a few words of it; one that is full of extensions costs no more than its
/// bytes, because from then on each type has a bit.
#[derive(Default)]
struct Seen {
    low: u64,
    high: [u16; HIGH],
    high_len: usize,
    many: Vec<u64>,
}

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, kind: u16) -> bool {
        if kind < LOW {
            return set(&mut self.low, kind);
        }
        if self.many.is_empty() {
            let known = &self.high[..self.high_len];
            if known.contains(&kind) {
                return false;
            }
            if let Some(free) = self.high.get_mut(self.high_len) {
                *free = kind;
                self.high_len += 1;
                return true;
            }
            self.many = vec![0; WORDS];
            for known in self.high {
                set(&mut self.many[usize::from(known >> 6)], known);
            }
        }
        set(&mut self.many[usize::from(kind >> 6)], kind)
    }
}

/// Sets a type's bit in its word; whether it was not set.
const fn set(word: &mut u64, kind: u16) -> bool {
    let bit = 1 << (kind & 63);
    let new = *word & bit == 0;
    *word |= bit;
    new
}
