//! Weights of endpoints where localities have weights of their own. Pure arithmetic.

use std::collections::BTreeMap;

use model::{Health, MAX_WEIGHT};

use crate::client::facts::{Endpoints, Group, Host};

/// What weights are multiplied by where localities count, so that their parts stay whole numbers.
const SCALE: u64 = 1 << 10;

/// Envoy's overprovisioning: a locality keeps all of its share while 100 of 140 of its endpoints can be used.
const OVERPROVISIONING: u64 = 140;

/// Each endpoint with the weight that gives it its share among those of its priority, at most [`MAX_WEIGHT`]. Where the cluster goes by localities, a
/// locality's share is `weight * min(1, 1.4 * usable / all)` (Envoy's `locality_weighted_lb_config`), and its usable
/// endpoints divide that by their own weights; a locality without a weight gets nothing.
pub(super) fn flat(endpoints: &Endpoints, by_locality: bool) -> Vec<(&Group, &Host, u32)> {
    // Of a locality that stands in several groups of a priority Envoy takes the sum of the endpoints; Istio sends none.
    let mut sums: BTreeMap<(u32, &model::Locality), Sum> = BTreeMap::new();
    for group in endpoints.groups.iter().filter(|_| by_locality) {
        let sum = sums.entry((group.priority, &group.locality)).or_default();
        sum.share = u64::from(group.weight.unwrap_or(0));
        for host in &group.hosts {
            sum.all += 1;
            if is_usable(host) {
                sum.usable += 1;
                sum.weight += u64::from(host.weight);
            }
        }
    }
    let mut found: Vec<(&Group, &Host, u128)> = Vec::with_capacity(endpoints.count());
    // By priority; where localities count, what cannot be used has a part of nothing.
    let mut greatest: BTreeMap<u32, u128> = BTreeMap::new();
    for group in &endpoints.groups {
        let sum = sums.get(&(group.priority, &group.locality));
        let greatest = greatest.entry(group.priority).or_default();
        for host in &group.hosts {
            let weight = match sum {
                None => Some(u128::from(host.weight)),
                Some(sum) => sum.part(host.weight),
            };
            let Some(weight) = weight else {
                continue;
            };
            if sum.is_none() || is_usable(host) {
                *greatest = weight.max(*greatest);
            }
            found.push((group, host, weight));
        }
    }
    let most = u128::from(MAX_WEIGHT);
    let found = found.into_iter().map(|(group, host, weight)| {
        let weight = match greatest.get(&group.priority) {
            Some(greatest) if *greatest > most => weight.saturating_mul(most) / greatest,
            _ => weight,
        };
        let weight = u32::try_from(weight.clamp(1, most)).unwrap_or(MAX_WEIGHT);
        (group, host, weight)
    });
    found.collect()
}

/// Whether Envoy picks it, if only in need.
fn is_usable(host: &Host) -> bool {
    matches!(host.health, Health::Healthy | Health::Degraded)
}

/// A locality of a priority.
#[derive(Clone, Copy, Default)]
struct Sum {
    share: u64,
    all: u64,
    usable: u64,
    weight: u64,
}

impl Sum {
    /// An endpoint's part of the locality's share; `None` where the locality has none.
    fn part(self, weight: u32) -> Option<u128> {
        if self.share == 0 {
            return None;
        }
        if self.usable == 0 {
            // Nothing is picked here; the endpoints count in the total.
            return Some(1);
        }
        let usable = (OVERPROVISIONING * self.usable / self.all).min(100);
        let share = u128::from(self.share) * u128::from(usable) * u128::from(SCALE) / 100;
        Some(share * u128::from(weight) / u128::from(self.weight.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use model::TlsMode;

    use super::*;

    fn group(priority: u32, zone: &str, weight: Option<u32>, hosts: &[(u32, Health)]) -> Group {
        let hosts = hosts.iter().zip(1..).map(|((weight, health), port)| Host {
            address: ([10, 0, 0, 1], port).into(),
            weight: *weight,
            health: *health,
            tls: TlsMode::Istio,
            cluster: String::new(),
            workload: model::Workload::default(),
        });
        Group {
            priority,
            locality: zone.into(),
            weight,
            hosts: hosts.collect(),
        }
    }

    fn weights(groups: Vec<Group>, by_locality: bool) -> Vec<u32> {
        let endpoints = Endpoints { groups };
        let found = flat(&endpoints, by_locality).into_iter();
        found.map(|(.., weight)| weight).collect()
    }

    #[test]
    fn without_weights_of_localities_each_has_its_own() {
        use Health::{Healthy, Unhealthy};
        let groups = vec![
            group(0, "a", Some(7), &[(1, Healthy), (3, Unhealthy)]),
            group(0, "b", None, &[(2, Healthy)]),
        ];
        assert_eq!(weights(groups, false), [1, 3, 2]);
    }

    /// The table in Envoy's documentation of locality weights: 70 % of 1 and 2 share 33:67, 69 % of 1 already less.
    #[test]
    fn a_locality_keeps_its_share_until_too_few_are_left() {
        use Health::{Healthy, Unhealthy};
        let of = |usable: usize, all: usize| {
            let mut hosts = vec![(1, Healthy); usable];
            hosts.resize(all, (1, Unhealthy));
            hosts
        };
        for (usable, all, expected) in [
            (10, 10, 333),
            (8, 10, 333),
            (7, 10, 328),
            (5, 10, 259),
            (1, 4, 148),
        ] {
            let here = of(usable, all);
            let there = of(10, 10);
            let groups = vec![
                group(0, "a", Some(1), &here),
                group(0, "b", Some(2), &there),
            ];
            let weights: Vec<u64> = weights(groups, true).into_iter().map(u64::from).collect();
            let used: u64 = weights[..usable].iter().sum();
            let rest: u64 = weights[all..].iter().sum();
            let thousandths = 1_000 * used / (used + rest);
            assert!(
                thousandths.abs_diff(expected) <= 2,
                "{usable} of {all}: {thousandths}"
            );
        }
    }

    /// No endpoint has more than [`MAX_WEIGHT`], so great ones become smaller together, in their own priority.
    #[test]
    fn great_weights_keep_their_proportion() {
        use Health::{Healthy, Unhealthy};
        let localities = vec![
            group(0, "a", Some(2_000), &[(1, Healthy)]),
            group(0, "b", Some(4_000), &[(1, Healthy)]),
            group(1, "a", Some(100), &[(1, Healthy)]),
        ];
        assert_eq!(
            weights(localities, true),
            [MAX_WEIGHT / 2, MAX_WEIGHT, 100 << 10]
        );
        let own = vec![
            group(
                0,
                "a",
                None,
                &[(u32::MAX, Healthy), (u32::MAX / 4, Healthy)],
            ),
            group(0, "b", None, &[(u32::MAX / 2, Unhealthy), (1, Healthy)]),
            group(1, "a", None, &[(7, Healthy)]),
        ];
        let quarter = MAX_WEIGHT / 4 - 1;
        assert_eq!(
            weights(own, false),
            [MAX_WEIGHT, quarter, MAX_WEIGHT / 2 - 1, 1, 7]
        );
        // What cannot be used takes nothing from the others.
        let unready = vec![
            group(0, "a", Some(1), &[(1, Healthy), (u32::MAX, Unhealthy)]),
            group(0, "b", Some(1), &[(1, Healthy)]),
        ];
        assert_eq!(weights(unready, true), [716, MAX_WEIGHT, 1 << 10]);
    }

    #[test]
    fn a_locality_without_a_weight_gets_nothing() {
        use Health::{Healthy, Unhealthy};
        let groups = vec![
            group(0, "a", None, &[(1, Healthy)]),
            group(0, "b", Some(3), &[(1, Healthy), (2, Healthy)]),
            group(1, "a", Some(1), &[(1, Unhealthy)]),
        ];
        assert_eq!(weights(groups, true), [1024, 2048, 1]);
    }
}
