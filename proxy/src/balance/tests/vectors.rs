//! Envoy 1.40's shares, as measured, against sampled picks through the compiled balancer, within 1 %.

use model::{Distribute, Join, LocalityPolicy, OutlierDetection};

use super::*;
use crate::host::Hosts;
use crate::own::Own;

/// Healthy, degraded and all endpoints.
type Counts = (u32, u32, u32);

/// (row, tiers, overprovisioning, panic threshold, percent for the healthy of each tier, for the degraded, whether in panic)
type Row<'a> = (
    u32,
    &'a [Counts],
    u32,
    u32,
    &'a [u32],
    &'a [u32],
    &'a [bool],
);

const Y: bool = true;
const N: bool = false;

#[rustfmt::skip]
const PRIORITIES: [Row<'_>; 28] = [
    (1, &[(8, 0, 10), (10, 0, 10)], 140, 50, &[100, 0], &[0, 0], &[N, N]),
    (2, &[(72, 0, 100), (100, 0, 100)], 140, 50, &[100, 0], &[0, 0], &[N, N]),
    (3, &[(71, 0, 100), (100, 0, 100)], 140, 50, &[99, 1], &[0, 0], &[N, N]),
    (4, &[(7, 0, 10), (10, 0, 10)], 140, 50, &[98, 2], &[0, 0], &[N, N]),
    (5, &[(5, 0, 10), (10, 0, 10)], 140, 50, &[70, 30], &[0, 0], &[N, N]),
    (6, &[(1, 0, 4), (4, 0, 4)], 140, 50, &[35, 65], &[0, 0], &[N, N]),
    (7, &[(0, 0, 4), (4, 0, 4)], 140, 50, &[0, 100], &[0, 0], &[N, N]),
    (8, &[(5, 0, 10), (6, 0, 10)], 140, 50, &[70, 30], &[0, 0], &[N, N]),
    (9, &[(1, 0, 4), (1, 0, 4)], 140, 50, &[50, 50], &[0, 0], &[Y, Y]),
    (10, &[(1, 0, 4), (1, 0, 4), (4, 0, 4)], 140, 50, &[35, 35, 30], &[0; 3], &[N; 3]),
    (11, &[(25, 0, 100), (25, 0, 100), (20, 0, 100)], 140, 50, &[34, 33, 33], &[0; 3], &[Y; 3]),
    (12, &[(25, 0, 100), (25, 0, 100), (20, 0, 100)], 140, 0, &[37, 35, 28], &[0; 3], &[N; 3]),
    (13, &[(1, 0, 20), (13, 0, 20)], 140, 50, &[8, 92], &[0, 0], &[Y, N]),
    (14, &[(25, 0, 100), (40, 0, 100)], 140, 30, &[39, 61], &[0, 0], &[Y, N]),
    (15, &[(0, 0, 4), (0, 0, 4)], 140, 50, &[50, 50], &[0, 0], &[Y, Y]),
    (16, &[(0, 0, 4), (0, 0, 2)], 140, 50, &[67, 33], &[0, 0], &[Y, Y]),
    (17, &[(1, 0, 4), (0, 0, 12)], 140, 50, &[25, 75], &[0, 0], &[Y, Y]),
    (18, &[(0, 0, 4), (0, 0, 4)], 140, 0, &[0, 0], &[0, 0], &[N, N]),
    (19, &[(71, 29, 100)], 140, 50, &[99], &[1], &[N]),
    (20, &[(25, 65, 100)], 140, 50, &[35], &[65], &[N]),
    (21, &[(5, 0, 100)], 140, 50, &[100], &[0], &[Y]),
    (22, &[(0, 5, 10), (10, 0, 10)], 140, 50, &[0, 100], &[0, 0], &[N, N]),
    (23, &[(2, 3, 10), (10, 0, 10)], 140, 50, &[28, 72], &[0, 0], &[N, N]),
    (24, &[(1, 2, 10), (2, 1, 10), (1, 0, 10)], 140, 50, &[34, 33, 33], &[0; 3], &[Y; 3]),
    (25, &[(0, 0, 0), (5, 0, 5)], 140, 50, &[0, 100], &[0, 0], &[N, N]),
    (26, &[(1, 0, 3), (1, 0, 3), (1, 0, 3)], 140, 50, &[46, 46, 8], &[0; 3], &[N; 3]),
    (27, &[(5, 0, 10), (10, 0, 10)], 100, 50, &[50, 50], &[0, 0], &[N, N]),
    (28, &[(5, 0, 10), (10, 0, 10)], 200, 50, &[100, 0], &[0, 0], &[N, N]),
];

/// Row 10 and row 26 stand with a threshold under which Envoy was not in panic: all loads together reached 100 there.
#[test]
fn tiers_get_envoys_shares() {
    for row in PRIORITIES {
        let (number, tiers, overprovisioning, threshold, healthy, degraded, panic) = row;
        let localities = ["us-west/a", "us-west/b", "us-east"];
        let endpoints = tiers.iter().zip(localities).zip(0..);
        let endpoints =
            endpoints.flat_map(|((counts, locality), tier)| some(*counts, locality, tier));
        let policy = Policy {
            outlier_detection: Some(OutlierDetection {
                min_health_percent: threshold,
                ..OutlierDetection::default()
            }),
            ..random()
        };
        let endpoints: Vec<_> = endpoints.collect();
        let route = route(&endpoints, policy, overprovisioning);
        let health: HashMap<_, _> = endpoints.iter().map(|e| (e.address, e.health)).collect();
        let picked = shares(&route, 40_000, |choice| {
            let health = health[&choice.address().ip()] as u8;
            (choice.origin.locality.to_string(), health)
        });
        for (tier, locality) in localities.iter().enumerate().take(tiers.len()) {
            let (up, tired, all) = tiers[tier];
            let counts = [up, tired, all - up - tired];
            let expected = if panic[tier] {
                counts.map(|count| f64::from(healthy[tier] * count) / f64::from(all))
            } else {
                [f64::from(healthy[tier]), f64::from(degraded[tier]), 0.0]
            };
            for (class, expected) in [Health::Healthy, Health::Degraded, Health::Unhealthy]
                .into_iter()
                .zip(expected)
            {
                let key = (String::from(*locality), class as u8);
                let got = picked.get(&key).copied().unwrap_or(0.0);
                let close = (got - expected).abs() < 1.0 && (expected > 0.0 || got == 0.0);
                assert!(
                    close,
                    "row {number}: {locality} {class:?} got {got}, not {expected}"
                );
            }
        }
    }
}

/// Weight, healthy and all endpoints of a locality.
type Locality = (u32, u32, u32);

/// The localities of each row, and the percent that each is to get.
const LOCALITIES: [(&[Locality], &[f64]); 8] = [
    (&[(1, 10, 10), (2, 10, 10)], &[33.3, 66.7]),
    (&[(1, 7, 10), (2, 10, 10)], &[32.9, 67.1]),
    (&[(1, 5, 10), (2, 10, 10)], &[25.9, 74.1]),
    (&[(1, 1, 4), (2, 4, 4)], &[14.9, 85.1]),
    (&[(1, 0, 4), (2, 4, 4)], &[0.0, 100.0]),
    (&[(80, 2, 4), (20, 4, 4)], &[73.7, 26.3]),
    (&[(80, 1, 4), (20, 4, 4)], &[58.3, 41.7]),
    (&[(1, 1, 2), (1, 1, 2), (2, 4, 4)], &[20.6, 20.6, 58.8]),
];

/// `distribute` gives fixed shares; a locality that it does not name gets nothing.
#[test]
fn localities_get_envoys_shares() {
    for (row, expected) in LOCALITIES {
        let names = ["us-west/a", "us-west/b", "us-west/c"];
        let mut endpoints = some((4, 0, 4), "us-east/a", 9);
        let mut to = BTreeMap::new();
        for (((weight, healthy, all), name), tier) in row.iter().zip(names).zip(0..) {
            to.insert(format!("{name}/*").into(), *weight);
            endpoints.extend(some((*healthy, 0, *all), name, tier));
        }
        let from = "us-west/*".into();
        let policy = Policy {
            locality: LocalityPolicy {
                distribute: vec![Distribute { from, to }],
                ..LocalityPolicy::default()
            },
            ..random()
        };
        let route = route(&endpoints, policy, OVERPROVISIONING);
        let picked = shares(&route, 60_000, |choice| choice.origin.locality.to_string());
        assert_eq!(picked.get("us-east/a"), None, "{row:?}");
        for (name, expected) in names.iter().zip(expected) {
            let got = picked.get(*name).copied().unwrap_or(0.0);
            assert!((got - expected).abs() < 1.0, "{row:?}: {name} got {got}");
        }
    }
}

/// Envoy has a schedule for the degraded endpoints of its own: they are shared by how many of them a locality has, not by
/// what else is ready there.
#[test]
fn degraded_endpoints_have_shares_of_their_own() {
    let to = [("us-west/a/*", 50), ("us-west/b/*", 50)];
    let to = to.map(|(pattern, percent)| (pattern.into(), percent));
    let policy = Policy {
        locality: LocalityPolicy {
            distribute: vec![Distribute {
                from: "us-west/*".into(),
                to: to.into_iter().collect(),
            }],
            ..LocalityPolicy::default()
        },
        ..random()
    };
    // Healthy: 2 of 20, 140 * 2 / 20 = 14 percent. Degraded: 10 of 20; by locality min(100, 140 * 8 / 10) to 140 * 2 / 10.
    let mut endpoints = some((1, 8, 10), "us-west/a", 0);
    endpoints.extend(some((1, 2, 10), "us-west/b", 1));
    let route = route(&endpoints, policy, OVERPROVISIONING);
    let health: HashMap<_, _> = endpoints.iter().map(|e| (e.address, e.health)).collect();
    let picked = shares(&route, 60_000, |choice| {
        let health = health[&choice.address().ip()];
        (health == Health::Degraded).then(|| choice.origin.locality.to_string())
    });
    let [a, b] = ["us-west/a", "us-west/b"].map(|name| picked[&Some(name.into())]);
    assert!((a / (a + b) * 128.0 - 100.0).abs() < 1.5, "{picked:?}");
}

fn some((healthy, degraded, all): Counts, locality: &str, block: u32) -> Vec<Endpoint> {
    let health = |n| match n {
        n if n < healthy => Health::Healthy,
        n if n < healthy + degraded => Health::Degraded,
        _ => Health::Unhealthy,
    };
    (0..all)
        .map(|n| endpoint(block * 1_000 + n + 1, locality, health(n)))
        .collect()
}

/// A route compiled as the control task compiles it, but with an overprovisioning of its own.
fn route(endpoints: &[Endpoint], policy: Policy, overprovisioning: u32) -> Arc<Route> {
    let mut bench = Bench::new();
    let route = bench.apply(service(endpoints.to_vec(), policy.clone()), &[]);
    let policy = Arc::new(policy);
    let viewpoint = Viewpoint {
        cluster: "us".into(),
        network: "n2".into(),
        locality: "us-west/a".into(),
        ..Viewpoint::default()
    };
    let mut compiler = Compiler {
        viewpoint: &viewpoint,
        hosts: &mut Hosts::new(),
        own: &Own::default(),
        allow_loopback: false,
        ignore_ejections: false,
        warm: false,
        now: NOW,
    };
    let selection = Selection {
        role: Role::Outbound,
        join: Join {
            port_names: ["http".into()].into(),
            labels: BTreeMap::new(),
            policy: policy.clone(),
            assigned: false,
        },
    };
    let parts = Arc::new(compiler.chunk(endpoints, &selection));
    let setting = Setting {
        networks: &BTreeMap::new(),
        policy: &policy,
        zone_spill: true,
        overprovisioning,
    };
    let (balancer, _) = assemble(&[parts], &setting, &mut compiler, &mut Assembly::default());
    route.publish(balancer);
    route
}
