//! The order of closeness, rule by rule.

use super::*;
use crate::{Failover, Workload};

fn here() -> Viewpoint {
    Viewpoint {
        cluster: "us".into(),
        network: "n2".into(),
        locality: "us-west/a/1".into(),
        labels: Labels::from([("version".into(), "v1".into())]),
        regions: vec!["us-west".into(), "us-east".into(), "eu".into()],
    }
}

fn origin(cluster: &str, network: &str, locality: &str) -> Origin {
    Origin {
        cluster: cluster.into(),
        network: network.into(),
        locality: locality.into(),
        workload: Workload::default(),
    }
}

/// Each entry is strictly farther than the one before; entries of one row are equally close.
fn assert_order(policy: &LocalityPolicy, rows: &[&[Origin]]) {
    let rank = |origin: &Origin| closeness(&here(), policy, origin, &Labels::new());
    let mut last = None;
    for row in rows {
        let ranks: Vec<_> = row.iter().map(rank).collect();
        assert!(
            ranks.windows(2).all(|pair| pair[0] == pair[1]),
            "{row:?}: {ranks:?}"
        );
        assert!(
            last < Some(ranks[0]),
            "{row:?} is not farther than what comes before"
        );
        last = Some(ranks[0]);
    }
}

#[test]
fn network_then_region_then_zone_then_subzone() {
    assert_order(
        &LocalityPolicy::default(),
        &[
            &[
                origin("us", "n2", "us-west/a/1"),
                origin("us", "", "us-west/a/1"),
            ],
            &[
                origin("us", "n2", "us-west/a/2"),
                origin("us", "n2", "us-west/a"),
            ],
            &[
                origin("us", "n2", "us-west/b/1"),
                origin("us", "n2", "us-west"),
            ],
            &[
                origin("us", "n2", "us-east/a/1"),
                origin("us", "n2", "us-east/b"),
            ],
            &[origin("us", "n2", "eu/a")],
            &[
                origin("us", "n2", "ap/a"),
                origin("us", "n2", ""),
                origin("us", "n2", "sa/b"),
            ],
            &[
                origin("x", "n3", "us-west/b"),
                origin("x", "n3", "us-west/a/1"),
            ],
            &[
                origin("x", "n3", "us-east/b"),
                origin("other", "n4", "us-east/b"),
            ],
            &[origin("x", "n3", "eu")],
            &[origin("x", "n3", "ap"), origin("x", "", "ap")],
        ],
    );
}

#[test]
fn failover_names_the_next_region() {
    let rule = |from: &str, to: &str| Failover {
        from: from.into(),
        to: to.into(),
    };
    let policy = LocalityPolicy {
        failover: vec![rule("eu", "us-east"), rule("us-west", "ap")],
        ..LocalityPolicy::default()
    };
    assert_order(
        &policy,
        &[
            &[origin("us", "n2", "us-west/b")],
            &[origin("us", "n2", "ap/b")],
            &[origin("us", "n2", "us-east/b")],
            &[origin("us", "n2", "eu/b")],
        ],
    );
}

#[test]
fn failover_priority_replaces_the_order() {
    let policy = LocalityPolicy {
        failover_priority: vec![
            "topology.kubernetes.io/region".into(),
            "topology.istio.io/network".into(),
            "version=v2".into(),
        ],
        ..LocalityPolicy::default()
    };
    let rank = |origin: &Origin, version: &str| {
        let labels = Labels::from([("version".into(), version.into())]);
        closeness(&here(), &policy, origin, &labels).0
    };
    let ranks = [
        rank(&origin("us", "n2", "us-west/b"), "v2"),
        rank(&origin("us", "", "us-west/a"), "v1"),
        rank(&origin("x", "n3", "us-west/a"), "v2"),
        rank(&origin("us", "n2", "eu/a"), "v2"),
    ];
    assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    let zones = ranks.map(|rank| Closeness(rank).is_own_region());
    assert_eq!(zones, [false; 4], "no zone of the usual order, so no spill");
}

fn by_labels(entries: &[&str]) -> LocalityPolicy {
    LocalityPolicy {
        failover_priority: entries.iter().map(|&entry| entry.into()).collect(),
        ..LocalityPolicy::default()
    }
}

/// Istio: a bare network in the first place parts the networks, then the others decide.
#[test]
fn a_network_in_first_place_comes_before_all_other_labels() {
    assert_order(
        &by_labels(&[NETWORK, "topology.kubernetes.io/region"]),
        &[
            &[origin("us", "n2", "us-west/b"), origin("us", "", "us-west")],
            &[origin("us", "n2", "eu")],
            &[origin("x", "n3", "us-west/b"), origin("x", "n4", "us-west")],
            &[origin("x", "n3", "eu")],
        ],
    );
    // With a value it is a label like any other.
    assert_order(
        &by_labels(&["topology.istio.io/network=n3", "topology.istio.io/cluster"]),
        &[
            &[origin("us", "n3", "eu")],
            &[origin("x", "n3", "us-west/a/1")],
            &[origin("us", "n2", "us-west"), origin("x", "n2", "us-west")],
        ],
    );
}

#[test]
fn no_zone_or_label_agrees_behind_a_gateway() {
    let zone = by_labels(&[
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    ]);
    assert_order(
        &zone,
        &[
            &[origin("us", "n2", "us-west/a")],
            &[
                origin("x", "n3", "us-west/a"),
                origin("us", "n2", "us-west/b"),
            ],
            &[origin("us", "n2", "eu/a"), origin("x", "n3", "eu/a")],
        ],
    );
    let absent = by_labels(&["absent"]);
    assert_order(
        &absent,
        &[
            &[origin("us", "n2", "eu")],
            &[origin("x", "n3", "us-west/a/1")],
        ],
    );
}

#[test]
fn failover_breaks_the_ties_of_failover_priority() {
    let policy = LocalityPolicy {
        failover: vec![Failover {
            from: "us-west".into(),
            to: "ap".into(),
        }],
        ..by_labels(&[NETWORK])
    };
    assert_order(
        &policy,
        &[
            &[origin("us", "n2", "us-west/a/1")],
            &[origin("us", "n2", "us-west/b")],
            &[origin("us", "n2", "ap")],
            &[origin("us", "n2", "eu")],
            &[origin("x", "n3", "us-west/a")],
            &[origin("x", "n3", "ap")],
        ],
    );
}

#[test]
fn the_services_traffic_distribution_yields_to_a_rule() {
    let policy = LocalityPolicy {
        traffic_distribution: TrafficDistribution::Any,
        ..by_labels(&["topology.kubernetes.io/region"])
    };
    assert_order(
        &policy,
        &[
            &[origin("us", "n2", "us-west/b")],
            &[origin("us", "n2", "eu")],
        ],
    );
}

#[test]
fn prefer_close_stops_at_the_zone() {
    let policy = LocalityPolicy {
        traffic_distribution: TrafficDistribution::PreferClose,
        ..LocalityPolicy::default()
    };
    assert_order(
        &policy,
        &[
            &[
                origin("us", "n2", "us-west/a/1"),
                origin("us", "n2", "us-west/a/2"),
            ],
            &[origin("us", "n2", "us-west/b")],
            &[origin("x", "n3", "us-west/a")],
        ],
    );
}

#[test]
fn prefer_same_node_goes_further_than_the_subzone() {
    let policy = LocalityPolicy {
        traffic_distribution: TrafficDistribution::PreferSameNode,
        ..LocalityPolicy::default()
    };
    let mut from = here();
    from.labels.insert(HOSTNAME.into(), "node1".into());
    let rank = |subzone: &str, node: &str| {
        let labels = Labels::from([(HOSTNAME.into(), node.into())]);
        closeness(&from, &policy, &origin("us", "n2", subzone), &labels)
    };
    let ranks = [
        rank("us-west/a/1", "node1"),
        rank("us-west/a/1", "node2"),
        rank("us-west/a/2", "node1"),
        rank("us-west/b/1", "node1"),
    ];
    assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    assert!(ranks[2].is_own_zone() && !ranks[3].is_own_zone());
    assert!(ranks[3].is_own_region());
}

#[test]
fn a_policy_can_make_all_equal() {
    let any = LocalityPolicy {
        traffic_distribution: TrafficDistribution::Any,
        ..LocalityPolicy::default()
    };
    let disabled = LocalityPolicy {
        disabled: true,
        ..LocalityPolicy::default()
    };
    for policy in [any, disabled] {
        assert_order(
            &policy,
            &[&[origin("us", "n2", "us-west/a/1"), origin("x", "n3", "ap")]],
        );
    }
}
