//! A histogram of latencies with fixed bounds: one writer, any number of readers. It must not know what is measured.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Upper bounds in microseconds: from a connect within a node to the longest dial that is allowed.
pub const BOUNDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 3_000_000, 10_000_000,
];

/// Counts by bound.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// What histograms have counted, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How many were within each of [`BOUNDS`] and beyond the one before it; the last were beyond all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Their sum, in microseconds.
    pub micros: u64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[at].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn add_to(&self, sum: &mut Latencies) {
        for (count, own) in sum.counts.iter_mut().zip(&self.counts) {
            *count += own.load(Relaxed);
        }
        sum.micros += self.micros.load(Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prometheus' `le` includes the bound.
    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        for (micros, bucket) in [
            (0, 0),
            (100, 0),
            (101, 1),
            (10_000_000, 14),
            (10_000_001, 15),
        ] {
            let histogram = Histogram::default();
            histogram.record(Duration::from_micros(micros));
            let mut sum = Latencies::default();
            histogram.add_to(&mut sum);
            assert_eq!(sum.counts[bucket], 1, "{micros} us");
            assert_eq!((sum.counts.iter().sum::<u64>(), sum.micros), (1, micros));
        }
    }
}
