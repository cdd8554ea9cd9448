//! What is said about a connection that is open. It must not change it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::Origin;

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

impl OpenConnection {
    /// What is said about this one, if it is asked for.
    pub(crate) fn of(worker: &Worker, conn: &Conn, query: &Query) -> Option<Self> {
        let bound = worker.bound(conn.listener);
        let open = Self {
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
        };
        open.matches(query).then_some(open)
    }

    fn matches(&self, query: &Query) -> bool {
        let Some(wanted) = &query.contains else {
            return true;
        };
        let name = self.name.as_ref().is_some_and(|name| name.contains(wanted));
        let upstream =
            |(address, ..): &(SocketAddr, Arc<Origin>, u8)| address.to_string().contains(wanted);
        name || self.client.to_string().contains(wanted)
            || self.upstream.as_ref().is_some_and(upstream)
    }
}
