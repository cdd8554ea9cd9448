//! The real balancer, compiled from real snapshots: Envoy's vectors by sampled picks, and the rules that are ours.

mod assigned;
mod history;
mod networks;
mod quick;
mod recent;
mod reuse;
mod selection;
mod vectors;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use model::{
    Chunked, Endpoint, EndpointKey, Gateway, Health, Hostname, LoadBalancer, Network, Origin,
    Policy, Port, PortMap, Protocol, Service, Snapshot, TlsMode, Viewpoint,
};

use super::*;
use crate::clock::{Clock, Millis};
use crate::close::Reason;
use crate::config::{Config, Listener, Role};
use crate::control::{Control, Event};
use crate::table::{Route, Tables};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NOW: Millis = Millis(1_000);

/// A control with both mesh views, at us-west/a of network n2.
struct Bench {
    control: Control,
    tables: Arc<Tables>,
    version: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with_regions(&[])
    }

    /// The same, with an order of regions.
    fn with_regions(regions: &[&str]) -> Self {
        let listener = |role| Listener::new(SocketAddr::new(SOURCE, 0), role);
        let config = Config {
            listeners: [Role::Inbound, Role::Outbound].map(listener).into(),
            viewpoint: Viewpoint {
                cluster: "us".into(),
                network: "n2".into(),
                locality: "us-west/a".into(),
                regions: regions.iter().map(|region| (*region).into()).collect(),
                ..Viewpoint::default()
            },
            ..Config::default()
        };
        let own = vec![SocketAddr::new(
            IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)),
            15443,
        )];
        let (control, tables) = Control::new(&config, own, Clock::start());
        Self {
            control,
            tables,
            version: 0,
        }
    }

    fn apply(&mut self, service: Service, networks: &[(&str, Vec<Gateway>)]) -> Arc<Route> {
        self.version += 1;
        let networks: BTreeMap<_, _> = networks
            .iter()
            .map(|(id, gateways)| {
                (
                    (*id).into(),
                    Network {
                        gateways: gateways.clone(),
                    },
                )
            })
            .collect();
        let snapshot = Snapshot {
            version: self.version,
            networks: Arc::new(networks),
            services: Chunked::from_items(vec![Arc::new(service)]),
            passthrough: Arc::default(),
        };
        self.control.apply(&Arc::new(snapshot), NOW);
        self.route(Role::Outbound)
    }

    fn route(&self, role: Role) -> Arc<Route> {
        let table = self.tables.load();
        table
            .find(role, 0, "outbound_.80_._.s")
            .expect("a route")
            .clone()
    }
}

fn endpoint(n: u32, locality: &str, health: Health) -> Endpoint {
    Endpoint {
        address: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)),
        weight: 1,
        health,
        tls: TlsMode::Istio,
        ports: Arc::new(PortMap::from([("http".into(), 80)])),
        labels: Arc::default(),
        origin: Arc::new(Origin {
            cluster: "us".into(),
            network: "n2".into(),
            locality: locality.into(),
            ..Origin::default()
        }),
    }
}

fn away(n: u32, cluster: &str, network: &str, locality: &str, health: Health) -> Endpoint {
    let origin = Origin {
        cluster: cluster.into(),
        network: network.into(),
        locality: locality.into(),
        ..Origin::default()
    };
    Endpoint {
        origin: Arc::new(origin),
        ..endpoint(n, locality, health)
    }
}

fn service(endpoints: Vec<Endpoint>, policy: Policy) -> Service {
    Service {
        host: Hostname::parse("s").expect("a host name"),
        ports: vec![Port {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::new(policy),
        endpoints: Chunked::from_items(endpoints),
    }
}

fn random() -> Policy {
    Policy {
        load_balancer: LoadBalancer::Random,
        ..Policy::default()
    }
}

/// Percent of so many first picks, by what `key` says of them.
fn shares<K: std::hash::Hash + Eq>(
    route: &Arc<Route>,
    picks: u32,
    key: impl Fn(&Choice) -> K,
) -> HashMap<K, f64> {
    fastrand::seed(7);
    let mut counts = HashMap::new();
    for _ in 0..picks {
        if let Ok(choice) = route.pick(SOURCE, NOW, &Tried::default()) {
            *counts.entry(key(&choice)).or_insert(0.0) += 100.0 / f64::from(picks);
        }
    }
    counts
}

/// Design section 6.2: with panic off, what is not ready is never picked.
#[test]
fn nothing_ready_is_no_endpoint() {
    let sick = vec![
        endpoint(1, "us-west/a", Health::Unhealthy),
        endpoint(2, "us-west/a", Health::Terminating),
    ];
    let route = Bench::new().apply(service(sick, Policy::default()), &[]);
    assert_eq!(
        route.pick(SOURCE, NOW, &Tried::default()).err(),
        Some(Reason::NoEndpoint)
    );
}

#[test]
fn weights_are_shares() {
    for load_balancer in [LoadBalancer::Random, LoadBalancer::RoundRobin] {
        let mut endpoints: Vec<_> = (1..=4)
            .map(|n| endpoint(n, "us-west/a", Health::Healthy))
            .collect();
        for (endpoint, weight) in endpoints.iter_mut().zip([1, 2, 3, 4]) {
            endpoint.weight = weight;
        }
        let route = Bench::new().apply(
            service(
                endpoints,
                Policy {
                    load_balancer,
                    ..Policy::default()
                },
            ),
            &[],
        );
        let shares = shares(&route, 60_000, |choice| choice.address());
        for (address, share) in shares {
            let SocketAddr::V4(v4) = address else {
                panic!("{address}")
            };
            let expected = f64::from(v4.ip().octets()[3]) * 10.0;
            assert!(
                (share - expected).abs() < 1.0,
                "{load_balancer:?} {address}: {share}"
            );
        }
    }
}

/// Held connections go to the less loaded of two different hosts: with two hosts they alternate exactly.
#[test]
fn the_less_loaded_of_two_different_hosts_is_taken() {
    let both = vec![
        endpoint(1, "us-west/a", Health::Healthy),
        endpoint(2, "us-west/a", Health::Healthy),
    ];
    let route = Bench::new().apply(service(both, Policy::default()), &[]);
    let held: Vec<_> = (0..1_000)
        .map(|_| route.pick(SOURCE, NOW, &Tried::default()).expect("a host"))
        .collect();
    let first = held
        .iter()
        .filter(|choice| choice.address() == held[0].address())
        .count();
    assert_eq!(first, 500, "a host was drawn against itself");
    drop(held);
    assert_eq!(route.open(), 0);
}

#[test]
fn a_client_keeps_its_endpoint() {
    let endpoints = (1..=20)
        .map(|n| endpoint(n, "us-west/a", Health::Healthy))
        .collect();
    let policy = Policy {
        load_balancer: LoadBalancer::SourceIp,
        ..Policy::default()
    };
    let route = Bench::new().apply(service(endpoints, policy), &[]);
    let mut used = HashSet::new();
    for n in 0..500_u32 {
        let source = IpAddr::V4(Ipv4Addr::from(n));
        let picks: HashSet<_> = (0..5)
            .map(|_| {
                route
                    .pick(source, NOW, &Tried::default())
                    .expect("a host")
                    .address()
            })
            .collect();
        assert_eq!(picks.len(), 1);
        used.extend(picks);
    }
    assert_eq!(used.len(), 20, "some endpoint is nobody's");
}

#[test]
fn open_connections_and_ejections_outlive_a_snapshot() {
    let mut bench = Bench::new();
    let two = || {
        vec![
            endpoint(1, "us-west/a", Health::Healthy),
            endpoint(2, "us-west/a", Health::Healthy),
        ]
    };
    let route = bench.apply(service(two(), Policy::default()), &[]);
    let held: Vec<_> = (0..10)
        .map(|_| route.pick(SOURCE, NOW, &Tried::default()).expect("a host"))
        .collect();
    let victim = held[0].address();
    for _ in 0..3 {
        held[0].dial_failed(&route, NOW);
    }
    let mut three = two();
    three.push(endpoint(3, "us-west/b", Health::Healthy));
    let after = bench.apply(service(three, Policy::default()), &[]);
    assert!(Arc::ptr_eq(&route, &after));
    let next = after.pick(SOURCE, NOW, &Tried::default()).expect("a host");
    assert_ne!(next.address(), victim, "it is still ejected");
    let open = |choice: &Choice| bench.control.host(choice.host.key()).open();
    let mut counts: Vec<u32> = held.iter().chain([&next]).map(open).collect();
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts, [1, 5], "the counts are still there, and no others");
}

/// An ejection moves the share; one that would leave nothing anywhere is ignored; one tells the other routes too.
#[test]
fn ejections_are_ignored_when_they_would_leave_nothing() {
    let mut bench = Bench::new();
    let all = vec![
        endpoint(1, "us-west/a", Health::Healthy),
        endpoint(2, "us-east/a", Health::Healthy),
    ];
    let route = bench.apply(service(all, Policy::default()), &[]);
    let eject = |bench: &mut Bench, address: &str| {
        let choice = (0..1_000)
            .filter_map(|_| route.pick(SOURCE, NOW, &Tried::default()).ok())
            .find(|choice| choice.address().to_string() == address);
        let choice = choice.expect("it is picked");
        (0..3).for_each(|_| choice.dial_failed(&route, NOW));
        bench.control.on_event(Event::Dirty(route.clone()), NOW);
    };
    eject(&mut bench, "10.0.0.1:80");
    let to = |expected: &str| {
        shares(&route, 1_000, |choice| choice.address().to_string())
            .get(expected)
            .copied()
            .unwrap_or(0.0)
    };
    assert!(to("10.0.0.2:80") > 99.9);
    eject(&mut bench, "10.0.0.2:80");
    assert!(to("10.0.0.1:80") > 99.9, "both are out, so neither is");
}

/// A route that is not compiled anew yet sees the same: all its hosts were ejected through another route.
#[test]
fn another_routes_ejections_leave_something_too() {
    let mut bench = Bench::new();
    let all = (1..=3).map(|n| endpoint(n, "us-west/a", Health::Healthy));
    let outbound = bench.apply(service(all.collect(), Policy::default()), &[]);
    let inbound = bench.route(Role::Inbound);
    let mut tried = Tried::default();
    for _ in 0..3 {
        let choice = outbound.pick(SOURCE, NOW, &tried).expect("a host");
        tried.add(&choice);
        (0..3).for_each(|_| choice.dial_failed(&outbound, NOW));
    }
    for _ in 0..100 {
        let mut tried = Tried::default();
        for _ in 0..3 {
            let choice = inbound
                .pick(SOURCE, NOW, &tried)
                .expect("one that failed is better than none");
            tried.add(&choice);
        }
        assert!(
            inbound.pick(SOURCE, NOW, &tried).is_err(),
            "none is tried twice"
        );
    }
}

#[test]
fn retries_never_repeat_and_leave_a_tier_after_three() {
    let mut endpoints: Vec<_> = (1..=20)
        .map(|n| endpoint(n, "us-west/a", Health::Healthy))
        .collect();
    endpoints.push(endpoint(99, "us-east/a", Health::Healthy));
    let route = Bench::new().apply(service(endpoints, Policy::default()), &[]);
    for _ in 0..200 {
        let mut tried = Tried::default();
        let mut tiers = Vec::new();
        let mut seen = HashSet::new();
        while let Ok(choice) = route.pick(SOURCE, NOW, &tried) {
            assert!(seen.insert(choice.address()), "tried twice");
            tiers.push(choice.tier);
            tried.add(&choice);
        }
        assert_eq!(tiers, [0, 0, 0, 1, 0, 0, 0, 0]);
    }
}

#[test]
fn a_zone_is_preferred_until_it_hurts() {
    let all = vec![
        endpoint(1, "us-west/a", Health::Healthy),
        endpoint(2, "us-west/b", Health::Healthy),
        endpoint(3, "us-east/a", Health::Healthy),
    ];
    let route = Bench::new().apply(service(all, Policy::default()), &[]);
    let mut held = Vec::new();
    let mut open = [0_u32; 3];
    for _ in 0..300 {
        let choice = route.pick(SOURCE, NOW, &Tried::default()).expect("a host");
        open[usize::from(choice.tier)] += 1;
        held.push(choice);
    }
    assert_eq!(open[2], 0, "never across regions");
    assert!(
        open[1] > 90 && open[0] >= 2 * open[1] && open[0] <= 2 * open[1] + 6,
        "{open:?}"
    );
}

#[test]
fn other_networks_count_by_their_ready_endpoints() {
    let gateway = |last: u8, clusters: &[&str]| Gateway {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)), 15443),
        name: None,
        clusters: clusters.iter().map(|id| (*id).into()).collect(),
    };
    let mut endpoints: Vec<_> = (0..6)
        .map(|n| {
            away(
                100 + n,
                "eu",
                "n3",
                if n < 3 { "eu/a" } else { "eu/b" },
                Health::Healthy,
            )
        })
        .collect();
    endpoints.push(away(120, "eu", "n3", "eu/b", Health::Unhealthy));
    endpoints.extend((0..3).map(|n| away(200 + n, "ap", "n4", "ap/a", Health::Healthy)));
    endpoints.push(away(250, "lost", "n5", "sa/a", Health::Healthy));
    let networks = [
        ("n3", vec![gateway(1, &["eu"]), gateway(2, &["eu"])]),
        ("n4", vec![gateway(3, &[])]),
    ];
    let mut bench = Bench::new();
    let route = bench.apply(service(endpoints, random()), &networks);
    let shares = shares(&route, 60_000, |choice| choice.address().ip().to_string());
    for (address, expected) in [
        ("203.0.113.1", 100.0 / 3.0),
        ("203.0.113.2", 100.0 / 3.0),
        ("203.0.113.3", 100.0 / 3.0),
    ] {
        assert!((shares[address] - expected).abs() < 1.0, "{shares:?}");
    }
    assert_eq!(route.balancer().unused().no_gateway, 1);
    let inbound = bench.route(Role::Inbound);
    assert_eq!(
        inbound.pick(SOURCE, NOW, &Tried::default()).err(),
        Some(Reason::NoEndpoint)
    );
}

#[test]
fn some_addresses_are_never_dialled() {
    let at = |address: &str| Endpoint {
        address: address.parse().expect("an address"),
        ..endpoint(1, "us-west/a", Health::Healthy)
    };
    let mut own = at("10.9.9.9");
    own.ports = Arc::new(PortMap::from([("http".into(), 15443)]));
    let endpoints = [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.1.1",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
    ]
    .map(at);
    let mut endpoints = Vec::from(endpoints);
    endpoints.push(own);
    let count = u32::try_from(endpoints.len()).expect("few");
    let route = Bench::new().apply(service(endpoints, Policy::default()), &[]);
    assert_eq!(route.balancer().unused().forbidden, count);
    assert!(route.pick(SOURCE, NOW, &Tried::default()).is_err());
}

#[test]
fn a_service_can_be_limited() {
    let policy = Policy {
        max_connections: Some(2),
        ..Policy::default()
    };
    let route = Bench::new().apply(
        service(vec![endpoint(1, "us-west/a", Health::Healthy)], policy),
        &[],
    );
    assert_eq!([route.enter(), route.enter()], [Ok(()), Ok(())]);
    assert_eq!(route.enter(), Err(Reason::Overloaded));
    (0..3).for_each(|_| route.leave());
    assert_eq!((route.enter(), route.open()), (Ok(()), 1));
}
