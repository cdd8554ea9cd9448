//! Moving bytes between a client and an upstream until both are done. It must not know who they are or why they talk.
//!
//! ```text
//! client socket --> Direction --> upstream socket       copy.rs: through the worker's one buffer
//! client socket <-- Direction <-- upstream socket       splice.rs: through a pipe, once it has proved to be a stream
//! ```
//!
//! After a fault of one side: lingering.rs. An idle connection holds no buffer. What a peer does not take at once waits in a pooled buffer of its direction, or in
//! the direction's pipe.

mod buffers;
mod copy;
mod direction;
mod fault;
mod lingering;
mod pipes;
mod socket;
mod splice;

use std::cell::{Cell, RefMut};
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use self::buffers::{Buffer, Buffers};
pub(crate) use self::copy::{Behind, Read, read, write_last};
use self::direction::{Direction, Lane, Step};
use self::fault::{Fault, fault_of};
use self::pipes::Pipes;
use self::socket::Socket;

/// Most that a connection moves before the others of its worker get a turn.
const TURN: usize = 1 << 20;

/// Who has moved this much in its last turn goes to the end of the queue once before its next one. The runtime queues
/// those whose sockets have become ready in an order of its own, so without this a stream could have two turns before a
/// small flow that waits, instead of one. It costs a poll and no system call.
const STREAM: usize = 64 << 10;

/// What the relays of one worker share.
#[derive(Debug)]
pub struct Shared {
    buffers: Buffers,
    pipes: Pipes,
}

/// Bytes that were read from an upstream before its relay began and that the client's socket did not take.
#[derive(Debug)]
pub struct Leftover(Buffer);

/// Live byte counts: what has been handed to the other side's socket.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From client to upstream.
    pub sent: Cell<u64>,
    /// From upstream to client.
    pub received: Cell<u64>,
}

/// One of the two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Upstream,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides closed, and everything was delivered.
    Done,
    /// The client reset the connection.
    ClientReset,
    /// The upstream reset the connection.
    UpstreamReset,
    /// This side took no more bytes until the user timeout ran out.
    Stalled(Side),
    /// This side is not there any more.
    Gone(Side),
    /// Another error of this side's socket.
    Failed(Side),
}

/// The relay of one connection.
#[derive(Debug)]
pub struct Relay {
    client: Socket,
    upstream: Socket,
    shared: Rc<Shared>,
    up: Direction,
    down: Direction,
    /// The first fault of either socket; it decides how the relay ends.
    fault: Option<(Side, Fault)>,
    /// Bytes moved in the last turn.
    spent: usize,
    /// It has been to the end of the queue since.
    queued_again: bool,
    up_first: bool,
    discarding: bool,
    discarded: usize,
}

impl Shared {
    /// Fresh pools.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Self::with_pipes(pipes::MOST)
    }

    /// Fresh pools with at most so many pipes; with none every stream is copied.
    #[must_use]
    pub fn with_pipes(most: usize) -> Rc<Self> {
        Rc::new(Self {
            buffers: Buffers::new(),
            pipes: Pipes::new(most),
        })
    }

    /// Pipes that streams hold now.
    #[must_use]
    pub fn pipes_in_use(&self) -> usize {
        self.pipes.in_use()
    }

    /// How often a stream could have no pipe and went on being copied.
    #[must_use]
    pub fn pipes_refused(&self) -> u64 {
        self.pipes.refused()
    }

    /// The worker's buffer, for whoever reads right now; not to be held across an await.
    pub fn scratch(&self) -> RefMut<'_, [u8]> {
        self.buffers.scratch()
    }

    /// A copy of bytes that have to wait.
    #[must_use]
    pub fn leftover(&self, bytes: &[u8]) -> Leftover {
        Leftover(self.buffers.keep(bytes))
    }
}

impl Relay {
    /// A relay between two connected sockets; the client's has NODELAY, the upstream's gets it when it is needed.
    /// `leftover` goes to the client before anything else.
    #[must_use]
    pub fn new(
        client: TcpStream,
        upstream: TcpStream,
        shared: Rc<Shared>,
        leftover: Option<Leftover>,
    ) -> Self {
        Self {
            client: Socket::Watched(client),
            upstream: Socket::Watched(upstream),
            shared,
            up: Direction::new(None, false),
            down: Direction::new(leftover.map(|kept| kept.0), true),
            fault: None,
            spent: 0,
            queued_again: false,
            up_first: false,
            discarding: false,
            discarded: 0,
        }
    }

    /// Tells it what is already known to come from the upstream next.
    #[must_use]
    pub(crate) fn behind_answer(mut self, behind: Behind) -> Self {
        match behind {
            Behind::Unknown => return self,
            Behind::End => {}
            Behind::Fault(kind) => self.fault = Some((Side::Upstream, fault_of(kind, false))),
        }
        self.down.end();
        self
    }

    /// The client's socket.
    ///
    /// # Errors
    /// When it is closed already.
    pub fn client(&self) -> io::Result<BorrowedFd<'_>> {
        self.client.fd()
    }

    /// The upstream's socket.
    ///
    /// # Errors
    /// When it is closed already.
    pub fn upstream(&self) -> io::Result<BorrowedFd<'_>> {
        self.upstream.fd()
    }

    /// Moves what can be moved. After a fault of one side it waits until the other has taken what was sent to it and closes;
    /// the caller bounds that wait ([`Relay::lingers_for`]). Bounded: after a turn's worth of bytes it wakes itself and lets others run.
    /// One task polls it for as long as it lives: which of the sockets will wake that task is remembered.
    pub fn poll(&mut self, cx: &mut Context<'_>, traffic: &Traffic) -> Poll<End> {
        if self.discarding {
            return self.poll_discard(cx, traffic);
        }
        if self.spent >= STREAM && !self.queued_again {
            self.queued_again = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let turn = if self.queued_again {
            TURN
        } else {
            TURN - self.spent
        };
        self.queued_again = false;
        let Self {
            client,
            upstream,
            shared,
            up,
            down,
            ..
        } = self;
        let shared = &**shared;
        let mut budget = turn;
        let (mut sent, mut received) = (Step::Waits, Step::Waits);
        // Who goes first may use the whole turn, so they take turns at that too.
        self.up_first = !self.up_first;
        for is_up in [self.up_first, !self.up_first] {
            let budget = &mut budget;
            if is_up && !up.sleeps(client) {
                let lane = Lane {
                    from: &mut *client,
                    to: &mut *upstream,
                    shared,
                    peer_waits: down.waits(),
                    count: &traffic.sent,
                    budget,
                };
                sent = up.poll(cx, lane);
            } else if !is_up && !down.sleeps(upstream) {
                let lane = Lane {
                    from: &mut *upstream,
                    to: &mut *client,
                    shared,
                    peer_waits: up.waits(),
                    count: &traffic.received,
                    budget,
                };
                received = down.poll(cx, lane);
            }
        }
        // Whoever needs the socket to write to is asked after both have done what they could.
        if sent == Step::Stalled && !down.waits() {
            client.unwatch();
        }
        if received == Step::Stalled && !up.waits() {
            upstream.unwatch();
        }
        self.spent = turn - budget;
        if sent == Step::Waits && received == Step::Waits && self.goes_on() {
            return Poll::Pending;
        }
        // In the order they were met: a socket tells its error once, and then only that it is closed.
        if self.up_first {
            self.note(sent, Side::Client, Side::Upstream);
            self.note(received, Side::Upstream, Side::Client);
        } else {
            self.note(received, Side::Upstream, Side::Client);
            self.note(sent, Side::Client, Side::Upstream);
        }
        self.pass_end_on();

        if self.up.is_over() && self.down.is_over() {
            return self.settle(cx, traffic);
        }
        if sent == Step::Moved || received == Step::Moved {
            // Not at once, but after the runtime has looked at the sockets: what yield_now is for.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// Whether bytes of one side wait here for the other to take them.
    #[must_use]
    pub fn holds_bytes(&self) -> bool {
        self.up.waits() || self.down.waits()
    }

    /// Whether [`rest`](Self::rest) should be called in a second or so, and again as long as this holds.
    #[must_use]
    pub fn wants_rest(&self) -> bool {
        self.up.has_pipe() || self.down.has_pipe() || self.up.is_over() != self.down.is_over()
    }

    /// What nothing wakes a relay for; a poll has to follow. Gives back the pipes of directions that have moved nothing
    /// since this was called last, and notices that a side which had said its FIN has failed since: its socket is read no
    /// more, so a reset there would stay unseen for as long as the other side is silent.
    pub fn rest(&mut self) {
        for direction in [&mut self.up, &mut self.down] {
            if !direction.take_moved() {
                direction.rest(&self.shared);
            }
        }
        if self.fault.is_some() || self.up.is_over() == self.down.is_over() {
            return;
        }
        let (finished, other, socket, owed) = if self.up.is_over() {
            (
                Side::Client,
                Side::Upstream,
                &self.client,
                self.down.waits(),
            )
        } else {
            (
                Side::Upstream,
                Side::Client,
                &self.upstream,
                self.up.waits(),
            )
        };
        // No system call unless the runtime has been told of an error, or watches the socket no more.
        let failed = socket
            .fd()
            .and_then(|fd| socket.try_io(Interest::ERROR, || SockRef::from(&fd).take_error()));
        if let Ok(Some(error)) = failed {
            self.note(
                Step::WriteFault(fault_of(error.kind(), owed)),
                other,
                finished,
            );
        }
    }

    /// Whether nothing has ended or failed yet.
    fn goes_on(&self) -> bool {
        self.fault.is_none() && self.up.is_open() && self.down.is_open()
    }

    /// Remembers the first fault. A side that cannot be written to can still be read until its end, so only the direction
    /// that failed is over.
    fn note(&mut self, step: Step, from: Side, to: Side) {
        let (side, fault) = match step {
            Step::Waits | Step::Stalled | Step::Moved => return,
            Step::ReadFault(fault) => (from, fault),
            Step::WriteFault(fault) => (to, fault),
        };
        self.fault.get_or_insert((side, fault));
    }

    /// FIN to a side whose direction is delivered, unless both are: then closing the sockets says it.
    fn pass_end_on(&mut self) {
        if let Some((side, _)) = self.fault {
            self.give_up_on(side);
        }
        let up = self.up.take_finished();
        let down = self.down.take_finished();
        if self.up.is_over() && self.down.is_over() {
            return;
        }
        if up {
            let _ = self.upstream.end();
        }
        if down {
            let _ = self.client.end();
        }
    }

    /// A side that has failed sends nothing more, and takes nothing more; what came from it before is still delivered.
    fn give_up_on(&mut self, side: Side) {
        match side {
            Side::Client => self.down.abandon(&self.shared),
            Side::Upstream => self.up.abandon(&self.shared),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.up.abandon(&self.shared);
        self.down.abandon(&self.shared);
    }
}

#[cfg(test)]
mod tests;
