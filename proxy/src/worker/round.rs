//! A worker's round over its connections, a few at each tick: bytes are told to the metrics, and the closer has a look. It
//! must not end a connection itself.

use super::Worker;
use crate::clock::Millis;
use crate::closer::overdue;
use crate::tick::TICK;

/// Where the round is.
#[derive(Debug, Default)]
pub(super) struct Round {
    next: usize,
    ticks_left: usize,
}

impl Round {
    /// Looks at this tick's share.
    pub(super) fn go_on(&mut self, worker: &Worker, now: Millis) {
        let conns = worker.conns.borrow();
        let mut closer = worker.closer.borrow_mut();
        if let Some(reason) = closer.end_batch(now) {
            conns.each(|conn| conn.ask_to_stop(reason));
        }
        let places = conns.places();
        let ticks = usize::try_from(closer.round().as_millis() / TICK.as_millis()).unwrap_or(1);
        if self.ticks_left == 0 || self.next > places {
            self.next = 0;
            // What control has replaced meanwhile can go.
            worker.recent.borrow_mut().clear();
        }
        // A round that became quicker meanwhile ends sooner.
        self.ticks_left = if self.next == 0 {
            ticks
        } else {
            self.ticks_left.clamp(1, ticks)
        };
        let share = (places - self.next).div_ceil(self.ticks_left);
        for conn in conns.in_places(self.next..self.next + share) {
            let rounds = conn.count_quiet(conn.tell_flow(), now);
            let reason = closer.judge(conn, rounds, now);
            if let Some(reason) = reason.or_else(|| overdue(conn, now)) {
                conn.ask_to_stop(reason);
            }
        }
        self.next += share;
        self.ticks_left -= 1;
    }
}
