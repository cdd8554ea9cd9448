//! What a worker counts. Each worker has its own, on its own cache lines, so that counting costs the others nothing; a
//! reader adds them up.

mod histogram;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use self::histogram::Histogram;
pub use self::histogram::{BOUNDS, Latencies};
use crate::access::Outcome;
use crate::close::{Close, Reason, Stage};
use crate::hello::Reject;

/// Tiers that are counted one by one; the last stands for all that are further.
pub const TIERS: usize = 8;

/// One worker's counters.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Stats {
    closes: Vec<AtomicU64>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    rejects: [AtomicU64; Reject::ALL.len()],
    picks: [AtomicU64; TIERS],
    no_descriptor: AtomicU64,
    dropped: AtomicU64,
    dials: AtomicU64,
    lost_reports: AtomicU64,
    hello: Histogram,
    dial: Histogram,
}

/// Sums over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that ended, by stage and reason; only what has happened.
    pub closes: Vec<(Stage, Reason, u64)>,
    /// Hellos that were refused, by what was wrong with them.
    pub rejects: Vec<(Reject, u64)>,
    /// Attempts to reach an endpoint, by what came of them; an attempt that a faster one overtook is counted when the
    /// connection no longer waits for it.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Connections that an endpoint has got, by its tier; the last stands for all that are further.
    pub picks: [u64; TIERS],
    /// Clients that were closed because there was no descriptor for them.
    pub no_descriptor: u64,
    /// Clients that were closed at once, beyond every limit.
    pub dropped: u64,
    /// Dials that were begun.
    pub dials: u64,
    /// Reports of closed connections that nobody had room for.
    pub lost_reports: u64,
    /// From accept to the whole hello.
    pub hello: Latencies,
    /// From the hello to an endpoint that has it, failed attempts included.
    pub dial: Latencies,
}

impl Stats {
    pub(crate) fn new() -> Self {
        let cells = Stage::ALL.len() * Reason::ALL.len();
        Self {
            closes: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            outcomes: Default::default(),
            rejects: std::array::from_fn(|_| AtomicU64::new(0)),
            picks: Default::default(),
            no_descriptor: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            dials: AtomicU64::new(0),
            lost_reports: AtomicU64::new(0),
            hello: Histogram::default(),
            dial: Histogram::default(),
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

    pub(crate) fn lost_report(&self) {
        self.lost_reports.fetch_add(1, Relaxed);
    }

    /// An attempt came to this.
    pub(crate) fn attempted(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// A hello was refused for this.
    pub(crate) fn refused(&self, reject: Reject) {
        self.rejects[reject as usize].fetch_add(1, Relaxed);
    }

    /// A hello was complete.
    pub(crate) fn heard(&self, took: Duration) {
        self.hello.record(took);
    }

    /// An endpoint of this tier has the hello.
    pub(crate) fn reached(&self, tier: u8, took: Duration) {
        self.picks[usize::from(tier).min(TIERS - 1)].fetch_add(1, Relaxed);
        self.dial.record(took);
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
    let outcome = |outcome: &Outcome| {
        let count = sum(&|stats| stats.outcomes[*outcome as usize].load(Relaxed));
        (*outcome, count)
    };
    let reject = |reject: &Reject| {
        let count = sum(&|stats| stats.rejects[*reject as usize].load(Relaxed));
        (*reject, count)
    };
    let (mut hello, mut dial) = (Latencies::default(), Latencies::default());
    for stats in workers {
        stats.hello.add_to(&mut hello);
        stats.dial.add_to(&mut dial);
    }
    Totals {
        closes,
        rejects: Reject::ALL.iter().map(reject).collect(),
        outcomes: Outcome::ALL.iter().map(outcome).collect(),
        picks: std::array::from_fn(|tier| sum(&|stats| stats.picks[tier].load(Relaxed))),
        no_descriptor: sum(&|stats| stats.no_descriptor.load(Relaxed)),
        dropped: sum(&|stats| stats.dropped.load(Relaxed)),
        dials: sum(&Stats::dials),
        lost_reports: sum(&|stats| stats.lost_reports.load(Relaxed)),
        hello,
        dial,
    }
}

/// Both sets are listed in the order of their declaration, so the discriminant is the index.
const fn cell(stage: Stage, reason: Reason) -> usize {
    stage as usize * Reason::ALL.len() + reason as usize
}
