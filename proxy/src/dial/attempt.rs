//! One attempt to reach an endpoint: connecting, what a fault means, and what is said of it. It must not start another one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::access::{self, Outcome};
use crate::balance::Choice;
use crate::clock::{Clock, Micros, Millis};
use crate::close::Reason;
use crate::config::Role;
use crate::conn::Conn;
use crate::sockets::{self, is_our_own};
use crate::table::Route;
use crate::worker::Worker;

/// The longest that an address's own usual connect time puts the next attempt off. Three attempts in a tier take 1.2 s then, and
/// nobody waits for longer than 1.5 s: an address's usual time is long for a while after a SYN was lost, or after a worker that had
/// much to do noticed late that it had connected.
const LONGEST_STAGGER: Duration = Duration::from_millis(400);

/// One endpoint that is being connected to, or has been.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Its socket.
    pub(crate) stream: TcpStream,
    /// The endpoint; counts as an open connection of it.
    pub(crate) choice: Choice,
    /// Bytes of the held hello that it has been sent.
    pub(crate) sent: usize,
    /// How long the connect took, in microseconds; 0 before.
    pub(super) connect: u32,
    pub(super) started: Micros,
    pub(super) until: Millis,
}

impl Attempt {
    /// Whether it has connected; if so, the hello goes out at once: a failed connect shows in that same system call.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        hello: &[u8],
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.stream.poll_write_ready(cx)?.is_pending() {
                if worker.now() >= self.until {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                return Poll::Pending;
            }
            match self.stream.try_write(hello) {
                Ok(sent) => {
                    let took = worker.clock.micros().since(self.started);
                    self.sent = sent;
                    self.connect = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
                    self.choice.connected(took);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// The connection is its endpoint's from now on.
    pub(crate) fn keep(self, worker: &Worker, conn: &Conn) -> TcpStream {
        worker.stats().attempted(Outcome::Connected);
        self.choice.succeeded(worker.now());
        conn.keep(self.choice, self.sent, self.connect);
        self.stream
    }

    /// It did not get the connection.
    pub(crate) fn note(&self, worker: &Worker, conn: &Conn, outcome: Outcome) {
        note(worker, conn, &self.choice, outcome, self.started);
    }
}

/// An attempt has come to this, and did not get the connection.
pub(super) fn note(
    worker: &Worker,
    conn: &Conn,
    choice: &Choice,
    outcome: Outcome,
    started: Micros,
) {
    worker.stats().attempted(outcome);
    conn.note(access::Attempt {
        address: choice.address(),
        origin: Arc::clone(&choice.origin),
        tier: choice.tier,
        gateway: choice.gateway,
        outcome,
        took: worker.clock.micros().since(started),
    });
}

/// Waits for an attempt that nobody needs any more.
pub(super) async fn see_off(attempt: Attempt, route: Arc<Route>, clock: Clock) {
    let left = attempt.until.since(clock.now());
    let outcome = tokio::time::timeout(left, attempt.stream.writable()).await;
    let connected = matches!(outcome, Ok(Ok(())))
        && matches!(attempt.stream.take_error(), Ok(None))
        && attempt.stream.peer_addr().is_ok();
    if connected {
        attempt
            .choice
            .connected(clock.micros().since(attempt.started));
        attempt.choice.succeeded(clock.now());
    } else {
        attempt.choice.dial_failed(&route, clock.now());
    }
}

/// How long after an attempt the next one starts beside it: twice the address's usual connect time, but no less than `least` and,
/// unless that is more, no longer than [`LONGEST_STAGGER`].
pub(super) fn stagger(least: Duration, usual: Duration) -> Duration {
    least.max((usual * 2).min(LONGEST_STAGGER))
}

/// Begins a connect for a route of this view.
pub(super) fn connect(address: SocketAddr, role: Role) -> io::Result<TcpStream> {
    TcpStream::from_std(sockets::connect(address, sockets::saves_acks(role))?)
}

/// What a fault of a connect is called, as an end and as an outcome.
pub(super) fn failure(fault: &io::Error) -> (Reason, Outcome) {
    if is_our_own(fault) {
        return (Reason::DialUnable, Outcome::Unable);
    }
    match fault.kind() {
        io::ErrorKind::ConnectionRefused => (Reason::DialRefused, Outcome::Refused),
        io::ErrorKind::TimedOut => (Reason::DialTimeout, Outcome::TimedOut),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            (Reason::UpstreamClosedEarly, Outcome::ClosedEarly)
        }
        _ => (Reason::DialUnreachable, Outcome::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stagger_is_twice_the_usual_time_within_bounds() {
        for (least, usual, expected) in [
            (250, 0, 250),
            (250, 100, 250),
            (250, 150, 300),
            (250, 1_000, 400),
            (250, 6_553, 400),
            (900, 1_000, 900),
        ] {
            let [least, usual, expected] = [least, usual, expected].map(Duration::from_millis);
            assert_eq!(stagger(least, usual), expected, "{usual:?}");
        }
    }
}
