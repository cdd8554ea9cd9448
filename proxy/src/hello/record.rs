//! TLS records (RFC 8446 section 5.1): where each begins and ends. It does not look into their payloads.

use super::{Reject, opening};

/// Bytes of a record's header: type, version, length.
pub(super) const HEADER: usize = 5;
/// Bytes a plaintext record may carry: 2^14, RFC 8446 section 5.1.
pub(super) const MAX_PAYLOAD: usize = 1 << 14;

/// `ContentType.alert`, RFC 8446 section 5.1.
const ALERT: u8 = 0x15;
/// `ContentType.handshake`, RFC 8446 section 5.1.
const HANDSHAKE: u8 = 0x16;

/// A record whose header is there; its payload may not be.
#[derive(Debug)]
pub(super) struct Record {
    /// Where its payload begins.
    start: usize,
    /// Where the next record begins.
    pub(super) end: usize,
}

impl Record {
    /// The record whose header stands at `at`. `None` if the header is not wholly there; what is there of it is judged.
    ///
    /// # Errors
    /// What stands there can be no record of a hello.
    pub(super) fn at(raw: &[u8], at: usize) -> Result<Option<Self>, Reject> {
        let header = raw.get(at..).unwrap_or_default();
        if !is_start(header, at == 0)? {
            return Ok(None);
        }
        let Some(&[_, _, _, high, low]) = header.first_chunk() else {
            return Ok(None);
        };
        match usize::from(u16::from_be_bytes([high, low])) {
            0 => Err(Reject::EmptyRecord),
            len if len > MAX_PAYLOAD => Err(Reject::LongRecord),
            len => Ok(Some(Self {
                start: at + HEADER,
                end: at + HEADER + len,
            })),
        }
    }

    /// Bytes of its payload.
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Whether the first byte is that of a handshake record.
pub(super) fn begins_handshake(raw: &[u8]) -> bool {
    raw.first() == Some(&HANDSHAKE)
}

/// The payloads, as far as they are there, of the records that begin before `end`; the headers have been checked before.
pub(super) fn payloads(raw: &[u8], end: usize) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let record = Record::at(raw, at).ok()??;
        at = record.end;
        Some(&raw[record.start..record.end.min(raw.len())])
    })
}

/// Whether type and version, as far as they are there, are those of a hello's record; `false` where that takes more bytes. In the
/// first record they tell TLS from everything else.
fn is_start(header: &[u8], first: bool) -> Result<bool, Reject> {
    let Some(&kind) = header.first() else {
        return Ok(false);
    };
    let major = header.get(1).copied().unwrap_or(3);
    let minor = header.get(2).copied().unwrap_or(0);
    // RFC 8446 section 5.1 wants the version ignored. We take SSL 3.0 to TLS 1.3, which is what clients send: what has
    // another is not TLS as anybody speaks it, and the measured peers disagree about it.
    let known_version = major == 3 && minor <= 4;
    match kind {
        HANDSHAKE if known_version => Ok(true),
        _ if !first => Err(Reject::ForeignRecord),
        HANDSHAKE => Err(Reject::RecordVersion),
        ALERT => Err(Reject::Alert),
        // SSL 2.0 sets the highest bit of its two-byte length: RFC 5246 appendix E.2.
        0x80.. => Err(Reject::Ssl2),
        b'\t' | b'\n' | b'\r' | b' '..=b'~' => opening::judge(header).map_or(Ok(false), Err),
        _ => Err(Reject::NotTls),
    }
}
