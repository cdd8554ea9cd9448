//! The hello's own fields, once all of it is there (RFC 8446 section 4.1.2). What only concerns the endpoint is checked
//! for its lengths and not looked into.

use std::borrow::Cow;

use super::extensions::{self, Extensions};
use super::reader::Reader;
use super::record::{HEADER, payloads};
use super::{MESSAGE_HEADER, Reject};

/// Reads the message that the records up to `end` carry; `message` is its length, header included.
pub(super) fn parse_records(raw: &[u8], end: usize, message: usize) -> Result<Extensions, Reject> {
    let whole = joined(raw, end, message)?;
    parse(whole.get(MESSAGE_HEADER..).ok_or(Reject::Truncated)?)
}

/// The message in one piece: copied only where more than one record carries it, and then nothing but the message.
pub(super) fn joined(raw: &[u8], end: usize, message: usize) -> Result<Cow<'_, [u8]>, Reject> {
    if end == HEADER + message {
        let whole = raw.get(HEADER..end).ok_or(Reject::Truncated)?;
        return Ok(Cow::Borrowed(whole));
    }
    let mut whole = Vec::with_capacity(message);
    payloads(raw, end).for_each(|payload| whole.extend_from_slice(payload));
    Ok(Cow::Owned(whole))
}

/// Bytes of a hello's random, RFC 8446 section 4.1.2.
const RANDOM: usize = 32;
/// Bytes a session id may have, RFC 8446 section 4.1.2.
const MAX_SESSION_ID: usize = 32;
/// TLS 1.0. Older ones had no extensions, and RFC 7568 section 3 forbids to accept them.
const OLDEST: u16 = 0x0301;
/// The last of the versions that begin with 3, as all of TLS do: RFC 8446 section 4.1.2 keeps this field at 0x0303.
const NEWEST: u16 = 0x03ff;

fn parse(body: &[u8]) -> Result<Extensions, Reject> {
    let mut reader = Reader::new(body);
    if !(OLDEST..=NEWEST).contains(&reader.u16()?) {
        return Err(Reject::LegacyVersion);
    }
    reader.take(RANDOM)?;
    let session = reader.vec8()?;
    let ciphers = reader.vec16()?;
    let compressions = reader.vec8()?;
    let whole_ciphers = !ciphers.is_empty() && ciphers.len().is_multiple_of(2);
    if session.len() > MAX_SESSION_ID || !whole_ciphers || compressions.is_empty() {
        return Err(Reject::BadList);
    }
    if reader.is_empty() {
        // Before TLS 1.3 a hello may end here (RFC 5246 section 7.4.1.2), without a name then.
        return Err(Reject::NoName);
    }
    let list = reader.vec16()?;
    reader.finish()?;
    extensions::parse(list)
}
