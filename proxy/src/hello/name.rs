//! A server name, normalised, held inline. Whether it is a name that we serve is not decided here.

use std::fmt;
use std::net::IpAddr;

use super::Reject;

/// A host name of 1 to 255 bytes: lower case, without a trailing dot.
#[derive(Clone, Copy)]
pub struct Name {
    /// The name's bytes, then zeros.
    bytes: [u8; MAX],
    /// How many of them.
    len: u8,
}

/// Bytes of the longest name: RFC 1035 section 2.3.4.
const MAX: usize = 255;

impl Name {
    /// Takes a name as it stands in a hello: letters, digits, `-` and `_` in labels that are not empty, at most one dot
    /// behind the last. Labels have no limit of their own: a mesh name's subset is a DNS label of up to 63 bytes and the
    /// `_` behind it.
    ///
    /// # Errors
    /// [`Reject::BadName`] for anything else, [`Reject::AddressAsName`] for an IP address.
    pub fn new(raw: &[u8]) -> Result<Self, Reject> {
        let raw = match raw {
            [] => return Err(Reject::BadName),
            raw if raw.len() > MAX => return Err(Reject::BadName),
            [head @ .., b'.'] => head,
            raw => raw,
        };
        let mut bytes = [0; MAX];
        let mut before = b'.';
        for (to, from) in bytes.iter_mut().zip(raw) {
            *to = match from {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => *from,
                b'A'..=b'Z' => from.to_ascii_lowercase(),
                b'.' if before != b'.' => *from,
                _ => return Err(refuse(raw)),
            };
            before = *from;
        }
        if before == b'.' {
            return Err(Reject::BadName);
        }
        if before.is_ascii_digit() && is_address(raw) {
            return Err(Reject::AddressAsName);
        }
        let len = u8::try_from(raw.len()).map_err(|_| Reject::BadName)?;
        Ok(Self { bytes, len })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// What is wrong with a name that has a byte no host name has: an IPv6 address is told apart.
#[cold]
fn refuse(raw: &[u8]) -> Reject {
    if is_address(raw) {
        Reject::AddressAsName
    } else {
        Reject::BadName
    }
}

fn is_address(raw: &[u8]) -> bool {
    std::str::from_utf8(raw).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
