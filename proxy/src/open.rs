//! What is said about a connection that is open. It must not change it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use model::Origin;
use tokio::sync::oneshot;

use crate::close::Stage;
use crate::config::Role;
use crate::conn::Conn;
use crate::hello::Alpn;
use crate::worker::Worker;

/// One open connection.
#[derive(Clone, Debug)]
pub struct OpenConnection {
    /// From accept until now.
    pub age: Duration,
    /// What its listener is for.
    pub role: Role,
    /// The listener's address, as it was bound.
    pub listener: SocketAddr,
    /// The client: whom a PROXY header named, else who connected.
    pub client: SocketAddr,
    /// How far it has come.
    pub stage: Stage,
    /// The server name, if the hello came so far.
    pub name: Option<Arc<str>>,
    /// The protocols that the hello offered.
    pub alpn: Alpn,
    /// What serves it: address, place and tier.
    pub upstream: Option<(SocketAddr, Arc<Origin>, u8)>,
    /// Bytes from the client that the endpoint was sent.
    pub sent: u64,
    /// Bytes from the endpoint that the client was sent.
    pub received: u64,
}

/// Which open connections are asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// Only those whose server name, client or endpoint contains this.
    pub contains: Option<String>,
    /// Most that each worker lists.
    pub limit: usize,
}

/// Connections that are looked at before others of the worker get their turn.
const AT_ONCE: usize = 256;

/// Lists a worker's connections, the oldest first: there may be a hundred thousand, and none of them waits for that.
pub(crate) async fn list(
    worker: Rc<Worker>,
    query: Arc<Query>,
    reply: oneshot::Sender<Vec<OpenConnection>>,
) {
    let mut found = Vec::new();
    let mut text = String::new();
    for keys in worker.by_age().chunks(AT_ONCE) {
        for key in keys {
            if let Some(conn) = worker.conn(*key)
                && matches(&conn, &query, &mut text)
                && found.len() < query.limit
            {
                found.push(OpenConnection::of(&worker, &conn));
            }
        }
        if found.len() >= query.limit || reply.is_closed() {
            break;
        }
        tokio::task::yield_now().await;
    }
    // Whoever asked may have gone.
    drop(reply.send(found));
}

/// Whether it is asked for; `text` is there to be written into.
fn matches(conn: &Conn, query: &Query, text: &mut String) -> bool {
    let Some(wanted) = &query.contains else {
        return true;
    };
    let mut says = |address: SocketAddr| {
        text.clear();
        // A string takes everything.
        let _ = write!(text, "{address}");
        text.contains(wanted)
    };
    says(conn.client())
        || conn
            .chosen
            .get()
            .is_some_and(|choice| says(choice.address()))
        || conn.name().is_some_and(|name| name.contains(wanted))
}

impl OpenConnection {
    /// What is said about this one.
    fn of(worker: &Worker, conn: &Conn) -> Self {
        let bound = worker.bound(conn.listener);
        Self {
            age: worker.clock.micros().since(conn.accepted),
            role: bound.role,
            listener: bound.address,
            client: conn.client(),
            stage: conn.stage(),
            name: conn.name(),
            alpn: conn.alpn.get(),
            upstream: conn
                .chosen
                .get()
                .map(|choice| (choice.address(), choice.origin.clone(), choice.tier)),
            sent: conn.traffic.sent.get(),
            received: conn.traffic.received.get(),
        }
    }
}
