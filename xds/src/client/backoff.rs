//! How long to wait before the next stream. Pure arithmetic; whoever waits brings the chance.

use std::time::Duration;

/// Before the second attempt.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait: a server that is back is found within this.
const LONGEST: Duration = Duration::from_secs(30);

/// Attempts that have come to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A server has answered.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after a failure: doubling, at least half of it, so that gateways that lost one server together do
    /// not come back together. `chance` is between 0 and 1.
    pub(crate) fn next(&mut self, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        doubled
            .min(LONGEST)
            .mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        let expected = [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
        ];
        assert_eq!(waits, expected);
        assert_eq!(backoff.next(0.0).as_millis(), 15_000);
        backoff.reset();
        assert_eq!(backoff.next(0.5).as_millis(), 375);
    }
}
