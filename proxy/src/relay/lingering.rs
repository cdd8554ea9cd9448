//! The end of a relay of which one side has failed: everything that came from it is delivered, the other side has time to take
//! it, and a reset is passed on where nothing can be lost by it. It must not move anything from one side to the other.

use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;

use super::copy::{self, Read};
use super::fault::Fault;
use super::socket::Socket;
use super::{End, Relay, Side, TURN, Traffic};

/// Most that is thrown away of what a side still says after the other one has failed. Who says more does not listen, and a
/// stream into nothing at full speed is what the others would pay for.
const DISCARD: usize = 4 << 20;

impl Relay {
    /// The side that it only waits for, because the other has failed; see [`Relay::poll`].
    #[must_use]
    pub const fn lingers_for(&self) -> Option<Side> {
        match self.fault {
            Some((Side::Client, _)) if self.discarding => Some(Side::Upstream),
            Some((Side::Upstream, _)) if self.discarding => Some(Side::Client),
            _ => None,
        }
    }

    /// Ends it without waiting for that.
    pub fn end_now(&mut self, traffic: &Traffic) -> End {
        self.end(traffic)
    }

    /// Everything is delivered to our sockets. After a fault of one side, bytes may still be on their way to the other, and
    /// closing a socket that has something unread would throw them away: so that side gets a FIN, and what it still says
    /// goes nowhere until it closes too.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>, traffic: &Traffic) -> Poll<End> {
        let Some((failed, _)) = self.fault else {
            return Poll::Ready(End::Done);
        };
        let (survivor, written) = self.survivor(failed, traffic);
        if written == 0 || survivor.end().is_err() {
            return Poll::Ready(self.end(traffic));
        }
        self.discarding = true;
        self.poll_discard(cx, traffic)
    }

    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>, traffic: &Traffic) -> Poll<End> {
        let survivor = match self.fault {
            Some((Side::Client, _)) => &mut self.upstream,
            _ => &mut self.client,
        };
        let mut budget = TURN;
        while budget > 0 {
            let mut scratch = self.shared.scratch();
            let read = match survivor.watched() {
                Ok(survivor) => ready!(copy::read(cx, survivor, &mut scratch, TURN)),
                Err(error) => Err(error),
            };
            match read {
                Ok(Read { bytes: 0, .. }) | Err(_) => {
                    drop(scratch);
                    return Poll::Ready(self.end(traffic));
                }
                Ok(read) => {
                    self.discarded += read.bytes;
                    budget = budget.saturating_sub(read.bytes);
                }
            }
            if self.discarded >= DISCARD {
                drop(scratch);
                return Poll::Ready(self.end(traffic));
            }
        }
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// The side that has not failed, and how much was written to it.
    fn survivor(&self, failed: Side, traffic: &Traffic) -> (&Socket, u64) {
        match failed {
            Side::Client => (&self.upstream, traffic.sent.get()),
            Side::Upstream => (&self.client, traffic.received.get()),
        }
    }

    fn end(&mut self, traffic: &Traffic) -> End {
        let Some((side, fault)) = self.fault else {
            return End::Done;
        };
        if fault == Fault::Reset {
            self.pass_reset_on(side, traffic);
        }
        match (fault, side) {
            (Fault::Reset, Side::Client) => End::ClientReset,
            (Fault::Reset, Side::Upstream) => End::UpstreamReset,
            (Fault::Timeout { waiting: true }, side) => End::Stalled(side),
            (Fault::Timeout { waiting: false }, side) => End::Gone(side),
            (Fault::Other, side) => End::Failed(side),
        }
    }

    /// A reset reaches the other side as one only where nothing can be lost by it: SO_LINGER 0 throws away what still
    /// waits in our send buffer, so never after a byte was written to that side.
    fn pass_reset_on(&self, reset: Side, traffic: &Traffic) {
        let (other, written) = self.survivor(reset, traffic);
        if written == 0
            && let Ok(other) = other.fd()
        {
            let _ = SockRef::from(&other).set_linger(Some(Duration::ZERO));
        }
    }
}
