//! One truth: what the xDS server tells a client is what the outbound listener would do where that client stands. Any snapshot
//! and policy, two of them one after the other, so that what is kept from the first is tried too.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::{
    Chunked, Distribute, Endpoint, Failover, Gateway, Health, LoadBalancer, LocalityPolicy,
    Network, NetworkId, Policy, Service, Snapshot, TrafficDistribution, Viewpoint,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use prost::Message;
use proxy::balance::{Readiness, TierView};
use proxy::clock::Clock;
use proxy::config::{Config, Listener, Role};
use proxy::control::Control;
use proxy::table::Tables;
use tests::{Place, endpoint, hello_service};
use xds::proto::core::address::Address;
use xds::proto::core::socket_address::PortSpecifier;
use xds::proto::discovery::DiscoveryResponse;
use xds::proto::endpoint::lb_endpoint::HostIdentifier;
use xds::proto::endpoint::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use xds::resource::{Flavour, Kind, MeshTls};
use xds::view::{Dead, Settings, View, ViewKey};

const NAME: &str = "outbound_.5000_._.hello.default.svc.cluster.local";
const NETWORKS: [&str; 3] = ["n1", "n2", "n3"];
const LOCALITIES: [&str; 6] = ["us/a", "us/a/r1", "us/b", "eu/a", "eu/b", "ap/a"];

/// Weights are told as whole numbers, exactly, and read back as floating point.
const EQUAL: f64 = 1e-9;

/// A tier: who is in it, in which state, with which part of the weight and of the tier's traffic.
type Seen = BTreeMap<SocketAddr, Standing>;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Standing {
    ready: Readiness,
    weight: f64,
    /// Percent of all traffic.
    share: f64,
}

#[derive(Clone, Debug)]
struct Drawn {
    network: Index,
    locality: Index,
    second_cluster: bool,
    health: Health,
    weight: u32,
}

#[derive(Clone, Debug)]
struct Case {
    from: &'static str,
    regions: Vec<&'static str>,
    policy: Policy,
    healthy: bool,
    /// Of both snapshots.
    endpoints: [Vec<Drawn>; 2],
    /// By network: each with the one cluster that it serves, or all.
    gateways: [Vec<Vec<Option<bool>>>; 2],
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
        2 => of(|policy| {
            let to = [("us/a/*", 50), ("us/*", 20), ("*", 30)];
            policy.distribute = vec![Distribute {
                from: "*".into(),
                to: to.map(|(pattern, percent)| (pattern.into(), percent)).into(),
            }];
        }),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let balancer = select(vec![
        LoadBalancer::LeastRequest,
        LoadBalancer::Random,
        LoadBalancer::RoundRobin,
    ]);
    let endpoints = || prop::collection::vec(drawn(), 0..14);
    let serves = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let gateways =
        || prop::collection::vec(prop::collection::vec(serves.clone(), 0..4), NETWORKS.len());
    (
        select(LOCALITIES.to_vec()),
        select(vec![vec![], vec!["eu"], vec!["ap", "eu", "us"]]),
        (locality_policy(), balancer),
        any::<bool>(),
        [endpoints(), endpoints()],
        [gateways(), gateways()],
    )
        .prop_map(
            |(from, regions, (locality, load_balancer), healthy, endpoints, gateways)| Case {
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
            },
        )
}

impl Case {
    /// A gateway stands once in Envoy's and once in ours; where `distribute` tears what is behind it apart, Envoy cannot be told
    /// so. There each network is in one place.
    fn locality(&self, drawn: &Drawn, network: usize) -> &'static str {
        match (network, self.policy.locality.distribute.is_empty()) {
            (1, false) => "eu/a",
            (2, false) => "ap/a",
            _ => {
                let drawn: &&str = drawn.locality.get(&LOCALITIES);
                drawn
            }
        }
    }

    fn service(&self, which: usize) -> Service {
        let endpoints = (1..).zip(&self.endpoints[which]).map(|(n, drawn)| {
            let network = drawn.network.index(NETWORKS.len());
            let address = SocketAddr::new(Ipv4Addr::from(0x0a00_0000_u32 + n).into(), 80);
            let at = Place {
                cluster: cluster(network, drawn.second_cluster),
                network: NETWORKS[network],
                locality: self.locality(drawn, network),
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

    fn snapshot(&self, which: usize) -> Arc<Snapshot> {
        let networks = self.gateways[which]
            .iter()
            .enumerate()
            .map(|(network, all)| {
                let gateways = (1..).zip(all).map(|(n, serves)| {
                    let ip = Ipv4Addr::new(192, 0, u8::try_from(network).expect("a few"), n);
                    Gateway {
                        address: SocketAddr::new(ip.into(), 15443),
                        name: None,
                        clusters: serves
                            .map(|second| cluster(network, second).into())
                            .into_iter()
                            .collect(),
                    }
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

    fn viewpoint(&self) -> Viewpoint {
        Viewpoint {
            cluster: cluster(0, false).into(),
            network: NETWORKS[0].into(),
            locality: self.from.into(),
            regions: self.regions.iter().map(|region| (*region).into()).collect(),
            ..Viewpoint::default()
        }
    }
}

/// Each network has two clusters.
fn cluster(network: usize, second: bool) -> &'static str {
    [
        ["c1", "c1-second"],
        ["c2", "c2-second"],
        ["c3", "c3-second"],
    ][network][usize::from(second)]
}

/// The outbound listener, and the views of an Envoy and a gRPC client, all in one place.
struct Three {
    clock: Clock,
    control: Control,
    tables: Arc<Tables>,
    settings: Settings,
    envoy: View,
    grpc: View,
}

impl Three {
    fn new(own: Viewpoint) -> Self {
        let clock = Clock::start();
        let config = Config {
            listeners: vec![Listener::new(
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
                Role::Outbound,
            )],
            viewpoint: own.clone(),
            ..Config::default()
        };
        let (control, tables) = Control::new(&config, Vec::new(), clock);
        let key = |flavour| ViewKey {
            flavour,
            cluster: own.cluster.clone(),
            network: own.network.clone(),
            locality: own.locality.clone(),
        };
        let settings = Settings {
            own: own.clone(),
            mesh_tls: MeshTls::Off,
            connect_timeout: Duration::from_secs(3),
            allow_loopback: false,
        };
        let [envoy, grpc] =
            [Flavour::Envoy, Flavour::Grpc].map(|flavour| View::new(&key(flavour), &settings));
        Self {
            clock,
            control,
            tables,
            settings,
            envoy,
            grpc,
        }
    }

    fn apply(&mut self, snapshot: &Arc<Snapshot>) {
        self.control.apply(snapshot, self.clock.now());
        for view in [&mut self.envoy, &mut self.grpc] {
            view.update(&self.settings, snapshot, &Dead::default());
        }
    }

    fn listener(&self) -> Vec<TierView> {
        let table = self.tables.load();
        let route = table.find(Role::Outbound, 0, NAME).expect("a route");
        route.balancer().view(self.clock.now()).tiers
    }
}

/// What the listener does. A gateway with healthy and degraded endpoints behind it stands there twice; Envoy, which has no words
/// for that, is told the better half.
fn of_listener(tier: &TierView) -> Seen {
    let mut seen = Seen::new();
    for at in &tier.addresses {
        let standing = Standing {
            ready: at.ready,
            weight: at.weight,
            share: at.share,
        };
        let known = seen.entry(at.address).or_insert(standing);
        if rank(standing.ready) < rank(known.ready) {
            *known = standing;
        }
    }
    seen
}

fn rank(ready: Readiness) -> u8 {
    match ready {
        Readiness::Healthy => 0,
        Readiness::Degraded => 1,
        Readiness::Out => 2,
    }
}

/// Localities by priority.
type Told = BTreeMap<u32, Vec<LocalityLbEndpoints>>;

fn told(view: &View) -> Told {
    let [resource] = view.shelves().of(Kind::Endpoints).items() else {
        panic!("one assignment");
    };
    let response = DiscoveryResponse::decode(resource.any()).expect("a response");
    let assignment = ClusterLoadAssignment::decode(&*response.resources[0].value);
    let assignment = assignment.expect("an assignment");
    let mut told = Told::new();
    for locality in assignment.endpoints {
        told.entry(locality.priority).or_default().push(locality);
    }
    told
}

fn address(host: &LbEndpoint) -> SocketAddr {
    let Some(HostIdentifier::Endpoint(endpoint)) = &host.host_identifier else {
        panic!("no address");
    };
    let address = endpoint
        .address
        .as_ref()
        .and_then(|address| address.address.as_ref());
    let Some(Address::SocketAddress(socket)) = address else {
        panic!("no address");
    };
    let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else {
        panic!("no port");
    };
    let ip: IpAddr = socket.address.parse().expect("an address");
    SocketAddr::new(ip, u16::try_from(port).expect("a port"))
}

fn number(of: &Option<xds::proto::protobuf::UInt32Value>) -> f64 {
    of.as_ref().expect("a weight").value.into()
}

/// A priority as Envoy uses it while all hosts are healthy: of a tier with `distribute` a locality gets its weight's part and
/// each host its part of that; of another tier each host gets its part of all weights.
fn by_envoy(localities: &[LocalityLbEndpoints], distributes: bool) -> Seen {
    let hosts = localities
        .iter()
        .flat_map(|locality| &locality.lb_endpoints);
    let all: f64 = hosts.map(|host| number(&host.load_balancing_weight)).sum();
    let of_localities: f64 = localities
        .iter()
        .map(|l| number(&l.load_balancing_weight))
        .sum();
    let mut seen = Seen::new();
    for locality in localities {
        let hosts = &locality.lb_endpoints;
        let in_it: f64 = hosts
            .iter()
            .map(|host| number(&host.load_balancing_weight))
            .sum();
        for host in hosts {
            let weight = number(&host.load_balancing_weight);
            let share = match distributes {
                true => number(&locality.load_balancing_weight) / of_localities * weight / in_it,
                false => weight / all,
            };
            let standing = Standing {
                ready: match host.health_status {
                    1 => Readiness::Healthy,
                    5 => Readiness::Degraded,
                    _ => Readiness::Out,
                },
                weight,
                share: 100.0 * share,
            };
            assert!(
                seen.insert(address(host), standing).is_none(),
                "an address stands twice"
            );
        }
    }
    seen
}

/// A priority as gRPC uses it: a locality gets its weight's part, and its hosts get equal parts of that.
fn by_grpc(localities: &[LocalityLbEndpoints]) -> Seen {
    let all: f64 = localities
        .iter()
        .map(|l| number(&l.load_balancing_weight))
        .sum();
    let mut seen = Seen::new();
    for locality in localities {
        for host in &locality.lb_endpoints {
            let count = f64::from(u32::try_from(locality.lb_endpoints.len()).expect("a few"));
            let part = number(&locality.load_balancing_weight) / count;
            let standing = Standing {
                ready: Readiness::Healthy,
                weight: part,
                share: 100.0 * part / all,
            };
            assert!(
                seen.insert(address(host), standing).is_none(),
                "an address stands twice"
            );
        }
    }
    seen
}

/// The parts that these have of the weight of all of them.
fn parts(seen: &Seen) -> BTreeMap<SocketAddr, f64> {
    let all: f64 = seen.values().map(|standing| standing.weight).sum();
    seen.iter()
        .map(|(address, standing)| (*address, standing.weight / all))
        .collect()
}

fn same(ours: &BTreeMap<SocketAddr, f64>, theirs: &BTreeMap<SocketAddr, f64>, within: f64) -> bool {
    ours.keys().eq(theirs.keys())
        && ours
            .iter()
            .all(|(address, part)| (part - theirs[address]).abs() <= within)
}

fn only(seen: &Seen, wanted: impl Fn(&SocketAddr, &Standing) -> bool) -> Seen {
    let wanted = seen
        .iter()
        .filter(|(address, standing)| wanted(address, standing));
    wanted
        .map(|(address, standing)| (*address, *standing))
        .collect()
}

fn shares(seen: &Seen) -> BTreeMap<SocketAddr, f64> {
    seen.iter()
        .map(|(address, standing)| (*address, standing.share))
        .collect()
}

fn is_gateway(address: &SocketAddr) -> bool {
    address.port() == 15443
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn clients_are_told_what_the_outbound_listener_does(case in case()) {
        let mut three = Three::new(case.viewpoint());
        let distributes = !case.policy.locality.distribute.is_empty();
        for which in 0..2 {
            three.apply(&case.snapshot(which));
            let tiers: Vec<Seen> = three.listener().iter().map(of_listener).collect();

            let envoy = told(&three.envoy);
            prop_assert_eq!(envoy.len(), tiers.len(), "{:?}", &envoy);
            for ((at, tier), (priority, localities)) in (0..).zip(&tiers).zip(&envoy) {
                prop_assert_eq!(at, *priority);
                let told = by_envoy(localities, distributes);
                for ready in [Readiness::Healthy, Readiness::Degraded] {
                    let [ours, theirs] = [tier, &told].map(|seen| parts(&only(seen, |_, it| it.ready == ready)));
                    prop_assert!(same(&ours, &theirs, EQUAL), "{priority} {ready:?}: {ours:?} {theirs:?}");
                }
                let out = |address: &SocketAddr, it: &Standing| it.ready == Readiness::Out && !is_gateway(address);
                let [ours, theirs] = [tier, &told].map(|seen| only(seen, out).into_keys().collect::<Vec<_>>());
                prop_assert_eq!(ours, theirs, "not ready, only counted");
                if case.healthy && at == 0 {
                    // All of it goes there, and to each what the listener would give it.
                    let (ours, theirs) = (shares(tier), shares(&told));
                    prop_assert!(same(&ours, &theirs, 1e-6), "{ours:?} {theirs:?}");
                }
            }

            // gRPC hears of those that it can dial, in the same order; of degraded ones only where nothing is healthy.
            let reachable: Vec<Seen> = tiers.iter().filter_map(|tier| {
                let own = only(tier, |address, it| !is_gateway(address) && it.ready != Readiness::Out);
                let best = own.values().map(|it| rank(it.ready)).min()?;
                Some(only(&own, |_, it| rank(it.ready) == best))
            }).collect();
            let grpc = told(&three.grpc);
            prop_assert_eq!(grpc.len(), reachable.len(), "{:?}", &grpc);
            for ((at, tier), (priority, localities)) in (0..).zip(&reachable).zip(&grpc) {
                prop_assert_eq!(at, *priority);
                let told = by_grpc(localities);
                if distributes {
                    // A rule's percent is of all that it names; where that is partly behind gateways, gRPC gives the rest all of it.
                    let alone = !tiers.iter().any(|tier| tier.keys().any(is_gateway));
                    if case.healthy && alone {
                        // Shares are told as whole numbers of 65,536 a percent.
                        prop_assert!(same(&shares(tier), &shares(&told), 1e-2), "{tier:?} {told:?}");
                    }
                } else {
                    prop_assert!(same(&parts(tier), &parts(&told), EQUAL), "{tier:?} {told:?}");
                }
            }
        }
    }
}
