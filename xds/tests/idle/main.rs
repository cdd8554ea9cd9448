//! What an idle stream costs the server, counted by the allocator: no clock, no noise. A test of its own binary, because it
//! replaces the allocator, and because other tests would be counted.

mod raw;

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::{
    Chunked, Endpoint, Health, Hostname, Labels, Locality, Origin, Policy, Port, PortMap, Protocol,
    Service, Snapshot, TlsMode, Viewpoint, Workload,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::watch;
use xds::proto::discovery::DeltaDiscoveryRequest;
use xds::proto::{CLUSTER, ENDPOINTS, core};
use xds::resource::{MeshTls, SecretSource};
use xds::server::{Config, Server};
use xds::view::{Dead, Settings};

use self::raw::Raw;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Of issue "xds/", Cost: bytes of an idle stream, of which the resources are shared with all others.
const STREAM: usize = 64 << 10;

/// What the allocator itself and half-used pages add to that, as `bench xds` finds (PSS less this count): 3 KB.
const UNSEEN: usize = 4 << 10;

const SERVICES: u32 = 1_000;
const FEW: usize = 4;
const MANY: usize = 20;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn service(number: u32, first: Health) -> Arc<Service> {
    let endpoint = |n: u32| Endpoint {
        address: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number * 8 + n)),
        weight: 1,
        health: if n == 0 { first } else { Health::Healthy },
        tls: TlsMode::Istio,
        ports: Arc::new(PortMap::from([("http".into(), 8080)])),
        labels: Arc::new(Labels::new()),
        origin: Arc::new(Origin {
            cluster: "us".into(),
            network: "n1".into(),
            locality: Locality::from(["us/a", "us/b", "us/c"][n as usize]),
            workload: Workload::default(),
        }),
    };
    let host = format!("service-{number:04}.namespace.svc.cluster.local");
    Arc::new(Service {
        host: Hostname::parse(&host).expect("a host"),
        ports: vec![Port {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: Default::default(),
        policy: Arc::new(Policy::default()),
        endpoints: Chunked::from_items((0..3).map(endpoint).collect()),
    })
}

/// As large as Envoy's.
fn node() -> core::Node {
    let extensions = (0..516).map(|number| core::Extension {
        name: format!("envoy.filters.network.some_extension_{number:03}"),
        category: "envoy.filters.network".into(),
        type_urls: vec!["envoy.extensions.filters.network.some.v3.Extension".into()],
        ..core::Extension::default()
    });
    core::Node {
        id: "envoy".into(),
        extensions: extensions.collect(),
        ..core::Node::default()
    }
}

/// A stream that has everything.
async fn stream(address: SocketAddr, node: &core::Node) -> Raw {
    let mut raw = Raw::connect(address).await;
    raw.send(&DeltaDiscoveryRequest {
        node: Some(node.clone()),
        type_url: CLUSTER.into(),
        ..DeltaDiscoveryRequest::default()
    })
    .await;
    let mut names = Vec::new();
    while names.len() < SERVICES as usize {
        let response = raw.next().await;
        assert_eq!(response.type_url, CLUSTER);
        names.extend(response.resources.into_iter().map(|resource| resource.name));
    }
    raw.send(&DeltaDiscoveryRequest {
        type_url: ENDPOINTS.into(),
        resource_names_subscribe: names,
        ..DeltaDiscoveryRequest::default()
    })
    .await;
    let mut assignments = 0;
    while assignments < SERVICES as usize {
        let response = raw.next().await;
        assert_eq!(response.type_url, ENDPOINTS);
        assignments += response.resources.len();
    }
    raw
}

/// Waits until the server has read every answer.
async fn until_settled(server: &Server, streams: usize) {
    let settled = || {
        let open = server.registry().streams();
        open.len() == streams && open.iter().all(|stream| stream.lag == Duration::ZERO)
    };
    while !settled() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_idle_stream_of_a_thousand_services_holds_less_than_its_target() {
    let services = (0..SERVICES).map(|number| service(number, Health::Healthy));
    let snapshot = Snapshot {
        version: 1,
        services: Chunked::from_items(services.collect()),
        ..Snapshot::default()
    };
    let (snapshots, followed) = watch::channel(Arc::new(snapshot));
    let (_dead, watched) = watch::channel(Dead::default());
    let config = Config {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        tls: None,
        settings: Settings {
            own: Viewpoint {
                cluster: "us".into(),
                network: "n1".into(),
                ..Viewpoint::default()
            },
            mesh_tls: MeshTls::Secrets {
                certificate: "default".into(),
                ca: "ROOTCA".into(),
                source: SecretSource::Bootstrap,
            },
            connect_timeout: Duration::from_secs(3),
            allow_loopback: false,
        },
    };
    let server = Server::start(config, followed, watched, async {}).await;
    let server = server.expect("it starts");
    let node = node();
    let mut streams = Vec::with_capacity(MANY);
    let mut at_first = 0;
    for count in 1..=MANY {
        streams.push(stream(server.address(), &node).await);
        if count == FEW {
            until_settled(&server, count).await;
            at_first = held();
        }
    }
    until_settled(&server, MANY).await;
    let of_one = |before: usize| held().saturating_sub(before) / (MANY - FEW);
    let idle = of_one(at_first);
    println!("an idle stream holds {idle} bytes");
    assert!(idle + UNSEEN < STREAM, "{idle} bytes");

    // And not more after changes: one endpoint's goes as one resource.
    for number in 0..3 {
        snapshots.send_modify(|snapshot| {
            *snapshot = Arc::new(snapshot.with_service(service(number, Health::Unhealthy)));
        });
        for stream in &mut streams {
            let response = stream.next().await;
            assert_eq!(
                (response.resources.len(), &*response.type_url),
                (1, ENDPOINTS)
            );
        }
    }
    until_settled(&server, MANY).await;
    let later = of_one(at_first);
    println!("and {later} after changes");
    assert!(later + UNSEEN < STREAM, "{later} bytes");
}
