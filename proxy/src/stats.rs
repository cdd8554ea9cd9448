//! What a worker counts. Each worker has its own, on its own cache lines, so that counting costs the others nothing; a
//! reader adds them up.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::close::{Close, Reason, Stage};

/// One worker's counters.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Stats {
    closes: Vec<AtomicU64>,
    no_descriptor: AtomicU64,
    dropped: AtomicU64,
    dials: AtomicU64,
}

/// Sums over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that ended, by stage and reason; only what has happened.
    pub closes: Vec<(Stage, Reason, u64)>,
    /// Clients that were closed because there was no descriptor for them.
    pub no_descriptor: u64,
    /// Clients that were closed at once, beyond every limit.
    pub dropped: u64,
    /// Dials that were begun.
    pub dials: u64,
}

impl Stats {
    pub(crate) fn new() -> Self {
        let cells = Stage::ALL.len() * Reason::ALL.len();
        Self {
            closes: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            no_descriptor: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            dials: AtomicU64::new(0),
        }
    }

    pub(crate) fn closed(&self, close: Close) {
        self.closes[cell(close.stage, close.reason)].fetch_add(1, Relaxed);
    }

    pub(crate) fn no_descriptor(&self) {
        self.no_descriptor.fetch_add(1, Relaxed);
    }

    pub(crate) fn dialled(&self) {
        self.dials.fetch_add(1, Relaxed);
    }

    pub(crate) fn dials(&self) -> u64 {
        self.dials.load(Relaxed)
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }
}

/// Adds the workers up.
pub(crate) fn total(workers: &[Stats]) -> Totals {
    let sum = |pick: &dyn Fn(&Stats) -> u64| workers.iter().map(pick).sum::<u64>();
    let mut closes = Vec::new();
    for stage in Stage::ALL {
        for reason in Reason::ALL {
            let count = sum(&|stats| stats.closes[cell(*stage, *reason)].load(Relaxed));
            if count > 0 {
                closes.push((*stage, *reason, count));
            }
        }
    }
    Totals {
        closes,
        no_descriptor: sum(&|stats| stats.no_descriptor.load(Relaxed)),
        dropped: sum(&|stats| stats.dropped.load(Relaxed)),
        dials: sum(&Stats::dials),
    }
}

/// Both sets are listed in the order of their declaration, so the discriminant is the index.
const fn cell(stage: Stage, reason: Reason) -> usize {
    stage as usize * Reason::ALL.len() + reason as usize
}
