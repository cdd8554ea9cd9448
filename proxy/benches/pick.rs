//! What a pick costs, and what one endpoint's change among 50,000 costs, snapshot and table together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use model::{
    Chunked, Endpoint, Health, Hostname, Origin, Policy, Port, PortMap, Protocol, Service,
    Snapshot, TlsMode,
};
use proxy::balance::{Recent, Tried};
use proxy::clock::{Clock, Millis};
use proxy::config::{Config, Listener, Role};
use proxy::control::Control;
use proxy::table::{Route, Tables};

/// Choices that are held before all are given back: few enough to stay in the cache, and enough that the clock costs nothing.
const KEPT: usize = 256;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn control() -> (Control, Arc<Tables>) {
    let config = Config {
        listeners: vec![Listener::new(SocketAddr::new(SOURCE, 0), Role::Inbound)],
        ..Config::default()
    };
    Control::new(&config, Vec::new(), Clock::start())
}

fn snapshot(count: u32) -> Snapshot {
    let ports = Arc::new(PortMap::from([("http".into(), 80)]));
    let origin = Arc::new(Origin::default());
    let endpoint = |n| Endpoint {
        address: IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + n)),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: ports.clone(),
        labels: Arc::default(),
        origin: origin.clone(),
    };
    let service = Service {
        host: Hostname::parse("s").expect("a host name"),
        ports: vec![Port {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::new(Policy::default()),
        endpoints: Chunked::from_items((0..count).map(endpoint).collect()),
    };
    Snapshot {
        version: 1,
        services: Chunked::from_items(vec![Arc::new(service)]),
        ..Snapshot::default()
    }
}

fn route(tables: &Tables) -> Arc<Route> {
    let table = tables.load();
    let found = table.find(Role::Inbound, 0, "outbound_.80_._.s");
    found.expect("a route").clone()
}

fn pick(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick");
    for count in [10, 1_000, 10_000, 100_000] {
        let (mut control, tables) = control();
        control.apply(&Arc::new(snapshot(count)), Millis(1));
        let route = route(&tables);
        // As a worker picks.
        let mut recent = Recent::default();
        group.bench_function(count.to_string(), |b| {
            // Giving a choice back is part of a connection's close, and is not counted.
            let mut kept = Vec::with_capacity(KEPT);
            b.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    let now = left.min(KEPT as u64);
                    let start = Instant::now();
                    for _ in 0..now {
                        let (balancer, rng) = recent.of(&route);
                        let tried = Tried::default();
                        kept.push(route.pick_from(balancer, rng, SOURCE, Millis(1), &tried));
                    }
                    took += start.elapsed();
                    kept.clear();
                    left -= now;
                }
                took
            });
        });
    }
}

fn change(c: &mut Criterion) {
    let (mut control, _tables) = control();
    let now = RefCell::new(snapshot(50_000));
    control.apply(&Arc::new(now.borrow().clone()), Millis(1));
    let host = Hostname::parse("s").expect("a host name");
    c.bench_function("one of 50,000 changes", |b| {
        b.iter_batched(
            || {
                let service = now.borrow().service(&host).expect("the service").clone();
                let mut endpoint = service.endpoints.iter().nth(25_000).expect("one").clone();
                endpoint.health = match endpoint.health {
                    Health::Healthy => Health::Unhealthy,
                    _ => Health::Healthy,
                };
                (service, endpoint)
            },
            |(service, endpoint)| {
                let endpoints = service.endpoints.with(endpoint);
                let service = Service {
                    endpoints,
                    ..Service::clone(&service)
                };
                let next = now.borrow().with_service(Arc::new(service));
                control.apply(&Arc::new(next.clone()), Millis(1));
                now.replace(next);
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, pick, change);
criterion_main!(benches);
