//! Deadlines of a worker's connections: one coarse wheel, so that a connection costs a push instead of a timer. It must
//! not know what a deadline is for.

use std::time::Duration;

use crate::clock::Millis;

/// How coarse deadlines are. The shortest that matters is the stagger of dials, 250 ms.
pub(crate) const TICK: Duration = Duration::from_millis(25);

/// Slots of the wheel: 3.2 s. What lies further ahead is looked at once a turn and put back.
const SLOTS: u64 = 128;

/// Entries that a slot has room for from the start, so that a quiet worker never allocates for one.
const ROOM: usize = 512;

/// A connection of this worker: its place in the list and the number that tells it from a later one in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Index in the worker's list.
    pub(crate) slot: u32,
    /// The connection's own number.
    pub(crate) serial: u32,
}

/// The wheel. Entries are never taken out: a connection that is gone, or whose deadline has moved, is found out when the
/// entry comes up.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<Key>>,
    due: Vec<Key>,
    tick: u64,
}

impl Wheel {
    /// An empty wheel that stands at `now`.
    pub(crate) fn new(now: Millis) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::with_capacity(ROOM)).collect(),
            due: Vec::with_capacity(ROOM),
            tick: ticks(now),
        }
    }

    /// Forgets every entry: there is no connection any more.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.clear();
            slot.shrink_to(ROOM);
        }
    }

    /// Goes to `now` at once, past what an empty wheel has slept through, which may be days.
    pub(crate) fn stand_at(&mut self, now: Millis) {
        self.tick = ticks(now);
    }

    /// Brings the connection up at `when`, or earlier if that is more than a turn ahead, never before the next tick.
    pub(crate) fn schedule(&mut self, key: Key, when: Millis) {
        let tick = (ticks(when) + 1).clamp(self.tick + 1, self.tick + SLOTS - 1);
        self.slots[slot(tick)].push(key);
    }

    /// Moves to `now` and hands out every entry that has come up; `again` says when the connection wants to be looked at
    /// next, `None` if it is done with.
    pub(crate) fn advance(&mut self, now: Millis, mut again: impl FnMut(Key) -> Option<Millis>) {
        let end = ticks(now);
        while self.tick < end {
            self.tick += 1;
            let at = slot(self.tick);
            std::mem::swap(&mut self.due, &mut self.slots[at]);
            while let Some(key) = self.due.pop() {
                if let Some(when) = again(key) {
                    self.schedule(key, when);
                }
            }
            // The room of a storm is not kept: it would wander through all the slots.
            self.due.shrink_to(ROOM);
        }
    }
}

fn ticks(at: Millis) -> u64 {
    at.0 / u64::try_from(TICK.as_millis()).unwrap_or(1)
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % SLOTS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, serial: 7 }
    }

    /// Every entry comes up once, not before its time and within a tick of it, however far ahead it was.
    #[test]
    fn entries_come_up_in_time() {
        for ahead in [0, 1, 24, 25, 250, 3_000, 3_200, 10_000, 60_000] {
            let mut wheel = Wheel::new(Millis(1_000));
            let deadline = Millis(1_000 + ahead);
            wheel.schedule(key(3), deadline);
            let mut fired = None;
            for now in (1_000..80_000).step_by(5).map(Millis) {
                wheel.advance(now, |k| {
                    assert_eq!(k, key(3));
                    if now < deadline {
                        return Some(deadline);
                    }
                    assert_eq!(fired, None, "came up twice");
                    fired = Some(now);
                    None
                });
            }
            let fired = fired.expect("never came up");
            assert!(
                fired >= deadline && fired.0 <= deadline.0 + 55,
                "{ahead} ms ahead: at {fired:?}"
            );
        }
    }

    /// A worker that slept through several turns still brings up everything.
    #[test]
    fn a_long_sleep_loses_nothing() {
        let mut wheel = Wheel::new(Millis(0));
        for n in 0..1_000 {
            wheel.schedule(key(n), Millis(u64::from(n) * 10));
        }
        let mut seen = 0;
        wheel.advance(Millis(1_000_000), |_| {
            seen += 1;
            None
        });
        assert_eq!(seen, 1_000);
    }

    /// A day without any connection costs nothing when it is over, and what was there before it does not come up.
    #[test]
    fn a_wheel_that_was_cleared_has_forgotten_everything() {
        let mut wheel = Wheel::new(Millis(0));
        wheel.schedule(key(1), Millis(500));
        let day = 24 * 3_600_000;
        wheel.clear();
        wheel.stand_at(Millis(day));
        wheel.schedule(key(2), Millis(day + 100));
        let mut seen = Vec::new();
        let mut advance = |now| {
            wheel.advance(Millis(now), |key| {
                seen.push(key);
                None
            });
            seen.len()
        };
        assert_eq!(advance(day + 50), 0);
        assert_eq!(advance(day + 150), 1);
        assert_eq!(advance(day + 10_000), 1);
        assert_eq!(seen, [key(2)]);
    }
}
