//! Durations as Istio's resources write them. A pure rule.

use std::time::Duration;

/// Units with their length in nanoseconds; longer names first where one begins with another.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// `10s`, `1.5s`, `1m30s`, `100ms`: protobuf's form and Go's (`time.ParseDuration`), which Istio's schemas accept alike.
/// Negative ones make no sense here.
pub(super) fn parse_span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut nanos = 0.0;
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        nanos += number * unit;
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(nanos / 1e9).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        for (text, millis) in [
            ("10s", Some(10_000)),
            ("1.5s", Some(1_500)),
            ("1m30s", Some(90_000)),
            ("100ms", Some(100)),
            ("1h", Some(3_600_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("10 s", None),
            ("1d", None),
            ("99999999999999999999999999999999h", None),
        ] {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(parse_span(text), expected, "{text}");
        }
    }
}
