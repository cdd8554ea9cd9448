//! An implementation of xDS that is neither ours nor a data plane's: go-control-plane's clients for our server, its server for our
//! client.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use gateway::config::{Gateway, Protocol, Role, XdsSource};
use model::{Endpoint, Hostname, Service};
use prost::Message;
use serde_json::{Value, json};
use tests::{
    CannotBuild, Foreign, Mesh, Place, build_foreign, endpoint, get, hello_service, mesh_yaml, say,
    until, until_async,
};
use xds::proto::cluster::Cluster;
use xds::proto::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use xds::proto::core::address::Address as AddressKind;
use xds::proto::core::socket_address::PortSpecifier;
use xds::proto::core::{Address, Locality, SocketAddress};
use xds::proto::discovery::DiscoveryResponse;
use xds::proto::endpoint::lb_endpoint::HostIdentifier;
use xds::proto::endpoint::{self as eds, ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use xds::proto::listener::{self as lds, Filter, FilterChain, FilterChainMatch, Listener};
use xds::proto::protobuf::Any;
use xds::proto::tcp_proxy::TcpProxy;
use xds::proto::tcp_proxy::tcp_proxy::ClusterSpecifier;
use xds::proto::{CLUSTER, ENDPOINTS, LISTENER, core, pack};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const README: &str = include_str!("../../README.md");
const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};
const AWAY: Place = Place {
    cluster: "eu",
    network: "n3",
    locality: "eu-west/a",
};
const HELLO: &str = "outbound|5000||hello.default.svc.cluster.local";
const OTHER: &str = "outbound|5000||other.default.svc.cluster.local";
const MESH_HELLO: &str = "outbound_.5000_._.hello.default.svc.cluster.local";
const MESH_OTHER: &str = "outbound_.5000_._.other.default.svc.cluster.local";

/// Skips with the reason where it cannot be built.
macro_rules! foreign {
    ($test:literal) => {
        match build_foreign() {
            Ok(binary) => binary,
            Err(CannotBuild(why)) => {
                return say(&format!("== SKIPPED xds_foreign::{}: {why}", $test))
            }
        }
    };
}

/// Waits on a thread of its own for the next line.
async fn hear(mut of: Foreign) -> (Foreign, Value) {
    let heard = tokio::task::spawn_blocking(move || {
        let said = of.hear();
        (of, said)
    });
    heard.await.expect("it says something")
}

fn service(host: &str, endpoints: &[(&str, Place)]) -> Service {
    let at = |(address, place): &(&str, Place)| -> Endpoint {
        endpoint(address.parse().expect("an address"), *place)
    };
    Service {
        host: Hostname::parse(&format!("{host}.default.svc.cluster.local")).expect("a host"),
        ..hello_service(endpoints.iter().map(at).collect())
    }
}

fn text(services: &[Service]) -> String {
    let gateway = model::Gateway {
        address: ([192, 0, 2, 3], 15443).into(),
        name: None,
        clusters: Vec::new(),
    };
    mesh_yaml(services, &[("n3", vec![gateway])], &[])
}

/// What it is told is valid by the rules of Envoy's API, all of it and again after each change; what it refuses is known.
#[tokio::test(flavor = "multi_thread")]
async fn its_clients_get_what_is_there() {
    let binary = foreign!("its_clients_get_what_is_there");
    let mesh = Mesh::start(V4, |config: &mut Gateway| {
        config.xds.address = Some((V4, 0).into());
    })
    .await;
    let hello = service("hello", &[("10.0.0.1:80", HERE), ("10.0.0.2:80", AWAY)]);
    mesh.write(&text(std::slice::from_ref(&hello)));
    until("it is known", || mesh.proxy().snapshot_version() > 1).await;
    let admin = mesh.app.addresses().admin;
    let xds: Value = serde_json::from_str(&get(admin, "/xds").await.body).expect("JSON");
    let address = xds["server"]["address"]
        .as_str()
        .expect("an address")
        .to_owned();

    let client = Foreign::start(&binary, &["client", &address, CLUSTER, OTHER]);
    let (client, first) = hear(client).await;
    assert_eq!(first, json!({"names": [HELLO]}));
    let delta = Foreign::start(&binary, &["delta", &address, ENDPOINTS, HELLO, OTHER]);
    let (delta, first) = hear(delta).await;
    assert_eq!(first, json!({"names": [HELLO]}));
    let (delta, absent) = hear(delta).await;
    assert_eq!(absent, json!({"names": null, "removed": [OTHER]}));

    // Another service: one takes its endpoints, the other refuses its cluster and says so.
    let other = service("other", &[("10.0.0.3:80", HERE)]);
    mesh.write(&text(&[hello, other]));
    let (_delta, second) = hear(delta).await;
    assert_eq!(second, json!({"names": [OTHER]}));
    let (_client, second) = hear(client).await;
    assert_eq!(second, json!({"names": [HELLO, OTHER]}));
    until_async("the refusal is known", async || {
        let answer: Value = serde_json::from_str(&get(admin, "/xds").await.body).expect("JSON");
        let streams = answer["server"]["streams"].as_array().expect("streams");
        let clusters = streams.iter().filter(|one| one["mode"] == "sotw");
        let nacks = clusters.map(|one| one["types"]["cds"]["lastNack"].as_str());
        nacks
            .into_iter()
            .flatten()
            .any(|why| why == format!("the story refuses {OTHER}"))
    })
    .await;
}

/// A server that speaks of services in the way of istiod.
struct Served {
    binary: PathBuf,
    /// `None`: it is dead.
    server: Option<Foreign>,
    address: String,
    version: u32,
}

impl Served {
    fn start(binary: PathBuf) -> Self {
        // Nobody else takes ports of this address, so that it can come back there.
        let address = format!("{}:0", sidecar::fresh_loopback());
        let mut server = Foreign::start(&binary, &["server", &address]);
        let address = server.hear()["address"]
            .as_str()
            .expect("an address")
            .to_owned();
        Self {
            binary,
            server: Some(server),
            address,
            version: 0,
        }
    }

    fn kill(&mut self) {
        self.server = None;
    }

    /// It is back where it was, and has nothing for anybody until it is told to serve.
    fn restart(&mut self) {
        let mut server = Foreign::start(&self.binary, &["server", &self.address]);
        assert_eq!(server.hear()["address"], *self.address);
        self.server = Some(server);
    }

    /// Serves these hosts, by name of a cluster, from now on.
    fn serve(&mut self, clusters: &[(&str, &[&str])]) {
        self.version += 1;
        let folder = tempfile::tempdir().expect("a folder");
        let all = |of: fn(&str, &[&str]) -> Any| {
            clusters
                .iter()
                .map(|(name, hosts)| of(name, hosts))
                .collect()
        };
        let chains = clusters.iter().map(|(name, _)| chain(name)).collect();
        write(folder.path(), CLUSTER, all(|name, _| pack(&cluster(name))));
        write(
            folder.path(),
            ENDPOINTS,
            all(|name, hosts| pack(&assignment(name, hosts))),
        );
        write(folder.path(), LISTENER, vec![pack(&listener(chains))]);
        let server = self.server.as_mut().expect("it is alive");
        server.tell(&format!("{} {}", self.version, folder.path().display()));
    }
}

fn write(folder: &Path, type_url: &str, resources: Vec<Any>) {
    let response = DiscoveryResponse {
        resources,
        type_url: type_url.into(),
        ..DiscoveryResponse::default()
    };
    let name = type_url.rsplit('.').next().expect("a name");
    std::fs::write(folder.join(name), response.encode_to_vec()).expect("written");
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(core::ConfigSource {
                config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
                    core::AggregatedConfigSource {},
                )),
                ..core::ConfigSource::default()
            }),
            service_name: name.into(),
        }),
        ..Cluster::default()
    }
}

fn assignment(name: &str, hosts: &[&str]) -> ClusterLoadAssignment {
    let host = |address: &&str| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(eds::Endpoint {
            address: Some(socket(address)),
            ..eds::Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![LocalityLbEndpoints {
            locality: Some(Locality {
                region: "us-west".into(),
                zone: "a".into(),
                ..Locality::default()
            }),
            lb_endpoints: hosts.iter().map(host).collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

fn socket(address: &str) -> Address {
    let (host, port) = address.rsplit_once(':').expect("a host and a port");
    let port = port.parse().expect("a port");
    Address {
        address: Some(AddressKind::SocketAddress(SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    }
}

fn listener(chains: Vec<FilterChain>) -> Listener {
    Listener {
        name: "0.0.0.0_15443".into(),
        address: Some(socket("0.0.0.0:15443")),
        filter_chains: chains,
        ..Listener::default()
    }
}

/// The chain that istiod makes of a name for AUTO_PASSTHROUGH.
fn chain(name: &str) -> FilterChain {
    let alpn = [
        "istio",
        "istio-peer-exchange",
        "istio-http/1.0",
        "istio-http/1.1",
        "istio-h2",
    ];
    let proxy = TcpProxy {
        stat_prefix: name.into(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(name.into())),
        ..TcpProxy::default()
    };
    FilterChain {
        filter_chain_match: Some(FilterChainMatch {
            server_names: vec![name.into()],
            application_protocols: alpn.map(str::to_owned).into(),
            ..FilterChainMatch::default()
        }),
        filters: vec![Filter {
            name: "envoy.filters.network.tcp_proxy".into(),
            config_type: Some(lds::filter::ConfigType::TypedConfig(pack(&proxy))),
        }],
        ..FilterChain::default()
    }
}

/// The addresses behind each name.
async fn known(mesh: &Mesh) -> Value {
    let answer = get(mesh.app.addresses().admin, "/snapshot").await;
    let snapshot: Value = serde_json::from_str(&answer.body).expect("JSON");
    let services = snapshot["services"].as_array().into_iter().flatten();
    let known = services.map(|service| {
        let endpoints = service["endpoints"].as_array().into_iter().flatten();
        let mut addresses: Vec<&str> = endpoints
            .filter_map(|one| one["address"].as_str())
            .collect();
        addresses.sort_unstable();
        (
            service["host"].as_str().unwrap_or_default().to_owned(),
            json!(addresses),
        )
    });
    known.collect::<serde_json::Map<_, _>>().into()
}

/// A gateway that follows it.
async fn follower(served: &Served, protocol: Protocol) -> Mesh {
    let address = served.address.clone();
    Mesh::start(V4, move |config: &mut Gateway| {
        config.source.file = None;
        config.source.xds = Some(XdsSource {
            address,
            plaintext: true,
            token: None,
            protocol,
            ..XdsSource::default()
        });
        config
            .listeners
            .retain(|listener| listener.role == Role::Inbound);
    })
    .await
}

async fn until_known(mesh: &Mesh, what: &str, expected: Value) {
    until_async(what, async || known(mesh).await == expected).await;
}

/// How following goes.
async fn client(mesh: &Mesh) -> Value {
    let answer = get(mesh.app.addresses().admin, "/xds").await;
    let told: Value = serde_json::from_str(&answer.body).expect("JSON");
    told["client"].clone()
}

/// The gateway follows a server that is not istiod, through its changes.
async fn follows(binary: PathBuf, protocol: Protocol) {
    let mut served = Served::start(binary);
    served.serve(&[(MESH_HELLO, &["10.0.0.1:80", "10.0.0.2:80"])]);
    let mesh = follower(&served, protocol).await;
    let until_known = async |what: &str, expected: Value| until_known(&mesh, what, expected).await;
    let hello = "hello.default.svc.cluster.local";
    until_known(
        "it knows what is served",
        json!({hello: ["10.0.0.1", "10.0.0.2"]}),
    )
    .await;
    served.serve(&[
        (MESH_HELLO, &["10.0.0.2:80"]),
        (MESH_OTHER, &["10.0.0.3:80"]),
    ]);
    let other = "other.default.svc.cluster.local";
    until_known(
        "it follows",
        json!({hello: ["10.0.0.2"], other: ["10.0.0.3"]}),
    )
    .await;
    served.serve(&[(MESH_OTHER, &["10.0.0.3:80"])]);
    until_known("what is gone is gone", json!({other: ["10.0.0.3"]})).await;

    // And how that goes can be seen.
    let client = client(&mesh).await;
    let (state, mode) = match protocol {
        Protocol::Delta => ("following", "delta"),
        Protocol::Sotw => ("following", "sotw"),
    };
    assert_eq!(
        (&client["state"], &client["mode"]),
        (&state.into(), &mode.into()),
        "{client:#}"
    );
    for kind in ["clusters", "endpoints", "listeners"] {
        let of = &client["kinds"][kind];
        assert_eq!(
            (&of["resources"], &of["nacks"]),
            (&1.into(), &0.into()),
            "{client:#}"
        );
        let version = of["version"].as_str();
        assert!(
            version.is_some_and(|version| !version.is_empty()),
            "{client:#}"
        );
    }
    assert_eq!(client["refused"], json!([]), "{client:#}");
    let scrape = get(mesh.app.addresses().stats, "/metrics").await.body;
    assert!(
        scrape.contains("causeway_xds_client_state{state=\"following\"} 1"),
        "{scrape}"
    );
    let words = README.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for named in words.filter(|word| word.starts_with("causeway_xds_client_")) {
        assert!(
            scrape.contains(&format!("# TYPE {named} ")),
            "{named}: {scrape}"
        );
    }
    mesh.stop().await;
}

/// It dies, comes back with nothing to say, says something that cannot be read, and mends it: what was known stays each time,
/// and what has changed comes.
async fn outlives(binary: PathBuf, protocol: Protocol) {
    let mut served = Served::start(binary);
    served.serve(&[
        (MESH_HELLO, &["10.0.0.1:80"]),
        (MESH_OTHER, &["10.0.0.3:80"]),
    ]);
    let mesh = follower(&served, protocol).await;
    let until_known = async |what: &str, expected: Value| until_known(&mesh, what, expected).await;
    let until_client = async |what: &str, holds: fn(&Value) -> bool| {
        until_async(what, async || holds(&client(&mesh).await)).await;
    };
    let (hello, other) = (
        "hello.default.svc.cluster.local",
        "other.default.svc.cluster.local",
    );
    let first = json!({hello: ["10.0.0.1"], other: ["10.0.0.3"]});
    until_known("it knows what is served", first.clone()).await;

    served.kill();
    until_client("the stream has ended", |client| {
        client["state"] == "waiting"
    })
    .await;
    assert_eq!(known(&mesh).await, first);
    served.restart();
    // It takes the stream and says nothing on it, not even its headers.
    until_client("it is asked again", |client| {
        client["state"] == "connecting"
    })
    .await;
    assert_eq!(known(&mesh).await, first);
    served.serve(&[(MESH_HELLO, &["10.0.0.2:80"])]);
    until_known("what went meanwhile is gone", json!({hello: ["10.0.0.2"]})).await;
    until_client("it follows", |client| {
        client["state"] == "following" && client["streams"] == 2
    })
    .await;

    served.serve(&[
        (MESH_HELLO, &["nowhere:80"]),
        (MESH_OTHER, &["10.0.0.4:80"]),
    ]);
    let expected = json!({hello: ["10.0.0.2"], other: ["10.0.0.4"]});
    until_known(
        "what is good is taken, and the last good one stays",
        expected,
    )
    .await;
    until_client("the refusal is known", |client| {
        let refused = &client["refused"][0];
        let nacks = client["kinds"]["endpoints"]["nacks"].as_u64();
        refused["name"] == MESH_HELLO
            && refused["why"] == "'nowhere' is not an IP address"
            && nacks.is_some_and(|nacks| nacks > 0)
    })
    .await;
    served.serve(&[
        (MESH_HELLO, &["10.0.0.5:80"]),
        (MESH_OTHER, &["10.0.0.4:80"]),
    ]);
    let expected = json!({hello: ["10.0.0.5"], other: ["10.0.0.4"]});
    until_known("it is mended", expected).await;
    until_client("nothing is refused", |client| {
        client["refused"] == json!([])
    })
    .await;
    assert_eq!(client(&mesh).await["streams"], 2);
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_server_said_outlives_it_in_delta() {
    let binary = foreign!("what_its_server_said_outlives_it_in_delta");
    outlives(binary, Protocol::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_server_said_outlives_it_in_state_of_the_world() {
    let binary = foreign!("what_its_server_said_outlives_it_in_state_of_the_world");
    outlives(binary, Protocol::Sotw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_server_is_followed_in_delta() {
    let binary = foreign!("its_server_is_followed_in_delta");
    follows(binary, Protocol::Delta).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_server_is_followed_in_state_of_the_world() {
    let binary = foreign!("its_server_is_followed_in_state_of_the_world");
    follows(binary, Protocol::Sotw).await;
}
