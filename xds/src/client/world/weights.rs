//! Weights of endpoints where localities have weights of their own. Pure arithmetic.

use std::collections::BTreeMap;

use model::Health;

use crate::client::facts::{Endpoints, Group, Host};

/// What weights are multiplied by where localities count, so that their parts stay whole numbers.
const SCALE: u64 = 1 << 10;

/// Envoy's overprovisioning: a locality keeps all of its share while 100 of 140 of its endpoints can be used.
const OVERPROVISIONING: u64 = 140;

/// Each endpoint with the weight that gives it its share among those of its priority. Where the cluster goes by localities, a
/// locality's share is `weight * min(1, 1.4 * usable / all)` (Envoy's `locality_weighted_lb_config`), and its usable
/// endpoints divide that by their own weights; a locality without a weight gets nothing.
pub(super) fn flat(
    endpoints: &Endpoints,
    by_locality: bool,
) -> impl Iterator<Item = (&Group, &Host, u32)> {
    // Of a locality that stands in several groups of a priority Envoy takes the sum of the endpoints; Istio sends none.
    let mut sums: BTreeMap<(u32, &model::Locality), Sum> = BTreeMap::new();
    for group in endpoints.groups.iter().filter(|_| by_locality) {
        let sum = sums.entry((group.priority, &group.locality)).or_default();
        sum.share = u64::from(group.weight.unwrap_or(0));
        for host in &group.hosts {
            sum.all += 1;
            if matches!(host.health, Health::Healthy | Health::Degraded) {
                sum.usable += 1;
                sum.weight += u64::from(host.weight);
            }
        }
    }
    endpoints.groups.iter().flat_map(move |group| {
        let sum = sums.get(&(group.priority, &group.locality)).copied();
        let hosts = group.hosts.iter();
        hosts.filter_map(move |host| {
            let weight = match sum {
                None => host.weight,
                Some(sum) => sum.part(host.weight)?,
            };
            Some((group, host, weight))
        })
    })
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
    fn part(self, weight: u32) -> Option<u32> {
        if self.share == 0 {
            return None;
        }
        if self.usable == 0 {
            // Nothing is picked here; the endpoints count in the total.
            return Some(1);
        }
        let usable = (OVERPROVISIONING * self.usable / self.all).min(100);
        let share = u128::from(self.share) * u128::from(usable) * u128::from(SCALE) / 100;
        let part = share * u128::from(weight) / u128::from(self.weight.max(1));
        Some(u32::try_from(part).unwrap_or(u32::MAX).max(1))
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
        flat(&endpoints, by_locality)
            .map(|(.., weight)| weight)
            .collect()
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
