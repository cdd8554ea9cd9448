//! The ClientHello, read as it arrives: server name, ALPN, early data, and where it ends. No socket, no clock, no IO; it
//! never changes the bytes and never decides where they go.
//!
//! Strict where parsers are known to disagree (two names, duplicate extensions, empty records), because what we read must
//! be what the endpoint reads; lenient in what only concerns the endpoint (ciphers, key shares, the order of extensions).

mod alpn;
mod body;
mod extensions;
mod name;
mod opening;
mod reader;
mod record;
mod reject;
#[cfg(test)]
mod tests;

pub use self::alpn::{Alpn, PROBE_PROTOCOL};
pub use self::name::Name;
pub use self::reject::Reject;

use self::record::{HEADER, MAX_PAYLOAD, Record};

/// What a complete hello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The server name (RFC 6066 section 3), normalised.
    pub name: Name,
    /// The protocols it offers (RFC 7301).
    pub alpn: Alpn,
    /// Whether early data may follow it (RFC 8446 section 4.2.10): such a hello must not be sent to a second endpoint.
    pub early_data: bool,
    /// Raw bytes of the hello, record headers included. What lies behind (early data) is not part of it.
    pub len: usize,
}

/// Reads one hello from bytes that come in pieces. The bytes stay with the caller; the parser remembers how far it has
/// come, so that the total work is linear in the bytes however they are cut.
#[derive(Clone, Debug)]
pub struct Parser {
    /// Raw bytes a hello may have, record headers included.
    limit: usize,
    /// Where the first record that is not wholly there begins.
    record: usize,
    /// Bytes of the handshake message in the records before that.
    collected: usize,
    /// Bytes of the whole handshake message, its header included; 0 while unknown.
    message: usize,
}

/// `HandshakeType.client_hello`, RFC 8446 section 4.
const CLIENT_HELLO: u8 = 0x01;
/// Bytes of a handshake message's header: type and length, RFC 8446 section 4.
const MESSAGE_HEADER: usize = 4;

impl Parser {
    /// A parser for one hello of at most `limit` raw bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            record: 0,
            collected: 0,
            message: 0,
        }
    }

    /// Goes on with `raw`: everything received so far, from the connection's first byte on. `None` means that more bytes
    /// are needed. The answer does not depend on how the bytes are cut.
    ///
    /// # Errors
    /// As soon as it is certain that no further byte can make this a hello that we would route.
    pub fn advance(&mut self, raw: &[u8]) -> Result<Option<Hello>, Reject> {
        while self.message == 0 || self.collected < self.message {
            let Some(record) = Record::at(raw, self.record)? else {
                return Ok(None);
            };
            self.check_fit(record.end)?;
            if self.message == 0 {
                self.message = message_len(raw, record.end)?;
            }
            if self.message != 0 {
                self.check_message(&record)?;
            }
            if raw.len() < record.end {
                return Ok(None);
            }
            self.collected += record.len();
            self.record = record.end;
        }
        let body = body::parse_records(raw, self.record, self.message)?;
        Ok(Some(Hello {
            name: body.name,
            alpn: body.alpn,
            early_data: body.early_data,
            len: self.record,
        }))
    }

    /// What is wrong with `raw`, of which [`Self::advance`] wanted more, if no more comes: text is no beginning of a hello, and
    /// was only waited for to see whose it is. `None`: a hello, cut short.
    #[must_use]
    pub fn at_end(raw: &[u8]) -> Option<Reject> {
        (!raw.is_empty() && !record::begins_handshake(raw)).then_some(Reject::Text)
    }

    /// With the message's length known: whether its end is the end of a record, and within the ceiling.
    fn check_message(&self, record: &Record) -> Result<(), Reject> {
        let Some(missing) = (self.message - self.collected).checked_sub(record.len()) else {
            return Err(Reject::TrailingMessage);
        };
        // What is still missing comes in at least this many further records.
        self.check_fit(record.end + missing + missing.div_ceil(MAX_PAYLOAD) * HEADER)
    }

    /// Whether a hello that reaches this far is within the ceiling.
    const fn check_fit(&self, end: usize) -> Result<(), Reject> {
        if end > self.limit {
            return Err(Reject::TooLarge);
        }
        Ok(())
    }
}

/// The length of the handshake message, from what is there of the records up to `end`: 0 while its four bytes of header
/// are not all there (a record may be as short as one byte). The type is judged as soon as it is seen.
fn message_len(raw: &[u8], end: usize) -> Result<usize, Reject> {
    let mut head = [0; MESSAGE_HEADER];
    let mut have = 0;
    for byte in record::payloads(raw, end).flatten().take(MESSAGE_HEADER) {
        head[have] = *byte;
        have += 1;
    }
    let [kind, high, middle, low] = head;
    if have > 0 && kind != CLIENT_HELLO {
        return Err(Reject::NotClientHello);
    }
    if have < MESSAGE_HEADER {
        return Ok(0);
    }
    let body = u32::from_be_bytes([0, high, middle, low]);
    Ok(usize::try_from(body).unwrap_or(usize::MAX - MESSAGE_HEADER) + MESSAGE_HEADER)
}
