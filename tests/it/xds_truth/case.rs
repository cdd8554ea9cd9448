//! Snapshots and policies that are drawn, and which gateways are dead. It must not compare anything.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use model::{
    Chunked, Distribute, Endpoint, Failover, Gateway, Health, LoadBalancer, LocalityPolicy,
    Network, NetworkId, Policy, Service, Snapshot, TrafficDistribution, Viewpoint,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tests::{Place, endpoint, hello_service};

const NETWORKS: [&str; 3] = ["n1", "n2", "n3"];
const LOCALITIES: [&str; 6] = ["us/a", "us/a/r1", "us/b", "eu/a", "eu/b", "ap/a"];

/// Gateways of a network, at most.
const GATEWAYS: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Drawn {
    network: Index,
    locality: Index,
    second_cluster: bool,
    health: Health,
    weight: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    from: &'static str,
    regions: Vec<&'static str>,
    pub(super) policy: Policy,
    pub(super) healthy: bool,
    /// Of both snapshots.
    endpoints: [Vec<Drawn>; 2],
    /// By network: each with the one cluster that it serves, or all.
    gateways: [Vec<Vec<Option<bool>>>; 2],
    /// By network: which of them probes find dead.
    dead: [Vec<Vec<bool>>; 2],
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let health = prop_oneof![
        5 => Just(Health::Healthy),
        1 => Just(Health::Degraded),
        2 => Just(Health::Unhealthy),
        1 => Just(Health::Terminating),
    ];
    let place = (any::<Index>(), any::<Index>(), any::<bool>());
    (place, health, 1_u32..6).prop_map(|((network, locality, second_cluster), health, weight)| {
        Drawn {
            network,
            locality,
            second_cluster,
            health,
            weight,
        }
    })
}

fn locality_policy() -> impl Strategy<Value = LocalityPolicy> {
    let of = |change: fn(&mut LocalityPolicy)| {
        let mut policy = LocalityPolicy::default();
        change(&mut policy);
        Just(policy)
    };
    prop_oneof![
        4 => of(|_| ()),
        1 => of(|policy| policy.disabled = true),
        1 => of(|policy| policy.traffic_distribution = TrafficDistribution::Any),
        1 => of(|policy| policy.traffic_distribution = TrafficDistribution::PreferClose),
        1 => of(|policy| policy.failover = vec![Failover { from: "us".into(), to: "ap".into() }]),
        1 => of(|policy| {
            policy.failover_priority = vec!["topology.kubernetes.io/region".into()];
        }),
        1 => of(|policy| {
            policy.failover_priority =
                vec!["topology.istio.io/network".into(), "topology.kubernetes.io/zone".into()];
        }),
        4 => distributes(),
    ]
}

/// Rules for where the client is and for elsewhere; the percents of each make a hundred. Each names every place, the rest by `*`:
/// whoever is not named gets nothing, so Envoy is not even told of him.
fn distributes() -> impl Strategy<Value = LocalityPolicy> {
    const TO: [&str; 5] = ["us/a/*", "us/b/*", "us/*", "eu/*", "ap/*"];
    let from = select(vec!["*", "us/*", "us/a/*", "eu/*"]);
    let to = prop::sample::subsequence(TO.to_vec(), 0..=TO.len());
    let rule = (from, to, prop::collection::vec(1_u32..10, TO.len() + 1));
    prop::collection::vec(rule, 1..3).prop_map(|rules| {
        let rule = |(from, mut to, mut parts): (&str, Vec<&str>, Vec<u32>)| {
            to.push("*");
            parts.truncate(to.len());
            let all: u32 = parts.iter().sum();
            let mut percents: Vec<u32> = parts.iter().map(|part| part * 100 / all).collect();
            percents[0] += 100 - percents.iter().sum::<u32>();
            Distribute {
                from: from.into(),
                to: to.into_iter().map(Into::into).zip(percents).collect(),
            }
        };
        LocalityPolicy {
            distribute: rules.into_iter().map(rule).collect(),
            ..LocalityPolicy::default()
        }
    })
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let balancer = select(vec![
        LoadBalancer::LeastRequest,
        LoadBalancer::Random,
        LoadBalancer::RoundRobin,
    ]);
    let endpoints = || prop::collection::vec(drawn(), 0..14);
    let serves = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let gateways = || {
        prop::collection::vec(
            prop::collection::vec(serves.clone(), 0..GATEWAYS),
            NETWORKS.len(),
        )
    };
    let dead = || {
        let network = prop::collection::vec(prop::bool::weighted(0.3), GATEWAYS);
        prop::collection::vec(network, NETWORKS.len())
    };
    (
        select(LOCALITIES.to_vec()),
        select(vec![vec![], vec!["eu"], vec!["ap", "eu", "us"]]),
        (locality_policy(), balancer),
        any::<bool>(),
        [endpoints(), endpoints()],
        [gateways(), gateways()],
        prop_oneof![1 => Just(None), 2 => [dead(), dead()].prop_map(Some)],
    )
        .prop_map(
            |(from, regions, (locality, load_balancer), healthy, endpoints, gateways, dead)| Case {
                from,
                regions,
                policy: Policy {
                    locality,
                    load_balancer,
                    ..Policy::default()
                },
                healthy,
                endpoints,
                gateways,
                dead: dead.unwrap_or_default(),
            },
        )
}

impl Case {
    fn service(&self, which: usize) -> Service {
        let endpoints = (1..).zip(&self.endpoints[which]).map(|(n, drawn)| {
            let network = drawn.network.index(NETWORKS.len());
            let address = SocketAddr::new(Ipv4Addr::from(0x0a00_0000_u32 + n).into(), 80);
            let locality: &&str = drawn.locality.get(&LOCALITIES);
            let at = Place {
                cluster: cluster(network, drawn.second_cluster),
                network: NETWORKS[network],
                locality,
            };
            Endpoint {
                health: if self.healthy {
                    Health::Healthy
                } else {
                    drawn.health
                },
                weight: drawn.weight,
                ..endpoint(address, at)
            }
        });
        Service {
            policy: Arc::new(self.policy.clone()),
            ..hello_service(endpoints.collect())
        }
    }

    pub(super) fn snapshot(&self, which: usize) -> Arc<Snapshot> {
        let networks = self.gateways[which]
            .iter()
            .enumerate()
            .map(|(network, all)| {
                let gateways = all.iter().enumerate().map(|(n, serves)| Gateway {
                    address: gateway(network, n),
                    name: None,
                    clusters: serves
                        .map(|second| cluster(network, second).into())
                        .into_iter()
                        .collect(),
                });
                (
                    NetworkId::from(NETWORKS[network]),
                    Network {
                        gateways: gateways.collect(),
                    },
                )
            });
        Arc::new(Snapshot {
            version: u64::try_from(which).expect("a few") + 1,
            networks: Arc::new(networks.collect()),
            services: Chunked::from_items(vec![Arc::new(self.service(which))]),
            passthrough: Arc::default(),
        })
    }

    /// Whether a rule of `distribute` holds where the client is.
    pub(super) fn is_distributed(&self) -> bool {
        let here = format!("{}/", self.from);
        let rules = self.policy.locality.distribute.iter();
        let mut from = rules.map(|rule| rule.from.trim_end_matches('*'));
        from.any(|prefix| here.starts_with(prefix))
    }

    /// What probes find dead, if anybody asks there.
    pub(super) fn dead(&self, which: usize) -> BTreeSet<SocketAddr> {
        let networks = self.dead[which].iter().enumerate();
        let all = networks.flat_map(|(network, all)| {
            let dead = all.iter().enumerate().filter(|(_, is)| **is);
            dead.map(move |(n, _)| gateway(network, n))
        });
        all.collect()
    }

    pub(super) fn viewpoint(&self) -> Viewpoint {
        Viewpoint {
            cluster: cluster(0, false).into(),
            network: NETWORKS[0].into(),
            locality: self.from.into(),
            regions: self.regions.iter().map(|region| (*region).into()).collect(),
            ..Viewpoint::default()
        }
    }
}

fn gateway(network: usize, n: usize) -> SocketAddr {
    let [network, n] = [network, n].map(|number| u8::try_from(number).expect("a few"));
    SocketAddr::new(Ipv4Addr::new(192, 0, network, n).into(), 15443)
}

/// Each network has two clusters.
fn cluster(network: usize, second: bool) -> &'static str {
    [
        ["c1", "c1-second"],
        ["c2", "c2-second"],
        ["c3", "c3-second"],
    ][network][usize::from(second)]
}
