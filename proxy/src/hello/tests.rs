//! What hellos are taken, what is refused and why, however they are cut.

mod builder;
mod cuts;
mod differential;
mod genuine;
mod names;
mod sizes;
mod table;

use super::{Hello, Parser, Reject};

/// The ceiling unless configured otherwise.
const LIMIT: usize = 64 << 10;

/// The answer to bytes that come at once.
fn parse(raw: &[u8]) -> Result<Option<Hello>, Reject> {
    Parser::new(LIMIT).advance(raw)
}

/// The first answer to bytes that come in pieces which end at these places, and then all of them.
fn parse_cut(raw: &[u8], ends: impl IntoIterator<Item = usize>) -> Result<Option<Hello>, Reject> {
    let mut parser = Parser::new(LIMIT);
    for end in ends {
        if let Some(hello) = parser.advance(&raw[..end])? {
            return Ok(Some(hello));
        }
    }
    parser.advance(raw)
}

/// The answer to bytes that come one at a time.
fn parse_bytewise(raw: &[u8]) -> Result<Option<Hello>, Reject> {
    parse_cut(raw, 0..raw.len())
}
