//! How many ends are reported: failures up to so many a second for each reason, others as many as are asked for. It must
//! not know what is in a report.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::clock::Millis;
use crate::close::{Close, Reason};

/// The quota of all workers together.
#[derive(Debug)]
pub(crate) struct Quota {
    /// Reports of one reason in a second.
    failures: u32,
    /// Of 2^32 ends that are no failures, so many are reported.
    successes: u64,
    reasons: Vec<OfReason>,
}

/// Only failures touch these, so the workers seldom meet here.
#[derive(Debug, Default)]
struct OfReason {
    /// The second in the upper half, what was reported in it in the lower.
    window: AtomicU64,
    omitted: AtomicU64,
}

impl Quota {
    /// So many failures a second for each reason, and this share of the others.
    pub(crate) fn new(failures: u32, successes: f64) -> Self {
        let share = successes.clamp(0.0, 1.0) * 2_f64.powi(32);
        Self {
            failures,
            // Between 0 and 2^32, so nothing is cut off.
            successes: share as u64,
            reasons: Reason::ALL.iter().map(|_| OfReason::default()).collect(),
        }
    }

    /// Whether this end is reported, and how many of its reason were not since the last that was. A probe never is: load
    /// balancers make more of them than there are connections.
    pub(crate) fn take(&self, close: Close, now: Millis) -> Option<u64> {
        if close.reason == Reason::Probe {
            return None;
        }
        if !close.is_failure() {
            let reported = self.successes > 0 && u64::from(fastrand::u32(..)) < self.successes;
            return reported.then_some(0);
        }
        let of = &self.reasons[close.reason as usize];
        let second = now.0 / 1_000;
        let taken = of.window.fetch_update(Relaxed, Relaxed, |window| {
            let (began, count) = (window >> 32, window & u64::from(u32::MAX));
            match count {
                _ if began != second => Some(second << 32 | 1),
                _ if count < u64::from(self.failures) => Some(window + 1),
                _ => None,
            }
        });
        if taken.is_ok() && self.failures > 0 {
            Some(of.omitted.swap(0, Relaxed))
        } else {
            of.omitted.fetch_add(1, Relaxed);
            None
        }
    }

    /// The report was lost on its way: the next one says how many were left out before it.
    pub(crate) fn give_back(&self, close: Close, omitted: u64) {
        if close.is_failure() {
            let of = &self.reasons[close.reason as usize];
            of.omitted.fetch_add(omitted, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::{Blame, Stage};

    fn end(reason: Reason) -> Close {
        Close::new(Stage::Dial, reason, Blame::Upstream)
    }

    #[test]
    fn failures_are_limited_for_each_reason_and_what_was_left_out_is_said() {
        let quota = Quota::new(2, 0.0);
        let refused = end(Reason::DialRefused);
        let at = Millis(5_000);
        assert_eq!(quota.take(refused, at), Some(0));
        assert_eq!(quota.take(refused, at), Some(0));
        assert_eq!(quota.take(refused, Millis(5_999)), None);
        assert_eq!(quota.take(refused, Millis(5_999)), None);
        assert_eq!(quota.take(end(Reason::NoEndpoint), at), Some(0));
        assert_eq!(quota.take(refused, Millis(6_000)), Some(2));
        assert_eq!(quota.take(refused, Millis(6_001)), Some(0));
    }

    #[test]
    fn others_are_reported_as_asked_for_and_probes_never() {
        let all = Quota::new(1, 1.0);
        let none = Quota::new(1, 0.0);
        let half = Quota::new(1, 0.5);
        let done = end(Reason::Done);
        let count = |quota: &Quota| {
            (0..10_000)
                .filter(|_| quota.take(done, Millis(1)).is_some())
                .count()
        };
        assert_eq!((count(&all), count(&none)), (10_000, 0));
        assert!((4_000..6_000).contains(&count(&half)));
        assert_eq!(all.take(end(Reason::Probe), Millis(1)), None);
    }
}
