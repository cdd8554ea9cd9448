//! Whether the gateway is ready: when nobody that it waits for is left. It must not know what they do.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// Who is waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready {
    waiting: Arc<Mutex<BTreeSet<&'static str>>>,
}

/// Somebody who is waited for, until this is dropped.
#[derive(Debug)]
#[must_use = "the task counts as done once this is dropped"]
pub(crate) struct Task {
    name: &'static str,
    ready: Ready,
}

impl Ready {
    /// Waits for this one too. Names are unique.
    pub(crate) fn wait_for(&self, name: &'static str) -> Task {
        self.waiting.lock().insert(name);
        Task {
            name,
            ready: self.clone(),
        }
    }

    /// Is not ready any more, and will not be again, because of this.
    pub(crate) fn give_up(&self, name: &'static str) {
        self.waiting.lock().insert(name);
    }

    /// The names of those who are still waited for, sorted.
    pub(crate) fn waiting(&self) -> Vec<&'static str> {
        self.waiting.lock().iter().copied().collect()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.ready.waiting.lock().remove(self.name);
    }
}
