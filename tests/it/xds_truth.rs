//! One truth: what the xDS server tells a client is what the outbound listener would do where that client stands. Any snapshot
//! and policy, two of them one after the other, so that what is kept from the first is tried too.

mod case;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::{EndpointKey, Snapshot, Viewpoint};
use proptest::prelude::*;
use prost::Message;
use proxy::balance::{Readiness, TierView};
use proxy::clock::{Clock, Millis};
use proxy::config::{Config, Listener, Role};
use proxy::control::{Control, ProbeState};
use proxy::probe::Outcome;
use proxy::table::Tables;
use xds::proto::core::address::Address;
use xds::proto::core::socket_address::PortSpecifier;
use xds::proto::discovery::DiscoveryResponse;
use xds::proto::endpoint::lb_endpoint::HostIdentifier;
use xds::proto::endpoint::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use xds::resource::{Flavour, Kind, MeshTls, SecretSource};
use xds::view::{Dead, Settings, View, ViewKey};

use self::case::case;

const NAME: &str = "outbound_.5000_._.hello.default.svc.cluster.local";

/// Longer than a gateway that is back takes to its full share, and than deaths that count as one take.
const LATER: Duration = Duration::from_secs(60);

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

/// The outbound listener, and the views of an Envoy and a gRPC client, all in one place.
struct Three {
    now: Millis,
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
            mesh_tls: MeshTls::Secrets {
                certificate: "default".into(),
                ca: "ROOTCA".into(),
                source: SecretSource::Bootstrap,
            },
            connect_timeout: Duration::from_secs(3),
            allow_loopback: false,
        };
        let [envoy, grpc] =
            [Flavour::Envoy, Flavour::Grpc].map(|flavour| View::new(&key(flavour), &settings));
        Self {
            now: clock.now(),
            control,
            tables,
            settings,
            envoy,
            grpc,
        }
    }

    fn apply(&mut self, snapshot: &Arc<Snapshot>, dead: &BTreeSet<SocketAddr>) {
        self.control.apply(snapshot, self.now);
        let asked: Vec<SocketAddr> = {
            let gateways = self.control.progress().gateways.lock();
            gateways.keys().copied().collect()
        };
        for address in asked {
            // As many answers as any verdict needs. One gateway after the other: where all die together the listener blames itself.
            let outcome = match dead.contains(&address) {
                true => Outcome::Refused,
                false => Outcome::Alive,
            };
            for _ in 0..4 {
                let key = EndpointKey(address);
                self.control.on_probe(key, outcome, self.now, self.now);
            }
            self.now = self.now.after(LATER);
        }
        self.control.recompile_stale(self.now);
        self.now = self.now.after(LATER);
        let dead = self.dead();
        for view in [&mut self.envoy, &mut self.grpc] {
            view.update(&self.settings, snapshot, &dead);
        }
    }

    /// As the gateway tells the xDS server.
    fn dead(&self) -> Dead {
        let gateways = self.control.progress().gateways.lock();
        let dead = gateways
            .iter()
            .filter(|(_, gateway)| gateway.state == ProbeState::Dead);
        Arc::new(dead.map(|(address, _)| *address).collect())
    }

    fn listener(&self) -> Vec<TierView> {
        let table = self.tables.load();
        let route = table.find(Role::Outbound, 0, NAME).expect("a route");
        route.balancer().view(self.now).tiers
    }
}

/// What the listener does. A gateway with healthy and degraded endpoints behind it stands there twice; Envoy, which has no words
/// for that, is told the better half. Under several rules of `distribute` it stands there once for each, and has what all give.
fn of_listener(tier: &TierView) -> Seen {
    let mut seen = Seen::new();
    for at in &tier.addresses {
        let standing = Standing {
            ready: at.ready,
            weight: at.weight,
            share: at.share,
        };
        match seen.entry(at.address) {
            Entry::Vacant(place) => drop(place.insert(standing)),
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if known.ready == standing.ready {
                    known.weight += standing.weight;
                    known.share += standing.share;
                } else if rank(standing.ready) < rank(known.ready) {
                    *known = standing;
                }
            }
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
        let distributes = case.is_distributed();
        for which in 0..2 {
            three.apply(&case.snapshot(which), &case.dead(which));
            let tiers: Vec<Seen> = three.listener().iter().map(of_listener).collect();
            let dead = three.dead();

            let envoy = told(&three.envoy);
            prop_assert_eq!(envoy.len(), tiers.len(), "{:?}", &envoy);
            for ((at, tier), (priority, localities)) in tiers.iter().enumerate().zip(&envoy) {
                prop_assert_eq!(u32::try_from(at).ok(), Some(*priority));
                let told = by_envoy(localities, distributes);
                // Weights are told for whoever competes: in a tier without `distribute` all, else whoever one rule names. What
                // several rules give a gateway is told as shares, which are compared below.
                let competing: Vec<Seen> = match distributes {
                    false => vec![told.clone()],
                    true => localities.iter().map(|locality| by_envoy(std::slice::from_ref(locality), true)).collect(),
                };
                for ready in [Readiness::Healthy, Readiness::Degraded] {
                    let all = [tier, &told].map(|seen| only(seen, |_, it| it.ready == ready).into_keys().collect::<Vec<_>>());
                    prop_assert_eq!(&all[0], &all[1], "{} {:?}", priority, ready);
                    let one_rule = !distributes || !told.keys().any(is_gateway);
                    for theirs in competing.iter().filter(|_| one_rule) {
                        let theirs = only(theirs, |_, it| it.ready == ready);
                        let ours = parts(&only(tier, |address, _| theirs.contains_key(address)));
                        let theirs = parts(&theirs);
                        prop_assert!(same(&ours, &theirs, EQUAL), "{priority} {ready:?}: {ours:?} {theirs:?}");
                    }
                }
                let out = |address: &SocketAddr, it: &Standing| it.ready == Readiness::Out && !is_gateway(address);
                let [ours, theirs] = [tier, &told].map(|seen| only(seen, out).into_keys().collect::<Vec<_>>());
                prop_assert_eq!(ours, theirs, "not ready, only counted");
                let picked = only(&told, |_, it| it.ready != Readiness::Out);
                let lives = |(address, it): (&SocketAddr, &Standing)| it.ready != Readiness::Out && !dead.contains(address);
                if tiers.iter().flatten().any(lives) {
                    prop_assert!(picked.keys().all(|address| !dead.contains(address)), "{picked:?} {dead:?}");
                }
                let all_are_in = tier.values().all(|it| it.ready == Readiness::Healthy);
                if case.healthy && at == 0 && all_are_in {
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
