//! Fixed shares by locality: Istio's `distribute`. A pure rule.

use crate::{Locality, LocalityPolicy, Viewpoint};

/// Which entry of the rule's `to` an endpoint's locality falls under, and that entry's percent; `None` when no rule is for
/// us (or locality is disabled), and then closeness decides. The most specific `from` that matches our own locality is the rule, the most specific
/// `to` that matches the endpoint's gives the percent; a locality that no `to` names gets 0 (Istio's
/// `localityLbSetting.distribute`).
#[must_use]
pub fn distribute_share(
    from: &Viewpoint,
    policy: &LocalityPolicy,
    locality: &Locality,
) -> Option<(u16, u32)> {
    if policy.disabled {
        return None;
    }
    // Backwards, because of equals the last one wins, and the first is meant.
    let rules = policy.distribute.iter().rev();
    let (_, rule) = rules
        .filter_map(|rule| Some((specificity(&rule.from, &from.locality)?, rule)))
        .max_by_key(|(specificity, _)| *specificity)?;
    let best = (0..)
        .zip(&rule.to)
        .filter_map(|(at, (pattern, percent))| {
            Some((specificity(pattern, locality)?, at, *percent))
        })
        .max_by_key(|(specificity, ..)| *specificity);
    Some(best.map_or((u16::MAX, 0), |(_, at, percent)| (at, percent)))
}

/// How many parts of the pattern match exactly; `None` if it does not match. A part that is `*`, or left out, matches
/// anything, and the parts behind it still count (Istio's `util.LocalityMatch`).
fn specificity(pattern: &str, locality: &Locality) -> Option<usize> {
    let parts = [&locality.region, &locality.zone, &locality.subzone];
    let mut exact = 0;
    for (wanted, part) in pattern.splitn(3, '/').zip(parts) {
        match wanted {
            "*" | "" => {}
            _ if *wanted == **part => exact += 1,
            _ => return None,
        }
    }
    Some(exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Distribute;

    #[test]
    fn the_most_specific_patterns_decide() {
        let rule = |from: &str, to: &[(&str, u32)]| Distribute {
            from: from.into(),
            to: to
                .iter()
                .map(|(pattern, percent)| ((*pattern).into(), *percent))
                .collect(),
        };
        let policy = LocalityPolicy {
            distribute: vec![
                rule("*", &[("*", 100)]),
                rule("us/*", &[("us/a/*", 80), ("us/*", 15), ("eu", 5)]),
            ],
            ..LocalityPolicy::default()
        };
        let at = |locality: &str| Viewpoint {
            locality: locality.into(),
            ..Viewpoint::default()
        };
        for (from, to, percent) in [
            ("us/a", "us/a/1", Some(80)),
            ("us/b/x", "us/b", Some(15)),
            ("us/a", "eu/b", Some(5)),
            ("us/a", "ap/b", Some(0)),
            ("ap/a", "us/a", Some(100)),
        ] {
            assert_eq!(
                distribute_share(&at(from), &policy, &to.into()).map(|(_, percent)| percent),
                percent,
                "{from} to {to}"
            );
        }
        assert_eq!(
            distribute_share(&at("us"), &LocalityPolicy::default(), &"us".into()),
            None
        );
    }

    #[test]
    fn patterns_match_part_by_part() {
        for (pattern, locality, expected) in [
            ("*", "us-west/a/1", Some(0)),
            ("*", "", Some(0)),
            ("us-west", "us-west/a", Some(1)),
            ("us-west/*", "us-west", Some(1)),
            ("us-west/*", "us-west2/a", None),
            ("us-west/a/*", "us-west/b/1", None),
            ("us-west/a/1", "us-west/a", None),
            ("*/a", "us-west/b", None),
            ("us-west/*/1", "us-west/b/1", Some(2)),
            ("us-west/*/1", "us-west/b/2", None),
        ] {
            let found = specificity(pattern, &locality.into());
            assert_eq!(found, expected, "{pattern} on {locality}");
        }
    }

    #[test]
    fn of_equal_rules_the_first_holds_and_none_where_locality_is_disabled() {
        let rule = |percent| Distribute {
            from: "us/*".into(),
            to: [("us/*".into(), percent)].into(),
        };
        let mut policy = LocalityPolicy {
            distribute: vec![rule(80), rule(20)],
            ..LocalityPolicy::default()
        };
        let from = Viewpoint {
            locality: "us/a".into(),
            ..Viewpoint::default()
        };
        let share = |policy: &LocalityPolicy| distribute_share(&from, policy, &"us/b".into());
        assert_eq!(share(&policy), Some((0, 80)));
        policy.disabled = true;
        assert_eq!(share(&policy), None);
    }
}
