//! The PROXY protocol, versions 1 and 2, read from a connection's first bytes (HAProxy's `doc/proxy-protocol.txt`): who
//! the client is, as a load balancer before us saw it. Whether a peer may say so is not decided here.

mod binary;
mod fault;
mod line;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use self::fault::ProxyFault;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header; more bytes are needed, never more than 4,096 in all.
    Incomplete,
    /// A header.
    Header {
        /// Its bytes: the client's own begin behind them.
        len: usize,
        /// The client; `None` where the header names none (`LOCAL`, `UNKNOWN`, not TCP): then the connection's own peer.
        source: Option<SocketAddr>,
        /// Where the client connected to; there whenever `source` is.
        destination: Option<SocketAddr>,
    },
}

/// Reads the header that `raw`, everything received so far, begins with. The answer does not depend on how the bytes are
/// cut, and one call costs no more than the longest header.
///
/// # Errors
/// As soon as it is certain that no header begins here that we would take.
pub fn parse(raw: &[u8]) -> Result<Parsed, ProxyFault> {
    match raw {
        [] => Ok(Parsed::Incomplete),
        _ if begins(raw, line::START) => line::parse(raw),
        _ if begins(raw, binary::SIGNATURE) => binary::parse(raw),
        _ => Err(ProxyFault::Missing),
    }
}

/// Whether the bytes that are there agree with how a header starts.
fn begins(raw: &[u8], start: &[u8]) -> bool {
    let shorter = raw.len().min(start.len());
    raw[..shorter] == start[..shorter]
}

impl Parsed {
    /// A header that names no addresses.
    const fn without_addresses(len: usize) -> Self {
        Self::Header {
            len,
            source: None,
            destination: None,
        }
    }

    /// A header that names both ends.
    const fn between(len: usize, source: SocketAddr, destination: SocketAddr) -> Self {
        Self::Header {
            len,
            source: Some(source),
            destination: Some(destination),
        }
    }
}
