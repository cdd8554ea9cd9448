//! A snapshot as JSON is the whole of it: read back, it is equal.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    Assigned, Endpoint, Gateway, Health, Keepalive, Labels, LoadBalancer, LocalityPolicy, Origin,
    OutlierDetection, Policy, Port, Protocol, Subset, TlsMode, TrafficDistribution,
};

fn word() -> impl Strategy<Value = Arc<str>> {
    // Quotes, backslashes, control characters and more than ASCII: whatever an API object may bear.
    prop_oneof!["[a-z]{0,6}", "[\"\\\\\u{0}-\u{1f}ä€/.*]{1,4}"].prop_map(|text| Arc::from(&*text))
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(word(), word(), 0..3)
}

fn policy() -> impl Strategy<Value = Arc<Policy>> {
    let balancer = prop_oneof![
        Just(LoadBalancer::LeastRequest),
        Just(LoadBalancer::Random),
        Just(LoadBalancer::RoundRobin),
        Just(LoadBalancer::SourceIp),
    ];
    let millis = || prop::option::of((0_u64..1 << 40).prop_map(Duration::from_millis));
    let words = prop::collection::vec(word(), 0..3);
    let outlier = prop::option::of((any::<u32>(), 0_u32..=100));
    (
        balancer,
        words,
        outlier,
        millis(),
        millis(),
        prop::option::of(any::<u32>()),
    )
        .prop_map(
            |(
                load_balancer,
                failover_priority,
                outlier,
                warmup,
                connect_timeout,
                max_connections,
            )| {
                let of_port = Policy {
                    load_balancer,
                    ..Policy::default()
                };
                Arc::new(Policy {
                    load_balancer,
                    locality: LocalityPolicy {
                        failover_priority,
                        traffic_distribution: TrafficDistribution::PreferClose,
                        ..LocalityPolicy::default()
                    },
                    outlier_detection: outlier.map(|(consecutive_failures, min_health_percent)| {
                        OutlierDetection {
                            consecutive_failures,
                            min_health_percent,
                            ..OutlierDetection::default()
                        }
                    }),
                    warmup,
                    connect_timeout,
                    max_connections,
                    idle_timeout: warmup,
                    max_duration: connect_timeout,
                    keepalive: warmup.map(|time| Keepalive {
                        time,
                        ..Keepalive::default()
                    }),
                    ports: warmup
                        .map(|_| (80, Arc::new(of_port)))
                        .into_iter()
                        .collect(),
                })
            },
        )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let health = prop_oneof![
        Just(Health::Healthy),
        Just(Health::Degraded),
        Just(Health::Unhealthy),
        Just(Health::Terminating),
    ];
    let ports = prop::collection::btree_map(word(), any::<u16>(), 0..3);
    (
        any::<IpAddr>(),
        any::<u32>(),
        health,
        any::<bool>(),
        ports,
        labels(),
        word(),
    )
        .prop_map(
            |(address, weight, health, istio, ports, labels, locality)| Endpoint {
                address,
                weight,
                health,
                tls: if istio {
                    TlsMode::Istio
                } else {
                    TlsMode::Disabled
                },
                ports: Arc::new(ports),
                labels: Arc::new(labels),
                origin: Arc::new(Origin {
                    cluster: "us".into(),
                    network: "n".into(),
                    locality: (*locality).into(),
                    ..Origin::default()
                }),
            },
        )
}

fn service() -> impl Strategy<Value = Arc<Service>> {
    let port = (any::<u16>(), word(), any::<bool>()).prop_map(|(number, name, tcp)| Port {
        number,
        name,
        protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
    });
    let subset = (
        labels(),
        prop::option::of(policy()),
        prop::option::of(word()),
    );
    let subset = subset.prop_map(|(labels, policy, assigned)| {
        let mesh = |name| Assigned {
            mesh: Some(vec![name]),
            plain: None,
        };
        Subset {
            labels,
            policy,
            assigned: assigned.map(|name| [(80, mesh(name))].into()),
        }
    });
    let subsets = prop::collection::btree_map(word(), subset, 0..2);
    let endpoints = prop::collection::vec(endpoint(), 0..400);
    let ports = prop::collection::vec(port, 0..3);
    ("[a-z]{1,3}", ports, subsets, policy(), endpoints).prop_map(
        |(host, ports, subsets, policy, endpoints)| {
            Arc::new(Service {
                host: Hostname::parse(&host).expect("a host name"),
                ports,
                subsets,
                policy,
                endpoints: Chunked::from_items(endpoints),
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn json_gives_the_same_snapshot_back(
        version in any::<u64>(),
        services in prop::collection::vec(service(), 0..3),
        gateways in prop::collection::vec((any::<SocketAddr>(), prop::option::of(word())), 0..3),
        names in prop::collection::vec(word(), 0..3),
    ) {
        // JSON has no place for an IPv6 address's scope and flow; no source gives one.
        let gateways = gateways.into_iter().map(|(address, name)| Gateway {
            address: SocketAddr::new(address.ip(), address.port()),
            clusters: name.iter().map(|name| (&**name).into()).collect(),
            name,
        });
        let network = Network { gateways: gateways.collect() };
        let to = Destination {
            host: Hostname::parse("a").expect("a host name"),
            port: 80,
            subset: "".into(),
            weight: 3,
        };
        let snapshot = Snapshot {
            version,
            networks: Arc::new([("n".into(), network)].into()),
            services: Chunked::from_items(services),
            passthrough: Arc::new(vec![PassthroughRoute { hosts: names, port: None, to: vec![to] }]),
        };
        let text = serde_json::to_string(&snapshot).expect("it can be written");
        let read: Snapshot = serde_json::from_str(&text).expect("it can be read");
        prop_assert_eq!(read, snapshot);
    }
}
