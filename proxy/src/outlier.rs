//! When an address is ejected and for how long: a pure rule over counts and moments. It keeps no state of its own.

use std::time::Duration;

use model::OutlierDetection;

use crate::clock::Millis;

/// How long an address must have been back before its earlier ejections are forgotten: the longest ejection, so that an
/// address that fails once in each cycle never starts over.
pub const FORGET_AFTER: Duration = Duration::from_secs(300);

/// The shortest ejection: at its end a connect of our own decides, so a rule of 0 s would be one connect after the other.
const SHORTEST: Duration = Duration::from_millis(100);

/// The ramp of an address that comes back (design section 6.7).
pub const RAMP: Duration = Duration::from_secs(10);

/// What a ramp starts with, percent of the full share: Envoy's `min_weight_percent`.
const RAMP_FLOOR: u64 = 10;

/// Whether so many consecutive failed dials eject; 0 in the rule never does.
#[must_use]
pub fn ejects(rule: &OutlierDetection, failures: u32) -> bool {
    rule.consecutive_failures > 0 && failures >= rule.consecutive_failures
}

/// How long an ejection lasts that comes after `earlier` others: the base, doubled for each, up to the maximum; 100 ms at least.
#[must_use]
pub fn length(rule: &OutlierDetection, earlier: u8) -> Duration {
    let doubled = 1u32.checked_shl(u32::from(earlier)).unwrap_or(u32::MAX);
    rule.base_ejection
        .saturating_mul(doubled)
        .min(rule.max_ejection)
        .max(SHORTEST)
}

/// Share of its weight that an address gets so long after its return, percent: linear, 10 at least.
#[must_use]
pub fn ramp_percent(elapsed: Duration, window: Duration) -> u64 {
    if elapsed >= window {
        return 100;
    }
    let percent = elapsed.as_millis() * 100 / window.as_millis().max(1);
    u64::try_from(percent).unwrap_or(100).max(RAMP_FLOOR)
}

/// Whether earlier ejections are forgotten, now that the address has been back since `back`.
#[must_use]
pub fn forgets(back: Millis, now: Millis) -> bool {
    now.since(back) >= FORGET_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_eject_and_each_ejection_doubles_up_to_five_minutes() {
        let rule = OutlierDetection::default();
        assert!(!ejects(&rule, 2));
        assert!(ejects(&rule, 3));
        let seconds: Vec<u64> = (0..7).map(|n| length(&rule, n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(length(&rule, 200).as_secs(), 300);
    }

    /// Else the connect of our own at its end would follow the one before at once, for as long as the address is dead.
    #[test]
    fn no_ejection_is_over_at_once() {
        let [zero, hour] = [Duration::ZERO, Duration::from_secs(3_600)];
        for (base, most) in [(zero, hour), (hour, zero), (zero, zero)] {
            let rule = OutlierDetection {
                base_ejection: base,
                max_ejection: most,
                ..OutlierDetection::default()
            };
            for earlier in [0, 1, 200] {
                assert_eq!(length(&rule, earlier), SHORTEST, "{rule:?}");
            }
        }
    }

    #[test]
    fn zero_in_the_rule_never_ejects() {
        let rule = OutlierDetection {
            consecutive_failures: 0,
            ..OutlierDetection::default()
        };
        assert!(!ejects(&rule, 1000));
    }

    #[test]
    fn a_ramp_is_linear_above_its_floor() {
        let at = |ms| ramp_percent(Duration::from_millis(ms), RAMP);
        assert_eq!(
            [at(0), at(500), at(2500), at(9999), at(10_000)],
            [10, 10, 25, 99, 100]
        );
    }
}
