//! What is read of a cluster, and what is refused.

use super::*;
use crate::client::samples;
use crate::proto::cluster::circuit_breakers::Thresholds;
use crate::proto::cluster::cluster::{
    CommonLbConfig, LeastRequestLbConfig, SlowStartConfig, common_lb_config,
};
use crate::proto::protobuf::{Duration as Span, UInt32Value};

fn read(given: &proto::Cluster) -> Result<(Cluster, Notes), String> {
    let mut notes = Notes::default();
    let read = Cluster::read(&given.encode_to_vec(), &mut notes);
    read.map(|(_, cluster)| (cluster, notes))
        .map_err(|(_, why)| why)
}

fn policy_of(change: impl FnOnce(&mut proto::Cluster)) -> Policy {
    let mut given = samples::cluster("outbound_.80_._.a");
    given.lb_policy = LbPolicy::LeastRequest.into();
    change(&mut given);
    read(&given).expect("it is read").0.policy
}

const fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

const fn seconds(seconds: i64) -> Option<Span> {
    Some(Span { seconds, nanos: 0 })
}

#[test]
fn endpoints_are_asked_for_by_the_name_that_the_cluster_says() {
    let mut given = samples::cluster("outbound_.80_._.a");
    let asked = |given: &proto::Cluster| read(given).expect("it is read").0.discovery;
    assert_eq!(asked(&given), Discovery::Asked("outbound_.80_._.a".into()));
    given.eds_cluster_config = Some(proto::cluster::EdsClusterConfig {
        service_name: "other".into(),
        ..Default::default()
    });
    assert_eq!(asked(&given), Discovery::Asked("other".into()));
    given.cluster_discovery_type =
        Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into()));
    assert!(matches!(asked(&given), Discovery::Nowhere(why) if why.contains("DNS")));
    given.cluster_discovery_type = None;
    given.load_assignment = Some(samples::endpoints("", &[(0, "us", 1, &[])]));
    assert!(matches!(asked(&given), Discovery::Given(of) if of.groups.len() == 1));
}

#[test]
fn istios_usual_values_are_no_wishes() {
    let usual = policy_of(|given| {
        given.connect_timeout = seconds(10);
        given.circuit_breakers = Some(proto::CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: number(u32::MAX),
                ..Thresholds::default()
            }],
            ..Default::default()
        });
    });
    assert_eq!(usual, Policy::default());
}

/// A limit of nothing would end every attempt before it began.
#[test]
fn a_connect_timeout_of_nothing_is_none() {
    for nanos in [0, 999_999] {
        let policy = policy_of(|given| {
            given.connect_timeout = Some(Span { seconds: 0, nanos });
        });
        assert_eq!(policy.connect_timeout, None, "{nanos} ns");
    }
}

#[test]
fn what_a_destination_rule_wishes_is_taken_over() {
    let policy = policy_of(|given| {
        given.connect_timeout = seconds(2);
        given.circuit_breakers = Some(proto::CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: number(7),
                ..Thresholds::default()
            }],
            ..Default::default()
        });
        given.outlier_detection = Some(proto::OutlierDetection {
            consecutive_5xx: number(3),
            consecutive_gateway_failure: number(2),
            base_ejection_time: seconds(9),
            ..Default::default()
        });
        given.common_lb_config = Some(CommonLbConfig {
            healthy_panic_threshold: Some(crate::proto::percent::Percent { value: 30.0 }),
            ..CommonLbConfig::default()
        });
        given.lb_config = Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
            slow_start_config: Some(SlowStartConfig {
                slow_start_window: seconds(40),
                ..SlowStartConfig::default()
            }),
            ..LeastRequestLbConfig::default()
        }));
    });
    assert_eq!(policy.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(policy.max_connections, Some(7));
    assert_eq!(policy.warmup, Some(Duration::from_secs(40)));
    let outlier = policy.outlier_detection.expect("outlier detection");
    // The gateway's errors are not enforced, so their number has no say.
    assert_eq!(outlier.consecutive_failures, 3);
    assert_eq!(outlier.base_ejection, Duration::from_secs(9));
    assert_eq!(outlier.min_health_percent, 30);
    let failures = |change: fn(&mut proto::OutlierDetection)| {
        let mut given = proto::OutlierDetection::default();
        change(&mut given);
        let policy = policy_of(|cluster| cluster.outlier_detection = Some(given));
        policy.outlier_detection.map(|of| of.consecutive_failures)
    };
    assert_eq!(failures(|_| {}), Some(5));
    assert_eq!(
        failures(|of| of.enforcing_consecutive_5xx = number(0)),
        Some(0)
    );
    let gateway = |of: &mut proto::OutlierDetection| {
        of.consecutive_gateway_failure = number(2);
        of.enforcing_consecutive_gateway_failure = number(100);
    };
    assert_eq!(failures(gateway), Some(2));
    let local = |of: &mut proto::OutlierDetection| {
        of.split_external_local_origin_errors = true;
        of.consecutive_local_origin_failure = number(4);
        of.consecutive_5xx = number(1);
    };
    assert_eq!(failures(local), Some(4));
}

#[test]
fn balancers_are_ours() {
    for (theirs, ours) in [
        (LbPolicy::RoundRobin, LoadBalancer::RoundRobin),
        (LbPolicy::LeastRequest, LoadBalancer::LeastRequest),
        (LbPolicy::Random, LoadBalancer::Random),
        (LbPolicy::Maglev, LoadBalancer::SourceIp),
        (LbPolicy::RingHash, LoadBalancer::SourceIp),
    ] {
        let policy = policy_of(|given| given.lb_policy = theirs.into());
        assert_eq!(policy.load_balancer, ours);
    }
    let weighted = common_lb_config::LocalityWeightedLbConfig {};
    let mut given = samples::cluster("c");
    assert!(!read(&given).expect("it is read").0.by_locality);
    given.common_lb_config = Some(CommonLbConfig {
        locality_config_specifier: Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(
            weighted,
        )),
        ..CommonLbConfig::default()
    });
    assert!(read(&given).expect("it is read").0.by_locality);
}

#[test]
fn unknown_filters_are_counted_and_unreadable_clusters_refused() {
    let mut given = samples::cluster("c");
    given.filters = vec![proto::Filter {
        name: "istio.metadata_exchange".into(),
        ..Default::default()
    }];
    let (_, notes) = read(&given).expect("it is read");
    assert_eq!(
        notes.skipped,
        [("istio.metadata_exchange".into(), 1)].into()
    );
    for name in [
        "outbound|443||*.example.com",
        "outbound_.443_._.*.foo.local",
    ] {
        assert!(read(&samples::cluster(name)).is_ok(), "{name}");
    }
    let mut kind = samples::cluster("c");
    kind.cluster_discovery_type = Some(ClusterDiscoveryType::Type(99));
    let mut balancer = samples::cluster("c");
    balancer.lb_policy = 99;
    for (given, expected) in [
        (samples::cluster(""), "no name"),
        (samples::cluster("outbound_.x_._.a"), "the port 'x'"),
        (kind, "discovery type is 99"),
        (balancer, "lb_policy is 99"),
    ] {
        let why = read(&given).expect_err(expected);
        assert!(why.contains(expected), "{why}");
    }
}
