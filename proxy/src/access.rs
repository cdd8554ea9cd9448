//! What is said about a connection that ended, and to whom. It is said off the data path: a worker hands a report over
//! without waiting, and what nobody has room for is lost and counted. It must not know how reports are written.

mod quota;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::Origin;

pub(crate) use self::quota::Quota;
use crate::close::Close;
use crate::config::Role;
use crate::hello::{Alpn, Reject};
use crate::table::Route;

/// Reports that wait to be taken at most; some 300 bytes each.
pub(crate) const WAITING: usize = 4_096;

/// One connection that ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was accepted.
    pub began: SystemTime,
    /// From then to its end.
    pub duration: Duration,
    /// The listener's address, as it was bound.
    pub listener: SocketAddr,
    /// What the listener is for.
    pub role: Role,
    /// The client: whom a PROXY header named, else who connected.
    pub client: SocketAddr,
    /// Who connected, where a PROXY header named somebody else.
    pub peer: Option<SocketAddr>,
    /// The server name, if the hello came so far.
    pub name: Option<Arc<str>>,
    /// The protocols that the hello offered.
    pub alpn: Alpn,
    /// Where the name led.
    pub route: Option<Arc<Route>>,
    /// Every attempt to reach an endpoint, in their order; the one that got the hello and kept it is the last.
    pub attempts: Vec<Attempt>,
    /// Bytes from the client that the endpoint was sent.
    pub sent: u64,
    /// Bytes from the endpoint that the client was sent.
    pub received: u64,
    /// From accept to the endpoint's first byte.
    pub first_byte: Option<Duration>,
    /// What was wrong with its hello, where that is why it ended.
    pub reject: Option<Reject>,
    /// How it ended.
    pub close: Close,
    /// Ends for the same reason that were not reported since the one before.
    pub omitted: u64,
}

/// One attempt to reach an endpoint, or another network's gateway.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What was dialled.
    pub address: SocketAddr,
    /// Where that is.
    pub origin: Arc<Origin>,
    /// Its tier, 0 is the closest.
    pub tier: u8,
    /// Whether it is another network's gateway.
    pub gateway: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
}

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It connected and got the hello.
    Connected,
    /// It refused.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// No route to it, or another error of the network.
    Unreachable,
    /// The gateway could not dial: no descriptor, no port.
    Unable,
    /// It connected, and closed on the hello.
    ClosedEarly,
    /// Another one was faster, or the client went away, before it was decided.
    Overtaken,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &[Self] = &[
        Self::Connected,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Unable,
        Self::ClosedEarly,
        Self::Overtaken,
    ];

    /// Its name in logs, metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Unable => "unable",
            Self::ClosedEarly => "closed_early",
            Self::Overtaken => "overtaken",
        }
    }
}

impl Report {
    /// The attempt that got the connection, if one did.
    #[must_use]
    pub fn chosen(&self) -> Option<&Attempt> {
        let last = self.attempts.last()?;
        (last.outcome == Outcome::Connected).then_some(last)
    }
}
