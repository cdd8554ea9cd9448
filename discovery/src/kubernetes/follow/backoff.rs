//! How long to wait after a failure. It must not wait itself.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_millis(500);

/// At most; client-go's reflectors stop at 30 s too.
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double, each shortened by up to a half, so that many that fail together do not come back together.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure; at least what the server asks for, itself bounded by five minutes.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let pause = full.mul_f64(1.0 - 0.5 * fastrand::f64());
        pause.max(asked.unwrap_or_default().min(10 * LONGEST))
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        for full in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let pause = backoff.next(None).as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
        }
        let asked = Some(Duration::from_secs(90));
        assert_eq!(backoff.next(asked), Duration::from_secs(90));
        let hostile = Some(Duration::from_secs(1 << 40));
        assert_eq!(backoff.next(hostile), Duration::from_secs(300));
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }
}
