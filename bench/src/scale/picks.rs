//! What a pick takes, as a worker makes it. It must not count giving the choice back: that is a part of the close.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use proxy::balance::{Recent, Tried};
use proxy::clock::Clock;
use proxy::table::Route;

use super::setup::SOURCE;

/// Choices that are held before all are given back: few enough to stay in the cache, and enough that the clock costs nothing.
const KEPT: u32 = 256;

/// How often so many are made; the middle counts.
const BATCHES: usize = 2_001;

/// One pick.
///
/// # Errors
/// When nothing can be picked.
pub(super) fn time(route: &Arc<Route>, clock: Clock) -> Result<Duration> {
    let mut recent = Recent::default();
    let now = clock.now();
    let mut kept = Vec::with_capacity(KEPT as usize);
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let begun = Instant::now();
        for _ in 0..KEPT {
            let (balancer, rng) = recent.of(route);
            kept.push(route.pick_from(balancer, rng, SOURCE, now, &Tried::default()));
        }
        batches.push(begun.elapsed());
        ensure!(kept.iter().all(Result::is_ok), "nothing can be picked");
        kept.clear();
    }
    batches.sort_unstable();
    Ok(batches[BATCHES / 2] / KEPT)
}
