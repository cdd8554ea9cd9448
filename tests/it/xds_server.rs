//! A real Envoy as the xDS server's client, with traffic: what it is told is what it does, and nothing that a live endpoint
//! could have served fails.

mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use gateway::config::{Gateway, Role, XdsTls};
use model::{Endpoint, Health, Service};
use serde_json::Value;
use sidecar::{Backend, Behaviour, Pki};
use tests::{
    Envoy, Mesh, Place, endpoint, find_envoy, get, hello_service, mesh_yaml, until, until_async,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use self::traffic::Traffic;
use super::xds_grpc::{certificates, until_free};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CLUSTER: &str = "outbound|5000||hello.default.svc.cluster.local";
const README: &str = include_str!("../../README.md");

const fn place(cluster: &'static str, network: &'static str, locality: &'static str) -> Place {
    Place {
        cluster,
        network,
        locality,
    }
}

const US: Place = place("us", "n2", "us-west/a");

/// Three regions, each a gateway before its endpoints, all of which know everything; and what an Envoy in `us` needs.
struct World {
    gateways: Vec<(Place, Mesh)>,
    endpoints: Vec<(Endpoint, Backend)>,
    address: SocketAddr,
    pki: Pki,
    folder: tempfile::TempDir,
}

impl World {
    /// Endpoints at these places, and a gateway for each network.
    async fn start(places: &[Place]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // One certificate for everybody: the server's name is in it.
        let address = certificates(folder.path());
        let mut gateways = Vec::new();
        for at in [
            US,
            place("eu", "n3", "eu-west/a"),
            place("ap", "n1", "ap-south/a"),
        ] {
            let mesh = gateway(at, address, folder.path(), "default", "services: []\n");
            gateways.push((at, mesh.await));
        }
        let mut world = Self {
            gateways,
            endpoints: Vec::new(),
            address,
            pki: Pki::read(folder.path()).expect("certificates"),
            folder,
        };
        for at in places {
            world.add(*at).await;
        }
        world.publish().await;
        world
    }

    /// An endpoint that answers with its cluster's id.
    async fn add(&mut self, at: Place) {
        let ip = sidecar::fresh_loopback();
        let backend = Backend::start(&self.pki, at.cluster, ip).await;
        let backend = backend.expect("an endpoint starts");
        let listed = endpoint(backend.address(), at);
        self.endpoints.push((listed, backend));
    }

    fn service(&self) -> Service {
        hello_service(
            self.endpoints
                .iter()
                .map(|(listed, _)| listed.clone())
                .collect(),
        )
    }

    fn text(&self) -> String {
        let networks: Vec<_> = self
            .gateways
            .iter()
            .map(|(at, mesh)| {
                let gateway = model::Gateway {
                    address: mesh.address(Role::Inbound),
                    name: None,
                    clusters: Vec::new(),
                };
                (at.network, vec![gateway])
            })
            .collect();
        mesh_yaml(&[self.service()], &networks, &[])
    }

    /// Tells all gateways.
    async fn publish(&self) {
        let text = self.text();
        for (_, mesh) in &self.gateways {
            let before = mesh.proxy().snapshot_version();
            mesh.write(&text);
            until("the change is in force", || {
                mesh.proxy().snapshot_version() > before
            })
            .await;
        }
    }

    /// The README's bootstrap, as pasted but for addresses and folders.
    async fn envoy(&self, binary: &Path, api: &str) -> Client {
        let (_, rest) = README.split_once("# envoy.yaml\n").expect("a bootstrap");
        let (bootstrap, _) = rest.split_once("```").expect("its end");
        let listener = SocketAddr::new(sidecar::fresh_loopback(), 10000);
        let admin = SocketAddr::new(listener.ip(), 9901);
        let mut text = bootstrap.to_owned();
        for (from, to) in [
            ("DELTA_GRPC", api.to_owned()),
            ("address: 127.0.0.1, port_value: 18000", at(self.address)),
            ("address: 127.0.0.1, port_value: 10000", at(listener)),
            ("address: 127.0.0.1, port_value: 9901", at(admin)),
            ("exact: 127.0.0.1", format!("exact: {}", self.address.ip())),
            ("/etc/certs", self.folder.path().display().to_string()),
            ("NETWORK: network2", "NETWORK: n2".into()),
            ("stat_prefix: hello", self.access_log()),
        ] {
            assert!(
                text.contains(from),
                "{from} is not in the README's bootstrap"
            );
            text = text.replace(from, &to);
        }
        let envoy = Envoy::start(binary, &text, admin).await;
        Client { envoy, listener }
    }

    /// Not the README's: why each connection ended, for when one fails.
    fn access_log(&self) -> String {
        let path = self.folder.path().join("access.log");
        let format = "%START_TIME% flags=%RESPONSE_FLAGS% attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT% to=%UPSTREAM_HOST% \
            fault=%UPSTREAM_TRANSPORT_FAILURE_REASON% %CONNECTION_TERMINATION_DETAILS% ms=%DURATION%";
        let log = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
        format!(
            "stat_prefix: hello\n          access_log: [{{name: file, typed_config: {{\"@type\": {log}, path: {}, \
             log_format: {{text_format_source: {{inline_string: \"{format}\\n\"}}}}}}}}]",
            path.display()
        )
    }

    /// What the server of `us` says of its one client.
    async fn stream(&self) -> Value {
        let admin = self.gateways[0].1.app.addresses().admin;
        let answer: Value = serde_json::from_str(&get(admin, "/xds").await.body).expect("JSON");
        let streams = answer["server"]["streams"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(streams.len() <= 1, "{streams:?}");
        streams.into_iter().next().unwrap_or_default()
    }

    /// Another gateway takes the place of `us`'s, with the same xDS address.
    async fn restart(&mut self, certificate: &str) {
        let (at, old) = self.gateways.remove(0);
        let address = self.address;
        old.stop().await;
        until_free(address).await;
        let mesh = gateway(at, address, self.folder.path(), certificate, &self.text()).await;
        self.gateways.insert(0, (at, mesh));
        self.publish().await;
    }
}

fn at(address: SocketAddr) -> String {
    format!("address: {}, port_value: {}", address.ip(), address.port())
}

/// A gateway that begins with this mesh file. `folder`: the xDS server's certificates. `certificate`: the secret for the mesh.
async fn gateway(at: Place, xds: SocketAddr, folder: &Path, certificate: &str, mesh: &str) -> Mesh {
    Mesh::start(V4, |config: &mut Gateway| {
        let file = config.source.file.as_ref().expect("a mesh file");
        std::fs::write(file, mesh).expect("written");
        config.cluster = at.cluster.into();
        config.network = at.network.into();
        config.locality = at.locality.into();
        // While a gateway is dead nobody else takes a port of this address, so that it can come back there.
        config.listeners[0].address = SocketAddr::new(sidecar::fresh_loopback(), 0);
        if at.cluster == US.cluster {
            config.xds.address = Some(xds);
            config.xds.tls = Some(XdsTls {
                certificate: folder.join("cert-chain.pem"),
                key: folder.join("key.pem"),
                client_ca: folder.join("root-cert.pem"),
            });
            config.xds.mesh_tls.certificate = certificate.into();
        }
    })
    .await
}

struct Client {
    envoy: Envoy,
    listener: SocketAddr,
}

/// One connection through an Envoy: who answered.
async fn ask(listener: SocketAddr) -> Result<String, String> {
    let asking = async {
        let mut stream = BufReader::new(TcpStream::connect(listener).await?);
        stream.write_all(b"who\n").await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        std::io::Result::Ok(line.trim().to_owned())
    };
    match asking.await {
        Ok(line) if line.is_empty() => Err("closed without an answer".into()),
        Ok(line) => Ok(line),
        Err(fault) => Err(fault.to_string()),
    }
}

impl Client {
    async fn ask(&self) -> Result<String, String> {
        ask(self.listener).await
    }

    /// So many connections, one after the other: how often each cluster answered.
    async fn shares(&self, count: usize) -> std::collections::BTreeMap<String, usize> {
        let mut answers = std::collections::BTreeMap::new();
        for _ in 0..count {
            let who = self.ask().await.expect("an answer");
            *answers.entry(who).or_insert(0) += 1;
        }
        answers
    }

    /// The shares of so many while nothing was in Envoy's way: after a change, or a gateway that it could not reach, its schedule
    /// begins anew, and then a few hundred connections are not shared as the weights say.
    async fn steady_shares(&self, count: usize) -> std::collections::BTreeMap<String, usize> {
        for _ in 0..5 {
            let before = self.disturbances().await;
            let shares = self.shares(count).await;
            if self.disturbances().await == before {
                return shares;
            }
        }
        panic!("Envoy has no peace: {:?}", self.disturbances().await);
    }

    /// Envoy's counts of what starts its schedule anew.
    async fn disturbances(&self) -> [u64; 4] {
        // Envoy takes the name for a regular expression, and `|` for itself.
        let cluster = CLUSTER.replace('|', ".");
        let mut counts = [0; 4];
        let names = [
            "update_success",
            "membership_change",
            "upstream_cx_connect_fail",
            "upstream_cx_connect_timeout",
        ];
        for (count, name) in counts.iter_mut().zip(names) {
            *count = self
                .envoy
                .figure(&format!("cluster.{cluster}.{name}"))
                .await;
        }
        assert!(
            counts[0] > 0,
            "Envoy has had no endpoints of {CLUSTER}: {counts:?}"
        );
        counts
    }

    /// Until the weights of its hosts come to this.
    async fn until_weights(&self, sum: u64) {
        until_async(&format!("the weights come to {sum}"), async || {
            let hosts = self.envoy.hosts(CLUSTER).await;
            hosts.iter().map(|(_, _, weight, _)| weight).sum::<u64>() == sum
        })
        .await;
    }

    async fn until_hosts(&self, count: usize) -> Vec<(String, u64, u64, String)> {
        until_async(&format!("Envoy has {count} hosts"), async || {
            self.envoy.hosts(CLUSTER).await.len() == count
        })
        .await;
        self.envoy.hosts(CLUSTER).await
    }
}

/// Skips with the reason where there is no Envoy.
macro_rules! envoy {
    () => {
        match find_envoy() {
            Ok(binary) => binary,
            Err(why) => return println!("skipped: {why}"),
        }
    };
}

/// Three endpoints of eu in two zones, one of ap and one there that is not ready: 3 to 1. Istio's weights would make it 3 to 2,
/// and its hosts, of which Envoy keeps one, 2 to 2.
async fn shares(api: &str) {
    let binary = envoy!();
    let mut world = World::start(&[
        place("eu", "n3", "eu-west/a"),
        place("eu", "n3", "eu-west/b"),
        place("eu", "n3", "eu-west/b"),
        place("ap", "n1", "ap-south/a"),
        place("ap", "n1", "ap-south/b"),
    ])
    .await;
    world.endpoints[4].0.health = Health::Unhealthy;
    world.publish().await;
    let client = world.envoy(&binary, api).await;
    let hosts = client.until_hosts(2).await;
    assert!(
        hosts.iter().all(|(_, priority, ..)| *priority == 0),
        "{hosts:?}"
    );
    client.until_weights(4).await;
    let shares = client.steady_shares(400).await;
    let eu = shares["eu"] as f64 / 400.0;
    assert!((eu - 0.75).abs() < 0.01, "{shares:?}");

    // Two of eu's go, and ap's other one gets ready: 1 to 2. Sums are told as small as they can be.
    drop(world.endpoints.drain(1..3));
    world.endpoints[2].0.health = Health::Healthy;
    world.publish().await;
    client.until_weights(3).await;
    let shares = client.steady_shares(300).await;
    let eu = shares["eu"] as f64 / 300.0;
    assert!((eu - 1.0 / 3.0).abs() < 0.01, "{shares:?}");

    // One here takes everything, directly.
    world.add(US).await;
    world.publish().await;
    let hosts = client.until_hosts(3).await;
    let priorities: Vec<_> = hosts.iter().map(|(_, priority, ..)| *priority).collect();
    assert_eq!(priorities.iter().sum::<u64>(), 2, "{hosts:?}");
    assert_eq!(client.shares(50).await["us"], 50);
    let stream = world.stream().await;
    assert_eq!(
        stream["types"]["cds"]["lastNack"],
        Value::Null,
        "{stream:#}"
    );
    assert_eq!(
        stream["types"]["eds"]["lastNack"],
        Value::Null,
        "{stream:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_those_of_the_ready_endpoints_in_delta() {
    shares("DELTA_GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_those_of_the_ready_endpoints_in_state_of_the_world() {
    shares("GRPC").await;
}

/// Endpoints come and go, the gateway restarts, and a gateway that names a certificate that Envoy has not, so that it refuses
/// every cluster: connection after connection is answered.
async fn changes(api: &str) {
    let binary = envoy!();
    let mut world = World::start(&[US, place("eu", "n3", "eu-west/a")]).await;
    let client = world.envoy(&binary, api).await;
    client.until_hosts(2).await;
    assert_eq!(client.shares(20).await["us"], 20);
    let traffic = Traffic::start(&client);

    // It goes: first from the list, then, once what it had is over, in truth.
    let (_, gone) = world.endpoints.remove(0);
    world.publish().await;
    client.until_hosts(1).await;
    traffic.turn().await;
    drop(gone);
    assert_eq!(client.shares(20).await["eu"], 20);

    traffic.part("restart");
    // The gateway restarts: Envoy goes on with what it has, and hears of the next change.
    world.restart("default").await;
    assert_eq!(client.shares(20).await["eu"], 20);
    until_async("Envoy is back", async || !world.stream().await.is_null()).await;
    world.add(US).await;
    world.publish().await;
    client.until_hosts(2).await;
    assert_eq!(client.shares(20).await["us"], 20);

    traffic.part("refused version");
    // A version that is refused: the one before stays in force, and the reason is known.
    world.restart("not-there").await;
    until_async("Envoy has refused it", async || {
        let stream = world.stream().await;
        let nack = stream["types"]["cds"]["lastNack"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        nack.contains("not-there")
    })
    .await;
    assert_eq!(client.shares(20).await["us"], 20);
    let status = get(world.gateways[0].1.app.addresses().admin, "/status").await;
    let status: Value = serde_json::from_str(&status.body).expect("JSON");
    assert_eq!(status["xds"]["refusing"], 1, "{status:#}");

    traffic.part("better one");
    // And it is not too late for a better one.
    world.restart("default").await;
    until_async("Envoy has accepted it", async || {
        let stream = world.stream().await;
        stream["types"]["cds"]["lastNack"].is_null() && stream["lagMs"] == 0
    })
    .await;
    let (_, gone) = world.endpoints.pop().expect("two");
    world.publish().await;
    client.until_hosts(1).await;
    traffic.turn().await;
    drop(gone);
    traffic.part("gone");
    assert_eq!(client.shares(20).await["eu"], 20);

    // An endpoint that dies before anybody says so: what cannot be dialled is tried elsewhere, in the next tier too.
    world.add(US).await;
    world.add(US).await;
    world.publish().await;
    client.until_hosts(3).await;
    traffic.part("dying");
    traffic.until_from("us").await;
    let (_, dies) = world.endpoints.pop().expect("three");
    dies.set(Behaviour::Refuse).await.expect("it refuses");
    traffic.part("refused");
    traffic.turn().await;
    world.publish().await;
    client.until_hosts(2).await;
    assert!(traffic.end(&world) > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_lose_no_connection_in_delta() {
    changes("DELTA_GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_lose_no_connection_in_state_of_the_world() {
    changes("GRPC").await;
}

/// A network dies, under traffic: what its gateway does not take goes to the other network, then the gateway is told as
/// unhealthy; it comes back, and so does its share. No connection fails that was not in the gateway's hands when it died.
async fn death(api: &str) {
    let binary = envoy!();
    let mut world = World::start(&[
        place("eu", "n3", "eu-west/a"),
        place("ap", "n1", "ap-south/a"),
    ])
    .await;
    let client = world.envoy(&binary, api).await;
    client.until_hosts(2).await;
    let traffic = Traffic::start(&client);
    traffic.part("dying");
    traffic.until_from("ap").await;
    let text = world.text();
    let (ap, dead) = world.gateways.pop().expect("three");
    let address = dead.address(Role::Inbound);
    dead.stop().await;
    traffic.part("dead");
    until_async("Envoy knows that it is dead", async || {
        let hosts = client.envoy.hosts(CLUSTER).await;
        let gone = hosts.iter().find(|(at, ..)| *at == address.to_string());
        gone.is_some_and(|(.., health)| health != "HEALTHY")
    })
    .await;
    assert_eq!(client.shares(40).await["eu"], 40);

    traffic.part("back");
    let back = Mesh::start(V4, |config: &mut Gateway| {
        let file = config.source.file.as_ref().expect("a mesh file");
        std::fs::write(file, &text).expect("written");
        config.cluster = ap.cluster.into();
        config.network = ap.network.into();
        config.locality = ap.locality.into();
        config.listeners[0].address = address;
    })
    .await;
    traffic.until_from("ap").await;
    traffic.turn().await;
    assert!(traffic.end(&world) > 100);
    drop(back);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_network_gets_nothing_until_it_is_back_in_delta() {
    death("DELTA_GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_network_gets_nothing_until_it_is_back_in_state_of_the_world() {
    death("GRPC").await;
}
