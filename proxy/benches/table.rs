//! What finding a route costs, and what building the table from a snapshot does: `cargo bench -p proxy --bench table`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::{
    Chunked, Endpoint, Health, Hostname, Origin, Port, PortMap, Protocol, Service, Snapshot,
    TlsMode,
};
use proxy::clock::{Clock, Millis};
use proxy::config::{Config, Listener, Role};
use proxy::control::Control;
use proxy::table::Tables;

/// Services of the table that routes are looked up in.
const NAMES: u32 = 10_000;

criterion_group!(benches, lookup, build);
criterion_main!(benches);

fn lookup(criterion: &mut Criterion) {
    let (mut control, tables) = control();
    control.apply(&Arc::new(snapshot(NAMES, 1)), Millis(1));
    let table = tables.load();
    let mut group = criterion.benchmark_group("route");
    for (what, name, found) in [
        (
            "found",
            "outbound_.80_._.s7000.default.svc.cluster.local",
            true,
        ),
        (
            "unknown service",
            "outbound_.80_._.s.default.svc.cluster.local",
            false,
        ),
        ("no mesh name", "s7000.default.svc.cluster.local", false),
    ] {
        assert_eq!(table.find(Role::Inbound, 0, name).is_ok(), found, "{what}");
        group.bench_function(what, |bencher| {
            bencher.iter(|| table.find(Role::Inbound, 0, black_box(name)).is_ok());
        });
    }
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.sample_size(10);
    for (services, endpoints) in [(NAMES, 1), (100, 1_000), (1, 100_000)] {
        let snapshot = Arc::new(snapshot(services, endpoints));
        group.throughput(Throughput::Elements(u64::from(services * endpoints)));
        group.bench_function(format!("{services} services x {endpoints}"), |bencher| {
            bencher.iter_batched(
                control,
                |(mut control, tables)| {
                    control.apply(&snapshot, Millis(1));
                    (control, tables)
                },
                BatchSize::PerIteration,
            );
        });
    }
}

fn control() -> (Control, Arc<Tables>) {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let config = Config {
        listeners: vec![Listener::new(address, Role::Inbound)],
        ..Config::default()
    };
    Control::new(&config, Vec::new(), Clock::start())
}

fn snapshot(services: u32, endpoints: u32) -> Snapshot {
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
    let service = |n: u32| {
        let host = format!("s{n}.default.svc.cluster.local");
        let range = n * endpoints..(n + 1) * endpoints;
        Arc::new(Service {
            host: Hostname::parse(&host).expect("a host name"),
            ports: vec![Port {
                number: 80,
                name: "http".into(),
                protocol: Protocol::Tcp,
            }],
            subsets: BTreeMap::new(),
            policy: Arc::default(),
            endpoints: Chunked::from_items(range.map(endpoint).collect()),
        })
    };
    Snapshot {
        version: 1,
        services: Chunked::from_items((0..services).map(service).collect()),
        ..Snapshot::default()
    }
}
