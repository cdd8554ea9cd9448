//! Whether the gateway is ready: when nobody that it waits for is left. It must not know what they do.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Who is waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready {
    waiting: Arc<Mutex<BTreeMap<&'static str, Vec<String>>>>,
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
        self.waiting.lock().insert(name, Vec::new());
        Task {
            name,
            ready: self.clone(),
        }
    }

    /// Is not ready any more, and will not be again, because of this.
    pub(crate) fn give_up(&self, name: &'static str) {
        self.waiting.lock().insert(name, Vec::new());
    }

    /// The names of those who are still waited for, sorted; in place of one that has said more of itself, that.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let waiting = self.waiting.lock();
        let mut names = Vec::new();
        for (name, details) in waiting.iter() {
            if details.is_empty() {
                names.push((*name).to_owned());
            }
            names.extend(details.iter().cloned());
        }
        names
    }
}

impl Task {
    /// Says what is waited for, in more words than its name.
    pub(crate) fn say(&self, details: Vec<String>) {
        self.ready.waiting.lock().insert(self.name, details);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.ready.waiting.lock().remove(self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_named_as_well_as_it_can_be() {
        let ready = Ready::default();
        let start = ready.wait_for("start");
        let clusters = ready.wait_for("clusters");
        assert_eq!(ready.waiting(), ["clusters", "start"]);
        clusters.say(vec!["cluster eu".into(), "cluster us".into()]);
        assert_eq!(ready.waiting(), ["cluster eu", "cluster us", "start"]);
        drop(start);
        drop(clusters);
        assert!(ready.waiting().is_empty());
        ready.give_up("drain");
        assert_eq!(ready.waiting(), ["drain"]);
    }
}
