//! One direction of a relay: from a socket to another. It must not know which is the client's.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::task::coop::has_budget_remaining;

use super::buffers::Buffer;
use super::copy::{self, Behind};
use super::fault::{Fault, fault_of};
use super::pipes::Pipe;
use super::socket::Socket;
use super::{Shared, splice};
use crate::sockets;

/// A read of so many bytes speaks for a stream.
const FULL: usize = 32 << 10;

/// So many of them in a row prove it.
const PROOF: u8 = 2;

/// One direction.
#[derive(Debug)]
pub(super) struct Direction {
    waiting: Option<Buffer>,
    pipe: Option<Pipe>,
    full_reads: u8,
    /// The kernel would not splice these sockets.
    copy_only: bool,
    /// The sink's socket sends each piece at once.
    hurries: bool,
    /// Bytes have moved since somebody asked.
    moved: bool,
    /// The source's socket wakes the task as soon as there is something to read.
    listens: bool,
    state: State,
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// Nothing more comes; what is there is still to be delivered.
    Ended,
    /// All is delivered; the other side has not been told.
    Delivered,
    /// Nothing is left to do.
    Over,
}

/// What one poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing can move now, or nothing is left to.
    Waits,
    /// The same, for a stream whose sink takes nothing: the source only has more for a pipe that is not empty.
    Stalled,
    /// The turn is over.
    Moved,
    /// The source failed; what came from it before is delivered.
    ReadFault(Fault),
    /// The sink failed; this direction is over.
    WriteFault(Fault),
}

/// What a look at the source came to.
enum Taken {
    /// Bytes, and maybe there are more.
    More,
    /// All bytes that were there; more of them wake the task.
    All,
    /// Its end, after the last bytes if there were any.
    End,
    /// Bytes that the sink refused.
    Refused(io::Error),
}

/// What one poll of a direction works with.
pub(super) struct Lane<'a> {
    pub(super) from: &'a mut Socket,
    pub(super) to: &'a mut Socket,
    pub(super) shared: &'a Shared,
    /// Whether bytes of ours wait for the source, which tells a stalled peer from one that is gone.
    pub(super) peer_waits: bool,
    /// Bytes handed to the sink.
    pub(super) count: &'a Cell<u64>,
    /// What is left of the turn.
    pub(super) budget: &'a mut usize,
}

impl Direction {
    /// A direction that first delivers `waiting`. `hurries`: the sink's socket sends each piece at once already.
    pub(super) fn new(waiting: Option<Buffer>, hurries: bool) -> Self {
        Self {
            waiting,
            pipe: None,
            full_reads: 0,
            copy_only: false,
            hurries,
            moved: false,
            listens: false,
            state: State::Open,
        }
    }

    /// Its source has ended; what waits is still delivered.
    pub(super) fn end(&mut self) {
        self.state = State::Ended;
    }

    /// Whether a poll would find nothing to do: it only waits for its source, which has said nothing since. Each of a relay's two
    /// sockets wakes it for both directions, and this takes no lock.
    pub(super) fn sleeps(&self, from: &Socket) -> bool {
        self.listens && from.try_io(Interest::READABLE, || Ok(())).is_err()
    }

    /// Moves bytes until nothing can move or the turn's budget is used up.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut lane: Lane<'_>) -> Step {
        let mut step = Step::Waits;
        while matches!(self.state, State::Open | State::Ended) {
            match self.deliver(cx, &mut lane) {
                Poll::Pending => {
                    // Without budget left it is not the sink that has to be waited for.
                    let stalls = self.pipe.is_some() && has_budget_remaining();
                    return match step {
                        Step::Waits if stalls => Step::Stalled,
                        step => step,
                    };
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return self.sink_failed(step, &error, lane.shared),
            }
            let waits = self.waits();
            if !waits && self.state == State::Ended {
                self.state = State::Delivered;
                break;
            }
            if waits || *lane.budget == 0 {
                return Step::Moved;
            }
            let taken = self.take_more(cx, &mut lane);
            let waits_for_more =
                matches!(taken, Poll::Pending | Poll::Ready(Ok(Taken::All))) && !self.waits();
            // Without budget left it is not the socket that has to be waited for.
            self.listens = waits_for_more && has_budget_remaining();
            if waits_for_more {
                return step;
            }
            match taken {
                Poll::Pending | Poll::Ready(Ok(Taken::More | Taken::All)) => {}
                Poll::Ready(Ok(Taken::End)) => self.state = State::Ended,
                Poll::Ready(Ok(Taken::Refused(error))) => {
                    return self.sink_failed(step, &error, lane.shared);
                }
                Poll::Ready(Err(error)) => {
                    step = Step::ReadFault(fault_of(error.kind(), lane.peer_waits));
                    self.state = State::Ended;
                }
            }
        }
        if self.state == State::Delivered {
            self.rest(lane.shared);
        }
        step
    }

    /// The sink takes nothing more. If the source had failed before, that is the fault that counts.
    fn sink_failed(&mut self, before: Step, error: &io::Error, shared: &Shared) -> Step {
        self.abandon(shared);
        match before {
            Step::ReadFault(_) => before,
            _ => Step::WriteFault(fault_of(error.kind(), true)),
        }
    }

    /// Whether more may come.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Delivered | State::Over)
    }

    /// Whether bytes wait for the sink.
    pub(super) fn waits(&self) -> bool {
        self.waiting.is_some() || self.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0)
    }

    /// Bytes that were taken from the source and that the sink has not taken yet.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let waiting = self.waiting.as_ref().map_or(0, |kept| kept.rest().len());
        waiting + self.pipe.as_ref().map_or(0, Pipe::held)
    }

    /// Once, when everything is delivered: the sink can be told.
    pub(super) fn take_finished(&mut self) -> bool {
        let finished = self.state == State::Delivered;
        if finished {
            self.state = State::Over;
        }
        finished
    }

    /// Ends it, and drops what could not be delivered.
    pub(super) fn abandon(&mut self, shared: &Shared) {
        self.state = State::Over;
        if let Some(buffer) = self.waiting.take() {
            shared.buffers.give_back(buffer);
        }
        if let Some(pipe) = self.pipe.take() {
            shared.pipes.give_back(pipe);
        }
    }

    /// Whether it has a pipe.
    pub(super) fn has_pipe(&self) -> bool {
        self.pipe.is_some()
    }

    /// Whether bytes have moved since this was asked last.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Gives an empty pipe back.
    pub(super) fn rest(&mut self, shared: &Shared) {
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.held() == 0) {
            shared.pipes.give_back(pipe);
            self.full_reads = 0;
        }
    }

    /// Writes what waits, until nothing does or the turn is over.
    fn deliver(&mut self, cx: &mut Context<'_>, lane: &mut Lane<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = &mut self.waiting {
            if *lane.budget == 0 {
                return Poll::Ready(Ok(()));
            }
            let most = buffer.rest().len().min(*lane.budget);
            let n = ready!(copy::write(cx, lane.to.watched()?, &buffer.rest()[..most]))?;
            buffer.advance(n);
            self.moved = true;
            lane.tally(n);
            if buffer.rest().is_empty()
                && let Some(buffer) = self.waiting.take()
            {
                lane.shared.buffers.give_back(buffer);
            }
        }
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            if *lane.budget == 0 {
                return Poll::Ready(Ok(()));
            }
            let n = match ready!(splice::drain(cx, pipe, lane.to, *lane.budget)) {
                Err(error) if cannot_splice(&error) => {
                    return Poll::Ready(self.unpipe(lane.shared));
                }
                moved => moved?,
            };
            self.moved = true;
            lane.tally(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes more from the source. The error is the source's.
    fn take_more(&mut self, cx: &mut Context<'_>, lane: &mut Lane<'_>) -> Poll<io::Result<Taken>> {
        if let Some(pipe) = &mut self.pipe {
            match ready!(splice::fill(cx, lane.from, pipe, *lane.budget)) {
                Err(error) if cannot_splice(&error) => {
                    self.copy_only = true;
                    self.rest(lane.shared);
                }
                // The kernel splices nothing from behind a byte of urgent data (tcp(7)), and says that as if it were the end, once
                // the peer has closed. A read passes over that byte, so it has the last word.
                Ok(0) => {
                    self.copy_only = true;
                    self.rest(lane.shared);
                }
                moved => return Poll::Ready(moved.map(|_| Taken::More)),
            }
        }
        let mut scratch = lane.shared.scratch();
        let read = ready!(copy::read(
            cx,
            lane.from.watched()?,
            &mut scratch,
            *lane.budget
        ))?;
        let n = read.bytes;
        if n == 0 {
            return Poll::Ready(Ok(Taken::End));
        }
        if !std::mem::replace(&mut self.hurries, true)
            && let Ok(sink) = lane.to.fd()
        {
            sockets::hurry(sink);
        }
        // Most of the time the sink takes all of it, and nothing has to be kept.
        let taken = match write(cx, lane.to, &scratch[..n], read.behind) {
            Poll::Ready(Ok(taken)) => taken,
            Poll::Ready(Err(error)) => return Poll::Ready(Ok(Taken::Refused(error))),
            Poll::Pending => 0,
        };
        self.moved = true;
        lane.tally(taken);
        if taken < n {
            self.waiting = Some(lane.shared.buffers.keep(&scratch[taken..n]));
        }
        self.full_reads = if n >= FULL {
            self.full_reads.saturating_add(1)
        } else {
            0
        };
        if self.full_reads >= PROOF && !self.copy_only {
            self.full_reads = 0;
            self.pipe = lane.shared.pipes.take();
        }
        Poll::Ready(match read.behind {
            Behind::Unknown if read.drained => Ok(Taken::All),
            Behind::Unknown => Ok(Taken::More),
            Behind::End => Ok(Taken::End),
            Behind::Fault(kind) => Err(kind.into()),
        })
    }

    /// Back to copying, with what the pipe held.
    pub(super) fn unpipe(&mut self, shared: &Shared) -> io::Result<()> {
        self.copy_only = true;
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(());
        };
        let mut bytes = vec![0; pipe.held()];
        let mut filled = 0;
        while filled < bytes.len() {
            let n = rustix::io::read(pipe.read_end(), &mut bytes[filled..])?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        pipe.drained(filled);
        shared.pipes.give_back(pipe);
        self.waiting = Some(shared.buffers.keep(&bytes[..filled]));
        Ok(())
    }
}

impl Lane<'_> {
    fn tally(&mut self, moved: usize) {
        let count = self.count.get() + u64::try_from(moved).unwrap_or(0);
        self.count.set(count);
        *self.budget = self.budget.saturating_sub(moved);
    }
}

/// Writes once; with what follows, where that is known to be the end.
fn write(
    cx: &mut Context<'_>,
    to: &mut Socket,
    bytes: &[u8],
    behind: Behind,
) -> Poll<io::Result<usize>> {
    if let Socket::Unwatched(socket) = to {
        match copy::write_at_once(socket, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            taken => return Poll::Ready(taken),
        }
    }
    let to = to.watched()?;
    if behind == Behind::End {
        match copy::write_last(to, bytes) {
            // What is kept is delivered like anything else.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            taken => return Poll::Ready(taken),
        }
    }
    copy::write(cx, to, bytes)
}

/// The kernel's words for "not between these two", "not for you" and "not now": copying needs neither the call nor the pages.
fn cannot_splice(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, OutOfMemory, PermissionDenied, Unsupported};
    matches!(
        error.kind(),
        InvalidInput | OutOfMemory | PermissionDenied | Unsupported
    )
}
