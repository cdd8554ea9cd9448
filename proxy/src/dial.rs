//! The dial stage: connecting to one of a route's endpoints, the next one beside it when it takes too long, at once when
//! it fails. It must not choose endpoints (that is the pick's) and sends nothing but the held hello, to one of them.

mod attempt;

use std::io;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

pub(crate) use self::attempt::Attempt;
use self::attempt::{connect, failure, note, see_off, stagger};
use crate::access::Outcome;
use crate::balance::{Choice, Tried};
use crate::clock::Millis;
use crate::close::{Blame, Close, Reason, Stage};
use crate::conn::Conn;
use crate::sockets;
use crate::worker::Worker;

/// Most attempts for one connection.
pub(crate) const ATTEMPTS: u8 = 8;

/// Most endpoints that may close on the hello and be replaced, so that one hello reaches three of them at most.
const REPLAYS: usize = 2;

/// The dials of one connection.
#[derive(Debug)]
pub(crate) struct Dial {
    /// The newest attempt; only it and those in `overtaken` are pending. Once one has the hello, that one.
    newest: Option<Attempt>,
    /// Not allocated in a connection without trouble.
    trouble: Option<Box<Trouble>>,
    tried: Tried,
    attempts: u8,
    /// The end of all attempts; 0 before the first.
    until: Millis,
    next: Millis,
    failure: Option<Reason>,
}

/// What came of earlier attempts.
#[derive(Debug, Default)]
struct Trouble {
    /// Those that were too slow but may still come.
    overtaken: Vec<Attempt>,
    /// Endpoints that closed on the hello. Whether that was their fault shows when another one answers it.
    suspects: Vec<Choice>,
    /// An attempt has been put off, and that is noted.
    put_off: bool,
}

/// What starting the next attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// There was one more; it may have failed at once.
    Made,
    /// Not now: we ourselves could not, and others are pending.
    Later,
    /// There is none to start.
    Nothing,
}

impl Dial {
    pub(crate) fn new() -> Self {
        Self {
            newest: None,
            trouble: None,
            tried: Tried::default(),
            attempts: 0,
            until: Millis::default(),
            next: Millis::default(),
            failure: None,
        }
    }

    /// Goes on until an endpoint has connected and taken the (first part of the) held hello: see [`Dial::reached`].
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        conn: &Conn,
        client: &TcpStream,
    ) -> Poll<Result<(), Close>> {
        if let Some(reason) = conn.asked_to_stop() {
            self.leave_all(worker, conn);
            return Poll::Ready(Err(conn.close(reason, Blame::Gateway)));
        }
        let now = worker.now();
        if self.until == Millis::default() {
            self.until = now.after(worker.config().timeouts.dial);
        }
        let over = loop {
            if self.poll_pending(cx, worker, conn, now) {
                self.leave_overtaken(worker, conn);
                return Poll::Ready(Ok(()));
            }
            let over = self.attempts == ATTEMPTS || now >= self.until;
            if over && self.is_idle() {
                return Poll::Ready(Err(self.give_up(conn)));
            }
            if over || (self.newest.is_some() && now < self.next) {
                break over;
            }
            if self.newest.is_some() && sockets::is_reset(client) {
                self.leave_all(worker, conn);
                return Poll::Ready(Err(conn.close(Reason::ClientGone, Blame::Downstream)));
            }
            match self.start_next(worker, conn, now) {
                Start::Made => {}
                Start::Later => break over,
                Start::Nothing if self.is_idle() => {
                    return Poll::Ready(Err(self.give_up(conn)));
                }
                // What is pending has its full time.
                Start::Nothing => self.attempts = ATTEMPTS,
            }
        };
        self.wake_in_time(worker, conn, over);
        Poll::Pending
    }

    /// The attempt that has the hello.
    pub(crate) fn reached(&mut self) -> Option<&mut Attempt> {
        self.newest.as_mut()
    }

    /// The connection is that attempt's from now on.
    pub(crate) fn take(&mut self) -> Option<Attempt> {
        self.newest.take()
    }

    /// Whether an endpoint that closes on the hello may still be replaced.
    pub(crate) fn may_replay(&self) -> bool {
        let suspects = |trouble: &Trouble| trouble.suspects.len();
        self.trouble.as_deref().map_or(0, suspects) < REPLAYS
    }

    /// The endpoint closed on the hello; the next poll tries another one.
    pub(crate) fn closed_early(&mut self, worker: &Worker, conn: &Conn) {
        if let Some(attempt) = self.newest.take() {
            attempt.note(worker, conn, Outcome::ClosedEarly);
            self.trouble().suspects.push(attempt.choice);
        }
        let reason = match conn.gateway_alert.get() {
            Some(_) => Reason::GatewayAlert,
            None => Reason::UpstreamClosedEarly,
        };
        self.failure = Some(reason);
    }

    /// The connection ends before the endpoint has answered, and that is not the endpoint's doing.
    pub(crate) fn stopped(&mut self, worker: &Worker, conn: &Conn) {
        if let Some(attempt) = self.newest.take() {
            attempt.note(worker, conn, Outcome::Connected);
        }
    }

    /// The attempt that has the hello answered it, so those that closed on it are to blame; a hostile hello ejects nobody, so a
    /// gateway's alert, which says as little as a close, blames nobody.
    pub(crate) fn answered(&mut self, conn: &Conn, now: Millis) {
        if conn.gateway_alert.get().is_some() {
            return;
        }
        for choice in self
            .trouble
            .iter_mut()
            .flat_map(|trouble| trouble.suspects.drain(..))
        {
            conn.blame(&choice, now);
        }
        if let Some(by) = self.newest.as_ref().filter(|by| by.choice.gateway) {
            by.choice.host.served(now);
        }
    }

    /// Sees what the pending attempts have come to; whether one has the hello, which then is `newest`.
    fn poll_pending(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        conn: &Conn,
        now: Millis,
    ) -> bool {
        let held = conn.held.borrow();
        if let Some(attempt) = &mut self.newest
            && let Poll::Ready(outcome) = attempt.poll(cx, &held, worker)
        {
            let Err(fault) = outcome else {
                return true;
            };
            if let Some(attempt) = self.newest.take() {
                self.fail(worker, conn, attempt, &fault, now);
            }
        }
        let mut at = 0;
        while let Some(attempt) = self.overtaken().get_mut(at) {
            let Poll::Ready(outcome) = attempt.poll(cx, &held, worker) else {
                at += 1;
                continue;
            };
            let attempt = self.trouble().overtaken.swap_remove(at);
            if let Err(fault) = outcome {
                self.fail(worker, conn, attempt, &fault, now);
            } else {
                let beaten = self.newest.replace(attempt);
                self.trouble().overtaken.extend(beaten);
                return true;
            }
        }
        false
    }

    fn fail(
        &mut self,
        worker: &Worker,
        conn: &Conn,
        attempt: Attempt,
        fault: &io::Error,
        now: Millis,
    ) {
        let (reason, outcome) = failure(fault);
        attempt.note(worker, conn, outcome);
        self.failure = Some(reason);
        match outcome {
            Outcome::ClosedEarly => self.trouble().suspects.push(attempt.choice),
            Outcome::Unable => {}
            _ => conn.blame(&attempt.choice, now),
        }
    }

    /// Starts the next attempt, if there is one to start.
    fn start_next(&mut self, worker: &Worker, conn: &Conn, now: Millis) -> Start {
        let Some(route) = conn.route.get() else {
            return Start::Nothing;
        };
        let picked = worker.with_balancer(route, |balancer, rng| {
            let source = conn.client().ip();
            let choice = route.pick_from(balancer, rng, source, now, &self.tried)?;
            Ok((choice, balancer.connect_timeout()))
        });
        let (choice, limit) = match picked {
            Ok(picked) => picked,
            Err(reason) => {
                self.failure.get_or_insert(reason);
                return Start::Nothing;
            }
        };
        let started = worker.clock.micros();
        let timeouts = &worker.config().timeouts;
        let limit = limit.unwrap_or(timeouts.connect);
        let stagger = stagger(timeouts.stagger, choice.usual_connect());
        let connecting = connect(choice.address(), route.role);
        if connecting.as_ref().is_err_and(sockets::is_want) && !self.is_idle() {
            // Nobody was asked, so nobody was tried. Others give back what we want of, and those that are pending may still come.
            if !std::mem::replace(&mut self.trouble().put_off, true) {
                note(worker, conn, &choice, Outcome::Unable, started);
            }
            self.next = now.after(timeouts.stagger);
            return Start::Later;
        }
        self.tried.add(&choice);
        self.attempts += 1;
        worker.stats().dialled();
        match connecting {
            Ok(stream) => {
                if let Some(slow) = self.newest.take() {
                    self.trouble().overtaken.push(slow);
                }
                self.newest = Some(Attempt {
                    stream,
                    choice,
                    sent: 0,
                    connect: 0,
                    started,
                    until: now.after(limit),
                });
                self.next = now.after(stagger);
            }
            Err(fault) => {
                let (reason, outcome) = failure(&fault);
                if outcome != Outcome::Unable {
                    conn.blame(&choice, now);
                }
                note(worker, conn, &choice, outcome, started);
                self.failure = Some(reason);
            }
        }
        Start::Made
    }

    /// Overtaken attempts go on without the hello, to their own limits: their outcome counts for their endpoints.
    fn leave_overtaken(&mut self, worker: &Worker, conn: &Conn) {
        for attempt in self
            .trouble
            .iter_mut()
            .flat_map(|trouble| trouble.overtaken.drain(..))
        {
            attempt.note(worker, conn, Outcome::Overtaken);
            if let Some(route) = conn.route.get() {
                tokio::task::spawn_local(see_off(attempt, route.clone(), worker.clock));
            }
        }
    }

    /// Nobody waits for the hello to be answered any more.
    fn leave_all(&mut self, worker: &Worker, conn: &Conn) {
        if let Some(slow) = self.newest.take() {
            self.trouble().overtaken.push(slow);
        }
        self.leave_overtaken(worker, conn);
    }

    fn is_idle(&self) -> bool {
        let waits = |trouble: &Trouble| !trouble.overtaken.is_empty();
        self.newest.is_none() && !self.trouble.as_deref().is_some_and(waits)
    }

    fn overtaken(&mut self) -> &mut [Attempt] {
        self.trouble
            .as_deref_mut()
            .map_or(&mut [], |trouble| &mut trouble.overtaken)
    }

    fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    fn give_up(&self, conn: &Conn) -> Close {
        let reason = self.failure.unwrap_or(Reason::DialTimeout);
        let (stage, blame) = match reason {
            Reason::NoEndpoint => (Stage::Pick, Blame::Upstream),
            Reason::Overloaded => (Stage::Pick, Blame::Gateway),
            Reason::DialUnable => (Stage::Dial, Blame::Gateway),
            Reason::UpstreamClosedEarly | Reason::GatewayAlert => (Stage::Answer, Blame::Upstream),
            _ => (Stage::Dial, Blame::Upstream),
        };
        conn.enter(stage);
        conn.close(reason, blame)
    }

    /// Has the tick wake the connection when the next attempt is due or a pending one is over.
    fn wake_in_time(&self, worker: &Worker, conn: &Conn, over: bool) {
        let overtaken = self.trouble.iter().flat_map(|trouble| &trouble.overtaken);
        let pending = self.newest.iter().chain(overtaken);
        let ends = pending.map(|attempt| attempt.until).min();
        let next = (!over).then_some(self.next);
        if let Some(when) = ends.into_iter().chain(next).min()
            && conn.due() != when
        {
            worker.wake_at(conn, when);
        }
    }
}
