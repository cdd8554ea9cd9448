//! The PROXY header before a hello, where the listener wants one: who may send it, and what the client is then called. How
//! it is read is the parser's business.

use std::net::IpAddr;

use super::Conn;
use crate::close::{Blame, Close, Reason};
use crate::limits::Admission;
use crate::proxy_protocol::{self, Parsed};
use crate::worker::Worker;

/// Whether a header is still to come before the hello.
///
/// # Errors
/// When the listener wants one and who connected is not listed as a source of them.
pub(super) fn is_due(worker: &Worker, conn: &Conn) -> Result<bool, Close> {
    let listener = worker.listener(conn.listener);
    if listener.proxy_sources.is_none() {
        Ok(false)
    } else if listener.takes_header_from(conn.peer.ip()) {
        Ok(true)
    } else {
        Err(conn.close(Reason::ProxySourceRefused, Blame::Downstream))
    }
}

/// Takes the header off what is held; `false` while it is not all there. A header that names nobody (a load balancer's own
/// check) leaves the client who it was.
///
/// # Errors
/// When the first bytes are no header, or the client that it names has too many connections already.
pub(super) fn take(worker: &Worker, conn: &Conn) -> Result<bool, Close> {
    let mut held = conn.held.borrow_mut();
    match proxy_protocol::parse(&held) {
        Ok(Parsed::Incomplete) => Ok(false),
        Ok(Parsed::Header { len, source, .. }) => {
            held.drain(..len);
            drop(held);
            if let Some(source) = source {
                // As who connects is seen, of whichever family the load balancer's socket is.
                let ip = source.ip().to_canonical();
                conn.set_client((ip, source.port()).into());
                count(worker, conn, ip)?;
            }
            Ok(true)
        }
        Err(fault) => {
            tracing::debug!(peer = %conn.peer, %fault, "a PROXY header was expected");
            Err(conn.close(fault.reason(), Blame::Downstream))
        }
    }
}

/// The limit of one source is the client's, not that of the load balancer through which all come.
fn count(worker: &Worker, conn: &Conn, source: IpAddr) -> Result<(), Close> {
    let admission = worker.gauges().enter_source(source);
    if admission == Admission::Drop {
        // It is told, and nobody waits until it has heard.
        conn.ask_to_stop(Reason::Overloaded);
    } else {
        conn.set_source(source);
    }
    match admission {
        Admission::Serve => Ok(()),
        _ => Err(conn.close(Reason::Overloaded, Blame::Gateway)),
    }
}
