//! The PROXY header before a hello, where the listener wants one: who may send it, and what the client is then called. How
//! it is read is the parser's business.

use super::Conn;
use crate::close::{Blame, Close, Reason};
use crate::proxy_protocol::{self, Parsed};
use crate::worker::Worker;

/// Whether a header is still to come before the hello.
///
/// # Errors
/// When the listener wants one and who connected is not listed as a source of them.
pub(super) fn is_due(worker: &Worker, conn: &Conn) -> Result<bool, Close> {
    let Some(sources) = &worker.listener(conn.listener).proxy_sources else {
        return Ok(false);
    };
    let peer = conn.peer.ip();
    if sources.iter().any(|source| source.contains(&peer)) {
        Ok(true)
    } else {
        Err(conn.close(Reason::ProxySourceRefused, Blame::Downstream))
    }
}

/// Takes the header off what is held; `false` while it is not all there. A header that names nobody (a load balancer's own
/// check) leaves the client who it was.
///
/// # Errors
/// When the first bytes are no header.
pub(super) fn take(conn: &Conn) -> Result<bool, Close> {
    let mut held = conn.held.borrow_mut();
    match proxy_protocol::parse(&held) {
        Ok(Parsed::Incomplete) => Ok(false),
        Ok(Parsed::Header { len, source, .. }) => {
            held.drain(..len);
            if let Some(source) = source {
                conn.set_client(source);
            }
            Ok(true)
        }
        Err(fault) => {
            tracing::debug!(peer = %conn.peer, %fault, "a PROXY header was expected");
            Err(conn.close(fault.reason(), Blame::Downstream))
        }
    }
}
