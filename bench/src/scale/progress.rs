//! How far a measurement has come, for people who wait: one line at a time on standard error, beside the figures. It must not
//! measure anything.

use std::sync::LazyLock;
use std::time::Instant;

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Says something, with the seconds since it was first said anything.
pub(super) fn say(what: &str) {
    eprintln!("  [{:4.0} s] {what}", BEGUN.elapsed().as_secs_f64());
}
