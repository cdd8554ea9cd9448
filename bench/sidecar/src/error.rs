//! How one exchange can fail, told apart by what a reader wants to know: had an endpoint been found or not. It must not
//! guess: what it cannot tell is said as it was seen.

use std::io;

use rustls::AlertDescription;

/// A failed exchange.
#[derive(Debug, thiserror::Error)]
#[error("{kind} at {address}: {source}")]
pub struct Error {
    /// What the failure amounts to.
    pub kind: Kind,
    /// The address that the client had dialled.
    pub address: std::net::SocketAddr,
    /// What the socket or the TLS session said.
    #[source]
    pub source: io::Error,
}

/// What a failure amounts to, in the order of the stages where they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The TCP connection was not made.
    Connect,
    /// Connected, the hello sent, and closed or reset before a single byte came back: nobody was found.
    Unanswered,
    /// A TLS alert came instead of an answer to the hello.
    Alert(AlertDescription),
    /// An endpoint answered, but the handshake failed for another reason than a close.
    Handshake,
    /// An endpoint had answered the hello, and then the connection ended before the response.
    Cut,
    /// Nothing came within the client's time limit, and no endpoint had answered the hello.
    Timeout,
    /// An endpoint had answered the hello, but not the request within the client's time limit.
    Slow,
}

impl Kind {
    /// Whether the connection had reached an endpoint: one that answered its hello.
    #[must_use]
    pub const fn reached_endpoint(self) -> bool {
        matches!(self, Self::Handshake | Self::Cut | Self::Slow)
    }

    /// What a failed handshake or request amounts to; `answered`: whether anything but an alert had come back.
    pub(crate) fn of(error: &io::Error, answered: bool) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(_) => Self::Handshake,
            None if answered => Self::Cut,
            None => Self::Unanswered,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect => f.write_str("no TCP connection"),
            Self::Unanswered => f.write_str("closed before anything came back"),
            Self::Alert(alert) => write!(f, "TLS alert {alert:?}"),
            Self::Handshake => f.write_str("the handshake failed"),
            Self::Cut => f.write_str("cut off after an endpoint had answered the hello"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Slow => {
                f.write_str("no response in time from the endpoint that answered the hello")
            }
        }
    }
}
