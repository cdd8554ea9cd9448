//! Waiting for something to hold, instead of for a time; and promises that are about time, on a machine that others use too.

use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds.
///
/// # Panics
/// When it does not hold within two minutes.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    until_async(what, async || holds()).await;
}

/// Waits until something holds that has to be asked for.
///
/// # Panics
/// When it does not hold within two minutes.
pub async fn until_async(what: &str, holds: impl AsyncFn() -> bool) {
    // Not the runtime's clock: where that is paused it jumps ahead of threads that have yet to get a processor.
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // A look that hangs ends as well; by a paused clock too soon, and then there is another one.
        if let Ok(true) = tokio::time::timeout(PATIENCE, holds()).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain until {what}");
}

/// Tells a story in which a promise about time is kept or not: up to three times, until it is. Somebody else can have the
/// processors for a second at any moment, but hardly in each telling; what is too slow by itself is so in each. The price: a fault
/// that hits one telling in three is seldom seen.
///
/// # Panics
/// When it is kept in none; with what the story said each time.
pub async fn in_one_of_three(story: impl AsyncFn() -> Result<(), String>) {
    let mut said = Vec::new();
    while said.len() < 3 {
        match story().await {
            Ok(()) => return,
            Err(why) => said.push(why),
        }
    }
    panic!("not kept in any of three tellings: {said:#?}");
}
