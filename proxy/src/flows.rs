//! Connections and bytes of one route by who served them, for Istio's metrics. A compact block for each, made at its first
//! connection; a route that nobody uses has none. It must not know labels or formats.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwapOption;
use model::{ClusterId, Origin, Workload};

/// The counters of one series. They only grow.
#[derive(Debug, Default)]
pub struct Flow {
    /// Connections that began.
    pub opened: AtomicU64,
    /// Connections that ended.
    pub closed: AtomicU64,
    /// Bytes from clients.
    pub sent: AtomicU64,
    /// Bytes to clients.
    pub received: AtomicU64,
}

/// One flow, and whose it is.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who served; `None`: nobody did.
    pub origin: Option<Arc<Origin>>,
    /// Envoy's response flags.
    pub flags: &'static str,
    /// The counters. Origins of the same workload and cluster share one.
    pub flow: Arc<Flow>,
}

/// The flows of a route.
#[derive(Debug, Default)]
pub struct Flows {
    entries: ArcSwapOption<Vec<Entry>>,
}

impl Flows {
    /// The flow of this origin with these flags. No lock; allocates only the first time that the two are seen.
    pub fn of(&self, origin: Option<&Arc<Origin>>, flags: &'static str) -> Arc<Flow> {
        if let Some(entries) = &*self.entries.load()
            && let Some(entry) = entries.iter().find(|entry| entry.is_of(origin, flags))
        {
            return Arc::clone(&entry.flow);
        }
        self.add(origin, flags)
    }

    /// Every flow once, with one of the origins it stands for.
    #[must_use]
    pub fn each(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for entry in self.entries.load().iter().flat_map(|all| all.iter()) {
            if !entries
                .iter()
                .any(|other| Arc::ptr_eq(&other.flow, &entry.flow))
            {
                entries.push(entry.clone());
            }
        }
        entries
    }

    /// Drops the flows of origins that no snapshot and no connection knows any more.
    pub fn sweep(&self) {
        let stale = |entries: &Arc<Vec<Entry>>| entries.iter().any(Entry::is_stale);
        if self.entries.load().as_ref().is_some_and(stale) {
            self.entries.rcu(|before| {
                let live = |entries: &Arc<Vec<Entry>>| {
                    let live = entries.iter().filter(|entry| !entry.is_stale());
                    Arc::new(live.cloned().collect::<Vec<_>>())
                };
                before.as_ref().map(live)
            });
        }
    }

    #[cold]
    fn add(&self, origin: Option<&Arc<Origin>>, flags: &'static str) -> Arc<Flow> {
        let fresh = Arc::new(Flow::default());
        let mut flow = fresh.clone();
        self.entries.rcu(|before| {
            let mut entries: Vec<Entry> = before.as_ref().map_or_else(Vec::new, |all| all.to_vec());
            let same = entries.iter().find(|entry| {
                entry.flags == flags && identity(entry.origin.as_ref()) == identity(origin)
            });
            flow = same.map_or_else(|| fresh.clone(), |entry| entry.flow.clone());
            if !entries.iter().any(|entry| entry.is_of(origin, flags)) {
                entries.push(Entry {
                    origin: origin.cloned(),
                    flags,
                    flow: flow.clone(),
                });
            }
            Some(Arc::new(entries))
        });
        flow
    }
}

impl Entry {
    fn is_of(&self, origin: Option<&Arc<Origin>>, flags: &'static str) -> bool {
        let same = match (&self.origin, origin) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        };
        same && self.flags == flags
    }

    /// Its origin is known to nobody else. Origins of one workload come and go with snapshots; as long as one is left, so is
    /// the flow.
    fn is_stale(&self) -> bool {
        self.origin
            .as_ref()
            .is_some_and(|origin| Arc::strong_count(origin) == 1)
    }
}

/// What tells series apart; zones do not.
fn identity(origin: Option<&Arc<Origin>>) -> Option<(&Workload, &ClusterId)> {
    origin.map(|origin| (&origin.workload, &origin.cluster))
}

#[cfg(test)]
mod tests;
