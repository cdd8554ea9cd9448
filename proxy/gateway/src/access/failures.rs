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
