//! Which connections should end without anybody noticing: one closer, four triggers (drain, shed, age, failback). It names
//! them one by one at their quiet moments; it must not touch a socket.

use std::time::Duration;

use crate::clock::Millis;
use crate::close::{Reason, Stage};
use crate::config::Closing;
use crate::conn::Conn;

/// Length of a round over all connections while none is to be closed: as often as Istio's proxies report a connection's bytes.
const SLOW_ROUND: Duration = Duration::from_secs(5);

/// Length of a round while some are: no byte for this long either way is a quiet moment (design section 5).
const QUICK_ROUND: Duration = Duration::from_millis(200);

/// A connection whose client spoke last may wait for an answer. It counts as quiet only after nine tenths of the window
/// without a byte, so that a request is lost to a drain only if it would hardly have ended before it; and after this long
/// whatever the window.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one trigger asks for: some of the connections, by and by.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// What is said of them.
    pub(crate) reason: Reason,
    /// What is said of those that were never quiet, which are closed all the same at the window's end; `None` spares them.
    pub(crate) rest: Option<Reason>,
    /// Of 100 connections that are open at the beginning.
    pub(crate) percent: u8,
    /// The window.
    pub(crate) over: Duration,
}

/// The closer of one worker.
#[derive(Debug)]
pub(crate) struct Closer {
    config: Closing,
    batch: Option<Running>,
    failback: Budget,
}

#[derive(Debug)]
struct Running {
    batch: Batch,
    began: Millis,
    quota: usize,
    closed: usize,
}

/// So many a second, none saved up for later.
#[derive(Debug)]
struct Budget {
    per_second: u32,
    second: u64,
    used: u32,
}

impl Closer {
    /// One of so many workers' closers, which share what is allowed in a second.
    pub(crate) fn new(config: Closing, workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        Self {
            failback: Budget {
                per_second: config.failback_per_second.div_ceil(workers),
                second: 0,
                used: 0,
            },
            config,
            batch: None,
        }
    }

    /// Begins to close some of `open` connections. What an earlier batch has not closed yet is forgotten, unless it was to
    /// close everything.
    pub(crate) fn begin(&mut self, batch: Batch, open: usize, now: Millis) {
        let drains = |running: &Running| running.batch.rest.is_some();
        if self.batch.as_ref().is_some_and(drains) && batch.rest.is_none() {
            return;
        }
        self.batch = Some(Running {
            quota: (open * usize::from(batch.percent.min(100))).div_ceil(100),
            batch,
            began: now,
            closed: 0,
        });
    }

    /// One more connection, of a client that was in the queue when the batch began: a drain closes it too.
    pub(crate) fn joined(&mut self) {
        if let Some(running) = &mut self.batch
            && running.batch.rest.is_some()
        {
            running.quota += 1;
        }
    }

    /// How long a round over all connections takes now.
    pub(crate) fn round(&self) -> Duration {
        if self.is_idle() {
            SLOW_ROUND
        } else {
            QUICK_ROUND
        }
    }

    /// Whether no connection is to be closed, now or later.
    fn is_idle(&self) -> bool {
        self.batch.is_none()
            && self.config.max_age.is_none()
            && self.config.failback_per_second == 0
    }

    /// Why this connection should end now, if it should; `rounds`: so many rounds no byte has moved.
    pub(crate) fn judge(&mut self, conn: &Conn, rounds: u8, now: Millis) -> Option<Reason> {
        if self.is_idle() || conn.stage() != Stage::Relay || conn.asked_to_stop().is_some() {
            return None;
        }
        if let Some(running) = &mut self.batch
            && running.closed < running.allowed(now)
            && is_quiet(conn, rounds, running.batch.over)
        {
            running.closed += 1;
            return Some(running.batch.reason);
        }
        if let Some(age) = self.config.max_age
            && now >= conn.accepted.millis().after(jittered(age, conn.key.serial))
            && is_quiet(conn, rounds, age)
        {
            return Some(Reason::MaxAge);
        }
        if self.config.failback_per_second > 0
            && is_quiet(conn, rounds, Duration::MAX)
            && conn.has_closer_place()
            && self.failback.take(now)
        {
            return Some(Reason::Failback);
        }
        None
    }

    /// Once the window of a batch has ended: what is said of the connections that are left, if they end with it.
    pub(crate) fn end_batch(&mut self, now: Millis) -> Option<Reason> {
        let running = self.batch.as_ref()?;
        let rest = running.batch.rest;
        // Who is only asked gets two rounds more, so that a short window too has a quiet moment in it.
        let more = if rest.is_none() {
            QUICK_ROUND * 2
        } else {
            Duration::ZERO
        };
        if now < running.began.after(running.batch.over + more) {
            return None;
        }
        if rest.is_none() {
            self.batch = None;
        }
        rest
    }
}

impl Running {
    /// How many may have been closed by now: in proportion to the time, so that they do not all come back at once.
    fn allowed(&self, now: Millis) -> usize {
        let over = self.batch.over.as_millis().max(1);
        let elapsed = now.since(self.began).as_millis().min(over);
        let quota = u128::try_from(self.quota).unwrap_or(u128::MAX);
        usize::try_from((quota * elapsed).div_ceil(over)).unwrap_or(usize::MAX)
    }
}

impl Budget {
    fn take(&mut self, now: Millis) -> bool {
        let second = now.0 / 1_000;
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        let left = self.used < self.per_second;
        self.used += u32::from(left);
        left
    }
}

/// Whether nobody would notice its end, as far as can be seen from outside: nothing is held back, no byte has moved for a
/// round, and the upstream spoke last.
fn is_quiet(conn: &Conn, rounds: u8, window: Duration) -> bool {
    if rounds == 0 || conn.holds_bytes.get() {
        return false;
    }
    conn.answered.get() || QUICK_ROUND * u32::from(rounds) >= (window / 10 * 9).min(PATIENCE)
}

/// Why this connection should end by its service's own policy, if it should.
pub(crate) fn overdue(conn: &Conn, now: Millis) -> Option<Reason> {
    let route = conn.route.get().filter(|_| conn.stage() == Stage::Relay)?;
    let balancer = route.balancer();
    let policy = &balancer.policy;
    let age = now.since(conn.accepted.millis());
    if policy.max_duration.is_some_and(|most| age >= most) {
        return Some(Reason::MaxAge);
    }
    let idle = |most| conn.idle(now) >= most && !conn.holds_bytes.get();
    policy
        .idle_timeout
        .is_some_and(idle)
        .then_some(Reason::IdleTimeout)
}

/// A tenth more or less, by the connection's number: those that began together shall not end together.
fn jittered(age: Duration, serial: u32) -> Duration {
    let spread = serial.wrapping_mul(0x9E37_79B9) >> 16;
    age / 10 * 9 + age / 5 * spread / (1 << 16)
}

#[cfg(test)]
mod tests;
