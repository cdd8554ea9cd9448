//! What a change of an EndpointSlice costs until it is in the snapshot, and what deriving a snapshot from everything does:
//! `cargo bench -p discovery --bench derive`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use discovery::kubernetes::facts::{Change, Fact, Kind};
use discovery::kubernetes::meaning::{Me, Mtls, Rules, World};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DynamicObject;
use model::ClusterId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Endpoints of a slice, at most (Kubernetes' `--max-endpoints-per-slice`).
const SLICE: usize = 100;

criterion_group!(benches, change, everything);
criterion_main!(benches);

/// One of 50,000 endpoints of one service changes.
fn change(criterion: &mut Criterion) {
    let own = ClusterId::from("us");
    let mut world = world(1, 50_000);
    world.publish().expect("a snapshot");
    let bytes = [true, false].map(|ready| slice(0, 250, SLICE, ready).to_string());
    let mut group = criterion.benchmark_group("one of 50,000 changes");
    group.bench_function("decode its slice", |bencher| {
        bencher.iter(|| read(black_box(&bytes[0])));
    });
    let mut turn = 0;
    group.bench_function("apply and publish", |bencher| {
        bencher.iter_batched(
            || {
                turn += 1;
                Change::Put(read(&bytes[turn % 2]))
            },
            |change| {
                world.apply(&own, change);
                world.publish().expect("it differs")
            },
            BatchSize::PerIteration,
        );
    });
}

/// Everything is derived at once, as after a start.
fn everything(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("derive");
    group.sample_size(10);
    for (services, endpoints) in [(10_000, 1), (100, 1_000), (1, 100_000)] {
        group.throughput(Throughput::Elements((services * endpoints) as u64));
        group.bench_function(format!("{services} services x {endpoints}"), |bencher| {
            bencher.iter_batched(
                || world(services, endpoints),
                |mut world| {
                    world.publish().expect("a snapshot");
                    world
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// Our own cluster with so many services, all exposed, with so many endpoints each; nothing is derived yet.
fn world(services: usize, endpoints: usize) -> World {
    let own = ClusterId::from("us");
    let me = Me {
        cluster: own.clone(),
        network: "network1".into(),
        labels: [("istio".into(), "eastwestgateway".into())].into(),
        namespace: "istio-system".into(),
        node: "node-1".into(),
    };
    let rules = Rules {
        mtls: Mtls::All,
        ..Rules::default()
    };
    let mut world = World::new(me, rules);
    let mut put = |kind, facts: Vec<Fact>| {
        let facts = facts.into_iter().map(Ok).collect();
        world.apply(&own, Change::Reset(kind, facts));
    };
    put(Kind::Gateway, vec![gateway()]);
    put(Kind::Service, (0..services).map(service).collect());
    let mut slices = Vec::new();
    for service in 0..services {
        for part in 0..endpoints.div_ceil(SLICE) {
            let count = SLICE.min(endpoints - part * SLICE);
            slices.push(read(&slice(service, part, count, true).to_string()));
        }
    }
    put(Kind::Slice, slices);
    world
}

fn gateway() -> Fact {
    let object = json!({
        "metadata": {"name": "cross-network-gateway", "namespace": "istio-system"},
        "spec": {"selector": {"istio": "eastwestgateway"}, "servers": [{
            "port": {"number": 15443, "name": "tls", "protocol": "TLS"},
            "tls": {"mode": "AUTO_PASSTHROUGH"}, "hosts": ["*.local"]}]},
    });
    let object: DynamicObject = decoded(&object.to_string());
    Fact::istio(Kind::Gateway, &object.metadata, &object.data).expect("a Gateway")
}

fn service(number: usize) -> Fact {
    let object = json!({
        "metadata": {"name": format!("s{number}"), "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    Fact::service(&decoded::<Service>(&object.to_string())).expect("a Service")
}

/// A slice; `first` says whether its first endpoint is ready.
fn slice(service: usize, part: usize, count: usize, first: bool) -> Value {
    let endpoint = |at: usize| {
        let number = part * SLICE + at;
        let [low, high] = [number % 250 + 1, number / 250];
        json!({
            "addresses": [format!("10.{}.{}.{low}", service % 200 + high / 250, high % 250)],
            "conditions": {"ready": at > 0 || first, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", number % 100),
            "targetRef": {"kind": "Pod", "namespace": "default", "name": format!("s{service}-6d5f7c9b84-{number:05}")},
        })
    };
    json!({
        "metadata": {"name": format!("s{service}-{part}"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("s{service}")}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": (0..count).map(endpoint).collect::<Vec<_>>(),
    })
}

fn read(bytes: &str) -> Fact {
    Fact::slice(&decoded::<EndpointSlice>(bytes)).expect("a slice")
}

fn decoded<T: DeserializeOwned>(bytes: &str) -> T {
    serde_json::from_str(bytes).expect("an object of that kind")
}
