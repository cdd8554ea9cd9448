//! The dial stage: connecting to one of a route's endpoints, the next one beside it when it takes too long, at once when
//! it fails. It must not choose endpoints (that is the pick's) and sends nothing but the held hello, to one of them.

mod attempt;

use std::io;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use self::attempt::Attempt;
use self::attempt::{connect, failure, is_early_close, note, see_off};
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
    /// The newest attempt; only it and those in `overtaken` are pending.
    newest: Option<Attempt>,
    /// Earlier ones that were too slow but may still come. Empty, and not allocated, in a connection without trouble.
    overtaken: Vec<Attempt>,
    /// Endpoints that closed on the hello. Whether that was their fault shows when another one answers it.
    suspects: Vec<Choice>,
    tried: Tried,
    attempts: u8,
    until: Option<Millis>,
    next: Millis,
    failure: Option<Reason>,
}

impl Dial {
    pub(crate) fn new() -> Self {
        Self {
            newest: None,
            overtaken: Vec::new(),
            suspects: Vec::new(),
            tried: Tried::default(),
            attempts: 0,
            until: None,
            next: Millis::default(),
            failure: None,
        }
    }

    /// Goes on until an endpoint has connected and taken the (first part of the) held hello.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        conn: &Conn,
        client: &TcpStream,
    ) -> Poll<Result<Attempt, Close>> {
        if let Some(reason) = conn.asked_to_stop() {
            self.leave_overtaken(worker, conn);
            return Poll::Ready(Err(conn.close(reason, Blame::Gateway)));
        }
        let now = worker.now();
        let until = *self
            .until
            .get_or_insert_with(|| now.after(worker.config().timeouts.dial));
        let over = loop {
            if let Some(attempt) = self.poll_pending(cx, worker, conn, now) {
                self.leave_overtaken(worker, conn);
                return Poll::Ready(Ok(attempt));
            }
            let over = self.attempts == ATTEMPTS || now >= until;
            if over && self.newest.is_none() && self.overtaken.is_empty() {
                return Poll::Ready(Err(self.give_up(conn)));
            }
            if over || (self.newest.is_some() && now < self.next) {
                break over;
            }
            if self.newest.is_some() && sockets::is_reset(client) {
                self.leave_overtaken(worker, conn);
                return Poll::Ready(Err(conn.close(Reason::ClientGone, Blame::Downstream)));
            }
            if !self.start_next(worker, conn, now) {
                if self.newest.is_none() && self.overtaken.is_empty() {
                    return Poll::Ready(Err(self.give_up(conn)));
                }
                // Nothing else to try: what is pending has its full time.
                self.attempts = ATTEMPTS;
            }
        };
        self.wake_in_time(worker, conn, over);
        Poll::Pending
    }

    /// Whether an endpoint that closes on the hello may still be replaced.
    pub(crate) fn may_replay(&self) -> bool {
        self.suspects.len() < REPLAYS
    }

    /// The endpoint closed on the hello; the next poll tries another one.
    pub(crate) fn closed_early(&mut self, worker: &Worker, conn: &Conn, attempt: Attempt) {
        attempt.note(worker, conn, Outcome::ClosedEarly);
        self.suspects.push(attempt.choice);
        let reason = match conn.gateway_alert.get() {
            Some(_) => Reason::GatewayAlert,
            None => Reason::UpstreamClosedEarly,
        };
        self.failure = Some(reason);
    }

    /// An endpoint answered the hello, so those that closed on it are to blame; a hostile hello ejects nobody.
    pub(crate) fn answered(&mut self, conn: &Conn, now: Millis) {
        for choice in self.suspects.drain(..) {
            conn.blame(&choice, now);
        }
    }

    /// Sees what the pending attempts have come to; gives the first that has the hello.
    fn poll_pending(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        conn: &Conn,
        now: Millis,
    ) -> Option<Attempt> {
        let held = conn.held.borrow();
        if let Some(mut attempt) = self.newest.take() {
            match attempt.poll(cx, &held, now) {
                Poll::Pending => self.newest = Some(attempt),
                Poll::Ready(Ok(())) => return Some(attempt),
                Poll::Ready(Err(fault)) => self.fail(worker, conn, attempt, &fault, now),
            }
        }
        let mut at = 0;
        while at < self.overtaken.len() {
            match self.overtaken[at].poll(cx, &held, now) {
                Poll::Pending => at += 1,
                Poll::Ready(outcome) => {
                    let attempt = self.overtaken.swap_remove(at);
                    match outcome {
                        Ok(()) => return Some(attempt),
                        Err(fault) => self.fail(worker, conn, attempt, &fault, now),
                    }
                }
            }
        }
        None
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
        if is_early_close(fault) {
            self.suspects.push(attempt.choice);
        } else {
            conn.blame(&attempt.choice, now);
        }
    }

    /// Starts the next attempt; `false` if there is none to start.
    fn start_next(&mut self, worker: &Worker, conn: &Conn, now: Millis) -> bool {
        let Some(route) = conn.route.get() else {
            return false;
        };
        let choice = match route.pick(conn.client().ip(), now, &self.tried) {
            Ok(choice) => choice,
            Err(reason) => {
                self.failure.get_or_insert(reason);
                return false;
            }
        };
        self.tried.add(&choice);
        self.attempts += 1;
        worker.stats().dialled();
        let started = Instant::now();
        let limit = route
            .balancer()
            .connect_timeout()
            .unwrap_or_else(|| worker.config().timeouts.connect);
        let stagger = worker
            .config()
            .timeouts
            .stagger
            .max(choice.usual_connect() * 2);
        match connect(choice.address()) {
            Ok(stream) => {
                self.overtaken.extend(self.newest.take());
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
        true
    }

    /// Overtaken attempts go on without the hello, to their own limits: their outcome counts for their endpoints.
    fn leave_overtaken(&mut self, worker: &Worker, conn: &Conn) {
        for attempt in self.overtaken.drain(..).chain(self.newest.take()) {
            attempt.note(worker, conn, Outcome::Overtaken);
            if let Some(route) = conn.route.get() {
                tokio::task::spawn_local(see_off(attempt, route.clone(), worker.clock));
            }
        }
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
        let pending = self.newest.iter().chain(&self.overtaken);
        let ends = pending.map(|attempt| attempt.until).min();
        let next = (!over).then_some(self.next);
        if let Some(when) = ends.into_iter().chain(next).min()
            && conn.due() != when
        {
            worker.wake_at(conn, when);
        }
    }
}
