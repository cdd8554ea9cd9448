//! A line on standard error each second while a load runs. It must not keep anything from the outcome.

use std::time::Instant;

use super::plan::Work;
use super::shared::Shared;

/// What has been said already.
pub(super) struct Progress {
    begin: Instant,
    last: Instant,
    done: u64,
    bytes: u64,
    failed: u64,
}

impl Progress {
    pub(super) fn new(begin: Instant) -> Self {
        Self {
            begin,
            last: begin,
            done: 0,
            bytes: 0,
            failed: 0,
        }
    }

    /// What came since the last time.
    pub(super) fn print(&mut self, shared: &Shared) {
        let now = Instant::now();
        let seconds = (now - self.last).as_secs_f64();
        let (done, bytes, failed) = {
            let outcome = shared.so_far();
            (outcome.done, outcome.bytes, outcome.failed())
        };
        let at = (now - self.begin).as_secs_f64();
        let new = failed - self.failed;
        let open = shared.open();
        let rate = (done - self.done) as f64 / seconds;
        let gigabits = (bytes - self.bytes) as f64 * 8e-9 / seconds;
        let line = match shared.plan.work {
            Work::Idle | Work::Silent => String::new(),
            Work::Download | Work::Upload => format!("  {gigabits:6.2} Gbit/s"),
            Work::Connections | Work::RoundTrips => shared.last_second(|latency| {
                let micros = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
                format!(
                    "  {rate:8.0}/s  us p50 {:7.0}  p99 {:7.0}  max {:7.0}",
                    micros(0.5),
                    micros(0.99),
                    micros(1.0)
                )
            }),
        };
        eprintln!("{at:6.1} s{line}  open {open:5}  failed {new}");
        self.last = now;
        self.done = done;
        self.bytes = bytes;
        self.failed = failed;
    }
}
