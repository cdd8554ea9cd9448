//! What the connections of one load share: how far it is, what is due, what came of it. One thread has it all, so nothing here
//! is locked. It must not open or send anything.

use std::cell::{Cell, Ref, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{Notify, Semaphore};

use super::outcome::Outcome;
use super::plan::Plan;
use super::schedule::Schedule;
use super::unit;
use super::wire::Unopened;

/// How many connections that stay are opened at once: well below the accept queue of any listener (nginx: 511), so that none
/// waits a second for its SYN to be sent again.
const OPENING_AT_ONCE: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// Connections that stay are being opened.
    Opening,
    /// Work is done.
    Working,
    /// What was begun is finished, nothing new begins.
    Ending,
}

pub(super) struct Shared {
    pub(super) plan: Plan,
    /// Lets a connection be opened.
    pub(super) turn: Semaphore,
    phase: Cell<Phase>,
    /// A phase, a count or something due has changed.
    changed: Notify,
    /// One more unit is due.
    due: Notify,
    schedule: Cell<Option<(Schedule, Instant)>>,
    released: Cell<u64>,
    taken: Cell<u64>,
    /// Units that failed; connections that should stay and could not be opened are failures too, but were never due.
    failed: Cell<u64>,
    /// Connections that were begun.
    begun: Cell<usize>,
    recording: Cell<Option<Instant>>,
    open: Cell<usize>,
    /// Workers that have nothing more to do.
    idle: Cell<usize>,
    outcome: RefCell<Outcome>,
    second: RefCell<Histogram<u64>>,
}

impl Shared {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            turn: Semaphore::new(OPENING_AT_ONCE),
            phase: Cell::new(Phase::Opening),
            changed: Notify::new(),
            due: Notify::new(),
            schedule: Cell::new(None),
            released: Cell::new(0),
            taken: Cell::new(0),
            failed: Cell::new(0),
            begun: Cell::new(0),
            recording: Cell::new(None),
            open: Cell::new(0),
            idle: Cell::new(0),
            outcome: RefCell::new(Outcome::new()),
            second: RefCell::new(Outcome::new().latency),
        }
    }

    // What the driver says.

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.changed.notify_waiters();
        self.due.notify_waiters();
    }

    /// From now on it counts; an open loop's units begin here too.
    pub(super) fn record_from(&self, begin: Instant) {
        self.recording.set(Some(begin));
        self.taken.set(0);
        self.released.set(0);
    }

    pub(super) fn pace(&self, schedule: Schedule, begin: Instant) {
        self.schedule.set(Some((schedule, begin)));
    }

    /// One more unit of an open loop is due; false when that was the last.
    pub(super) fn release(&self) -> bool {
        let released = self.released.get();
        if self.plan.count.is_some_and(|count| released >= count) {
            return false;
        }
        self.released.set(released + 1);
        self.due.notify_one();
        true
    }

    /// What is due and not done has failed.
    pub(super) fn give_up(&self) {
        let mut outcome = self.outcome.borrow_mut();
        let waiting = match self.schedule.get() {
            Some(_) => self.released.get() - outcome.done - self.failed.get(),
            None => (self.plan.connections - self.idle.get()) as u64,
        };
        if waiting > 0 {
            let what = "not done long after the end".to_owned();
            *outcome.failures.entry(what).or_default() += waiting;
        }
    }

    // What it asks.

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Whether so many units as were wanted are done or have failed.
    pub(super) fn counted(&self) -> bool {
        let outcome = self.outcome.borrow();
        self.plan
            .count
            .is_some_and(|count| outcome.done + outcome.failed() >= count)
    }

    pub(super) async fn until_counted(&self) {
        self.until(|| self.counted()).await;
    }

    pub(super) async fn until_open(&self, connections: usize) {
        self.until(|| self.open.get() >= connections).await;
    }

    pub(super) async fn until_drained(&self) {
        self.until(|| self.idle.get() >= self.plan.connections)
            .await;
    }

    pub(super) fn outcome(&self, took: Duration) -> Outcome {
        let mut outcome = self.outcome.borrow().clone();
        outcome.took = took;
        outcome.open = self.open.get();
        outcome
    }

    pub(super) fn so_far(&self) -> Ref<'_, Outcome> {
        self.outcome.borrow()
    }

    /// Latencies since this was last asked.
    pub(super) fn last_second<T>(&self, look: impl FnOnce(&Histogram<u64>) -> T) -> T {
        let mut second = self.second.borrow_mut();
        let seen = look(&second);
        second.reset();
        seen
    }

    // What a connection asks and says.

    /// Where the next connection goes.
    pub(super) fn address(&self) -> SocketAddr {
        let begun = self.begun.get();
        self.begun.set(begun + 1);
        self.plan.addresses[begun % self.plan.addresses.len()]
    }

    pub(super) fn is_ending(&self) -> bool {
        self.phase.get() == Phase::Ending
    }

    pub(super) async fn until_phase(&self, phase: Phase) {
        self.until(|| self.phase.get() >= phase).await;
    }

    /// The next unit of work: the moment from which its latency counts. None when there is no more to do.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.until_phase(Phase::Working).await;
        loop {
            let taken = self.taken.get();
            let ending = self.is_ending();
            match (self.plan.rate, self.schedule.get()) {
                (None, _) => {
                    let enough = self.plan.count.is_some_and(|count| taken >= count);
                    // What is done to warm up is no part of the count.
                    if ending || (enough && self.recording.get().is_some()) {
                        return None;
                    }
                    self.taken.set(taken + 1);
                    return Some(Instant::now());
                }
                (_, Some((schedule, begin))) if taken < self.released.get() => {
                    self.taken.set(taken + 1);
                    return Some(begin + schedule.moment(taken));
                }
                _ if ending => return None,
                _ => self.due.notified().await,
            }
        }
    }

    /// A unit that was due then is done.
    pub(super) fn done(&self, due: Instant, name: Option<&str>) {
        if !self.counts(due) {
            return;
        }
        let mut outcome = self.outcome.borrow_mut();
        let nanos = due.elapsed().as_nanos() as u64;
        // These histograms grow by themselves, so they take every value.
        let _ = outcome.latency.record(nanos);
        let _ = self.second.borrow_mut().record(nanos);
        outcome.done += 1;
        if let Some(name) = name {
            match outcome.names.get_mut(name) {
                Some(count) => *count += 1,
                None => {
                    outcome.names.insert(name.to_owned(), 1);
                }
            }
        }
        drop(outcome);
        self.tell_when_counted();
    }

    /// A unit that was due then has failed.
    pub(super) fn failed(&self, due: Instant, what: &str) {
        if self.counts(due) {
            self.failed.set(self.failed.get() + 1);
            self.count_failure(what);
            self.tell_when_counted();
        }
    }

    /// A connection that should stay could not be opened.
    pub(super) fn unopened(&self, error: &Unopened) {
        self.count_failure(&unit::describe(error));
    }

    pub(super) fn moved(&self, bytes: usize) {
        if self.recording.get().is_some() && self.phase.get() == Phase::Working {
            self.outcome.borrow_mut().bytes += bytes as u64;
        }
    }

    pub(super) fn opened(&self) {
        self.open.set(self.open.get() + 1);
        self.changed.notify_waiters();
    }

    /// A connection that should stay is gone.
    pub(super) fn lost(&self, error: &io::Error) {
        self.closed();
        self.count_failure(&format!("an open connection ended: {error}"));
    }

    pub(super) fn closed(&self) {
        self.open.set(self.open.get() - 1);
    }

    pub(super) fn idle(&self) {
        self.idle.set(self.idle.get() + 1);
        self.changed.notify_waiters();
    }

    fn counts(&self, due: Instant) -> bool {
        self.recording.get().is_some_and(|begin| due >= begin)
    }

    fn count_failure(&self, what: &str) {
        let mut outcome = self.outcome.borrow_mut();
        *outcome.failures.entry(what.to_owned()).or_default() += 1;
    }

    fn tell_when_counted(&self) {
        if self.plan.count.is_some() && self.counted() {
            self.changed.notify_waiters();
        }
    }

    async fn until(&self, reached: impl Fn() -> bool) {
        // One thread: nothing happens between the look and the wait.
        while !reached() {
            self.changed.notified().await;
        }
    }
}
