//! One probe of an address: connect, say a hello, look at the first answer, and leave so that nobody there takes it for a
//! failure. It must not decide what follows from what it found, and never runs on a worker.

mod hello;
#[cfg(test)]
pub(crate) use self::hello::client_hello;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::hello::PROBE_PROTOCOL;
use crate::sockets::{is_our_own, meant};

/// What the hello offers: the mesh's own protocol, which its gateways ask for, and what tells a gateway of ours that this is a
/// probe, so that it answers for its endpoints, which hear nothing of it.
const ALPN: [&str; 2] = ["istio", PROBE_PROTOCOL];

/// The name in a hello where no service is known to be ready behind the gateway: one that nobody can have (RFC 6761
/// section 6.4).
const NOBODY: &str = "causeway-probe.invalid";

/// How long the other side may take to close after we have. It only matters to them: closing on bytes that come later would
/// reset the connection, which looks like a failure.
const LINGER: Duration = Duration::from_secs(1);

/// `ContentType.handshake` and `ContentType.alert`, RFC 8446 section 5.1.
const HANDSHAKE: u8 = 0x16;
const ALERT: u8 = 0x15;

/// `AlertDescription.internal_error` (RFC 8446 section 6) and `unrecognized_name` (RFC 6066 section 3): what a gateway that
/// has no endpoint, or does not know the name, says.
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// A record's header and an alert: as much as is ever looked at (RFC 8446 sections 5.1 and 6).
const ENOUGH: usize = 7;

/// What a probe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A TLS answer to the name of a service that is ready there; or, where only a connect was tried, that.
    Alive,
    /// Somebody took the hello, and no name is known by which more could be found out.
    Weak,
    /// Traffic has succeeded lately, so nobody was asked.
    Traffic,
    /// The connect was refused.
    Refused,
    /// No answer in time, to the connect or to the hello.
    TimedOut,
    /// No route there, or another error of the network.
    Unreachable,
    /// Connected, and reset on the hello.
    Reset,
    /// Connected, and closed on the hello without a word.
    Closed,
    /// The gateway does not know a name that is ready there, or has no endpoint for it.
    Alert,
    /// What answered does not speak TLS.
    NotTls,
    /// We ourselves could not connect, for want of descriptors or ports: nothing is known.
    Unable,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 11] = [
        Self::Alive,
        Self::Weak,
        Self::Traffic,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Reset,
        Self::Closed,
        Self::Alert,
        Self::NotTls,
        Self::Unable,
    ];

    /// Its name in logs, metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Weak => "weak",
            Self::Traffic => "traffic",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Alert => "alert",
            Self::NotTls => "not_tls",
            Self::Unable => "unable",
        }
    }

    /// Whether somebody is there.
    #[must_use]
    pub const fn is_life(self) -> bool {
        matches!(self, Self::Alive | Self::Weak | Self::Traffic)
    }

    /// Whether another name might have been answered otherwise: somebody took the connection, and did not want the hello.
    #[must_use]
    pub const fn is_of_name(self) -> bool {
        matches!(self, Self::Reset | Self::Closed | Self::Alert)
    }
}

/// Connects and sends a hello for this service name; `None`: none is known that is ready there. The connection is given
/// back where it is to be left politely ([`leave`]).
pub(crate) async fn ask(
    address: SocketAddr,
    name: Option<&str>,
    limit: Duration,
) -> (Outcome, Option<TcpStream>) {
    let hello = hello::client_hello(name.unwrap_or(NOBODY), &ALPN);
    let asked = timeout(limit, async {
        let mut stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(fault) => return (failed_to_connect(fault, address), None),
        };
        let answer = first_answer(&mut stream, &hello).await;
        let outcome = judge(answer, name.is_some());
        (outcome, outcome.is_life().then_some(stream))
    });
    asked.await.unwrap_or((Outcome::TimedOut, None))
}

/// Connects, and nothing more.
pub(crate) async fn connect(address: SocketAddr, limit: Duration) -> Outcome {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Outcome::Alive,
        Ok(Err(fault)) => failed_to_connect(fault, address),
        Err(_) => Outcome::TimedOut,
    }
}

/// Ends a connection so that the other side sees an ordinary end: FIN, and what it still says is taken until it closes too.
pub(crate) async fn leave(mut stream: TcpStream) {
    if stream.shutdown().await.is_ok() {
        // Who does not close in time is left with what comes.
        let _ = timeout(LINGER, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
    }
}

/// The first bytes that come, as far as they are looked at; fewer where the other side closes.
async fn first_answer(stream: &mut TcpStream, hello: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(hello).await?;
    let mut answer = Vec::with_capacity(ENOUGH);
    let mut limited = stream.take(ENOUGH as u64);
    while answer.first().is_none_or(|kind| *kind == ALERT) {
        if limited.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer)
}

/// What an answer means (design section 7). Without a name that is ready there even a close says that somebody took the
/// hello: Envoy closes, or resets, what no listener of it matches.
fn judge(answer: io::Result<Vec<u8>>, named: bool) -> Outcome {
    let found = match &answer {
        Err(fault) if is_our_own(fault) => return Outcome::Unable,
        Err(fault) if is_reset(fault) => Outcome::Reset,
        Err(_) => return Outcome::Unreachable,
        Ok(bytes) => match bytes.as_slice() {
            [] => Outcome::Closed,
            [HANDSHAKE, ..] => Outcome::Alive,
            [ALERT, _, _, _, _, _, UNRECOGNIZED_NAME | INTERNAL_ERROR] => Outcome::Alert,
            // Any other alert is somebody's who has looked at the hello.
            [ALERT, _, _, _, _, _, _] => Outcome::Alive,
            [ALERT, ..] => Outcome::Closed,
            _ => return Outcome::NotTls,
        },
    };
    if named { found } else { Outcome::Weak }
}

fn failed_to_connect(fault: io::Error, address: SocketAddr) -> Outcome {
    let fault = meant(fault, address);
    match fault.kind() {
        _ if is_our_own(&fault) => Outcome::Unable,
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::TimedOut,
        _ => Outcome::Unreachable,
    }
}

fn is_reset(fault: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::ConnectionAborted,
    ];
    kinds.contains(&fault.kind())
}

#[cfg(test)]
mod tests;
