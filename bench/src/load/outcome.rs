//! What came of a load, for people and for programs. It must not leave out what failed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies are kept to three digits.
const DIGITS: u8 = 3;
/// Quantiles that are written, in per cent.
const QUANTILES: [f64; 8] = [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0];

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Latencies of the units that were done, in nanoseconds: in an open loop from the moment each was due, else from its
    /// start.
    pub latency: Histogram<u64>,
    /// Units of work done.
    pub done: u64,
    /// Bytes moved by downloads and uploads.
    pub bytes: u64,
    /// What failed, and how often.
    pub failures: BTreeMap<String, u64>,
    /// Who answered, where answers say so.
    pub names: BTreeMap<String, u64>,
    /// Connections that were open at the end.
    pub open: usize,
    /// For how long this was counted.
    pub took: Duration,
}

impl Outcome {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            // Cannot fail: the number of digits is a valid one, and so it is in `micros`.
            latency: Histogram::new(DIGITS).expect("from 0 to 5 digits"),
            done: 0,
            bytes: 0,
            failures: BTreeMap::new(),
            names: BTreeMap::new(),
            open: 0,
            took: Duration::ZERO,
        }
    }

    /// Units that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// What failed, as the end of a sentence; empty when nothing did.
    #[must_use]
    pub fn complaint(&self) -> String {
        let each = self.failures.iter();
        each.map(|(what, count)| format!("; {count} x {what}"))
            .collect()
    }

    /// Units done in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }

    /// Gigabits moved in a second.
    #[must_use]
    pub fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8e-9 / self.took.as_secs_f64()
    }

    /// The latency in microseconds that this share of the units stayed within; `quantile` from 0 to 1.
    #[must_use]
    pub fn micros(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// All of it.
    #[must_use]
    pub fn json(&self) -> Value {
        let quantiles: BTreeMap<String, f64> = QUANTILES
            .iter()
            .map(|quantile| (format!("p{quantile}"), self.micros(quantile / 100.0)))
            .collect();
        json!({
            "seconds": self.took.as_secs_f64(),
            "done": self.done,
            "perSecond": self.rate(),
            "bytes": self.bytes,
            "gigabitsPerSecond": self.gigabits(),
            "latencyMicroseconds": quantiles,
            "latencyMeanMicroseconds": self.latency.mean() / 1e3,
            "open": self.open,
            "failed": self.failed(),
            "failures": self.failures,
            "names": self.names,
        })
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        if self.bytes > 0 {
            let gigabytes = self.bytes as f64 / 1e9;
            let gigabits = self.gigabits();
            write!(
                f,
                "{gigabytes:.2} GB in {seconds:.2} s, {gigabits:.1} Gbit/s"
            )?;
        } else if self.done > 0 || self.open == 0 {
            write!(
                f,
                "{} done in {seconds:.2} s, {:.0}/s",
                self.done,
                self.rate()
            )?;
        } else {
            write!(f, "{} connections open after {seconds:.2} s", self.open)?;
        }
        if !self.latency.is_empty() {
            write!(
                f,
                "; us p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
                self.micros(0.5),
                self.micros(0.9),
                self.micros(0.99),
                self.micros(0.999),
                self.micros(1.0),
            )?;
        }
        for (what, count) in &self.failures {
            write!(f, "\n  failed: {count} x {what}")?;
        }
        for (name, count) in &self.names {
            let share = 100.0 * *count as f64 / self.names.values().sum::<u64>() as f64;
            write!(f, "\n  answered: {count} ({share:.1} %) by {name}")?;
        }
        Ok(())
    }
}
