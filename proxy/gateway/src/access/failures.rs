//! The latest failures, for whoever asks afterwards. It must not grow.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Record;

/// How many are kept.
pub(crate) const KEPT: usize = 1_000;

/// The failures, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<VecDeque<Arc<Record>>>);

impl Failures {
    /// Another one; the oldest goes if there are too many.
    pub(crate) fn add(&self, record: Record) {
        let mut kept = self.0.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::new(record));
    }

    /// The latest, the latest first; only those for this reason, if one is given.
    pub(crate) fn latest(&self, reason: Option<&str>, limit: usize) -> Vec<Arc<Record>> {
        let kept = self.0.lock();
        let wanted = |record: &&Arc<Record>| reason.is_none_or(|reason| record.reason == reason);
        kept.iter()
            .rev()
            .filter(wanted)
            .take(limit)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_last_thousand_are_kept_the_latest_first() {
        let failures = Failures::default();
        for number in 0..KEPT as u64 + 5 {
            let mut record = Record::of(&report());
            record.sent = number;
            if number % 2 == 1 {
                record.reason = "dial_timeout";
            }
            failures.add(record);
        }
        let sent = |reason, limit| -> Vec<u64> {
            let latest = failures.latest(reason, limit);
            latest.iter().map(|record| record.sent).collect()
        };
        let all = sent(None, usize::MAX);
        assert_eq!(all.len(), KEPT);
        assert_eq!((all[0], all[KEPT - 1]), (KEPT as u64 + 4, 5));
        assert_eq!(sent(Some("dial_timeout"), 2), [1_003, 1_001]);
        assert_eq!(sent(Some("no_such"), 2), [0_u64; 0]);
    }
}
