//! gRPC as the xDS server's client: the current release of its C core, by Python, with calls all the time and the README's
//! bootstrap. And what it says to a gateway, from which it follows what it is told of.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gateway::config::{Gateway, Role, XdsTls};
use model::{Endpoint, TlsMode};
use prost::Message;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType, IsCa, KeyPair,
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tests::{
    CannotBuild, Grpc, Mesh, Place, endpoint, find_grpc, get, hello_service, mesh_yaml, say, until,
    until_async,
};
use xds::proto::cluster::Cluster;
use xds::proto::core::TransportSocket;
use xds::proto::core::transport_socket::ConfigType;
use xds::proto::discovery::DiscoveryResponse;
use xds::proto::pack;
use xds::proto::tls::common_tls_context::ValidationContextType;
use xds::proto::tls::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext,
    UpstreamTlsContext,
};
use xds::resource::{Flavour, Kind, MeshTls};
use xds::view::{Settings, View, ViewKey};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const README: &str = include_str!("../../README.md");
const TARGET: &str = "xds:///hello.default.svc.cluster.local:5000";

const fn place(cluster: &'static str, network: &'static str, locality: &'static str) -> Place {
    Place {
        cluster,
        network,
        locality,
    }
}

const HERE: Place = place("us", "n2", "us-west/a");

/// A gateway with an xDS server, and what its mesh file says.
struct World {
    mesh: Mesh,
    address: SocketAddr,
    tls: Option<XdsTls>,
    endpoints: BTreeMap<SocketAddr, Endpoint>,
}

impl World {
    async fn start(tls: Option<XdsTls>) -> Self {
        let address = SocketAddr::new(sidecar::fresh_loopback(), 18000);
        Self {
            mesh: gateway(address, tls.clone(), "services: []\n").await,
            address,
            tls,
            endpoints: BTreeMap::new(),
        }
    }

    /// Lists an endpoint, and tells the gateway.
    async fn list(&mut self, address: SocketAddr, at: Place) {
        let mut listed = endpoint(address, at);
        // Behind a gateway there is nobody without the mesh's TLS.
        if at.network == HERE.network {
            listed.tls = TlsMode::Disabled;
        }
        self.endpoints.insert(address, listed);
        self.publish().await;
    }

    async fn unlist(&mut self, address: SocketAddr) {
        self.endpoints.remove(&address);
        self.publish().await;
    }

    fn text(&self) -> String {
        let service = hello_service(self.endpoints.values().cloned().collect());
        let gateway = model::Gateway {
            address: SocketAddr::new(sidecar::fresh_loopback(), 15443),
            name: None,
            clusters: Vec::new(),
        };
        mesh_yaml(&[service], &[("n3", vec![gateway])], &[])
    }

    async fn publish(&self) {
        let before = self.mesh.proxy().snapshot_version();
        self.mesh.write(&self.text());
        until("the change is in force", || {
            self.mesh.proxy().snapshot_version() > before
        })
        .await;
    }

    /// Another gateway takes its place, with the same xDS address.
    async fn restart(self) -> Self {
        let text = self.text();
        self.mesh.stop().await;
        until_free(self.address).await;
        let mesh = gateway(self.address, self.tls.clone(), &text).await;
        Self { mesh, ..self }
    }

    /// What the server says of its one client.
    async fn stream(&self) -> Value {
        let admin = self.mesh.app.addresses().admin;
        let answer: Value = serde_json::from_str(&get(admin, "/xds").await.body).expect("JSON");
        answer["server"]["streams"][0].clone()
    }

    /// The README's bootstrap, as pasted but for the address, the network's name and folders; in plaintext with the line that
    /// the README gives for that.
    fn bootstrap(&self, certificates: &str) -> String {
        let (_, rest) = README
            .split_once("cat > bootstrap.json <<'END'\n")
            .expect("a bootstrap");
        let (text, _) = rest.split_once("\nEND\n").expect("its end");
        let mut text = text.to_owned();
        if self.tls.is_none() {
            let plain = r#""channel_creds": [{"type": "insecure"}]"#;
            assert!(README.contains(&format!("`{plain}`")));
            let line = text.lines().find(|line| line.contains("channel_creds"));
            let line = line.expect("its credentials").to_owned();
            text = text.replace(&line, &format!("{plain},"));
        }
        for (from, to) in [
            ("127.0.0.1:18000", self.address.to_string()),
            ("network2", "n2".into()),
            ("us-west-a", "a".into()),
        ] {
            assert!(
                text.contains(from),
                "{from} is not in the README's bootstrap"
            );
            text = text.replace(from, &to);
        }
        text.replace("/etc/certs", certificates)
    }
}

/// Waits until nobody listens there. In a process of its own a gateway's listener for xDS ends with that; here its task does a moment
/// after the stop.
pub(super) async fn until_free(address: SocketAddr) {
    until("the address is free", || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_reuse_address(true).expect("set");
        socket.bind(&address.into()).is_ok()
    })
    .await;
}

/// A gateway that begins with this mesh file.
async fn gateway(xds: SocketAddr, tls: Option<XdsTls>, mesh: &str) -> Mesh {
    Mesh::start(V4, |config: &mut Gateway| {
        let file = config.source.file.as_ref().expect("a mesh file");
        std::fs::write(file, mesh).expect("written");
        config.xds.address = Some(xds);
        config.xds.tls = tls;
    })
    .await
}

/// Skips with the reason where there is no gRPC.
macro_rules! grpc {
    ($test:literal) => {
        match find_grpc() {
            Ok(modules) => modules,
            Err(CannotBuild(why)) => return say(&format!("== SKIPPED xds_grpc::{}: {why}", $test)),
        }
    };
}

/// Who has answered since the last look.
type Answers = BTreeMap<String, u64>;

impl World {
    /// Waits until exactly these answer, and nobody has failed until then.
    async fn until_answers(&self, grpc: &mut Grpc, who: &[&str]) {
        let seen = std::sync::Mutex::new(grpc);
        until_async(&format!("{who:?} answer"), async || {
            let mut grpc = seen.lock().expect("one at a time");
            let (answers, failures) = look(&mut grpc);
            assert!(failures.is_empty(), "{failures:?}");
            answers.keys().eq(who.iter())
        })
        .await;
    }
}

fn look(grpc: &mut Grpc) -> (Answers, Answers) {
    let report = grpc.tell("report");
    let read = |key: &str| serde_json::from_value(report[key].clone()).expect("counts");
    (read("answers"), read("failures"))
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_come_and_go_and_no_call_fails() {
    let modules = grpc!("endpoints_come_and_go_and_no_call_fails");
    let mut world = World::start(None).await;
    let mut grpc = Grpc::start(&modules, &world.bootstrap(""), &[]);
    let (one, two) = (grpc.serve("one"), grpc.serve("two"));
    let next_zone = grpc.serve("next-zone");
    let at_b = place("us", "n2", "us-west/b");
    // Not for it: behind a gateway.
    let away = SocketAddr::new(sidecar::fresh_loopback(), 80);
    world.list(away, place("eu", "n3", "eu-west/a")).await;
    world.list(next_zone, at_b).await;
    world.list(one, HERE).await;
    grpc.tell(&format!("call {TARGET}"));
    world.until_answers(&mut grpc, &["one"]).await;

    world.list(two, HERE).await;
    world.until_answers(&mut grpc, &["one", "two"]).await;
    let stream = world.stream().await;
    assert_eq!(stream["kind"], "grpc", "{stream:#}");
    assert_eq!(stream["mode"], "sotw", "{stream:#}");
    assert_eq!(stream["locality"], "us-west/a", "{stream:#}");
    assert_eq!(stream["leftOut"]["behindGateway"], 1, "{stream:#}");
    for kind in ["lds", "rds", "cds", "eds"] {
        assert_eq!(stream["types"][kind]["resources"], 1, "{stream:#}");
        assert!(stream["types"][kind]["lastNack"].is_null(), "{stream:#}");
    }

    // One goes: first from the list, then in truth.
    world.unlist(one).await;
    world.until_answers(&mut grpc, &["two"]).await;
    grpc.tell(&format!("stop {one}"));
    world.until_answers(&mut grpc, &["two"]).await;

    // The gateway restarts: calls go on, and the next change is heard of.
    let mut world = world.restart().await;
    world.until_answers(&mut grpc, &["two"]).await;
    until_async("gRPC is back", async || !world.stream().await.is_null()).await;
    world.unlist(two).await;
    world.until_answers(&mut grpc, &["next-zone"]).await;
    let three = grpc.serve("three");
    world.list(three, HERE).await;
    world.until_answers(&mut grpc, &["three"]).await;
}

/// Without an endpoint of its own network, calls fail and say so; the first one that comes is found.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_behind_a_gateway_is_left_out_and_said_so() {
    let modules = grpc!("what_is_behind_a_gateway_is_left_out_and_said_so");
    let mut world = World::start(None).await;
    let away = SocketAddr::new(sidecar::fresh_loopback(), 80);
    world.list(away, place("eu", "n3", "eu-west/a")).await;
    let mut grpc = Grpc::start(&modules, &world.bootstrap(""), &[]);
    grpc.tell(&format!("call {TARGET}"));
    let told = std::sync::Mutex::new(&mut grpc);
    until_async("a call fails", async || {
        let (answers, failures) = look(&mut told.lock().expect("one at a time"));
        assert!(answers.is_empty(), "{answers:?}");
        failures.keys().any(|why| why.starts_with("UNAVAILABLE"))
    })
    .await;
    let stream = world.stream().await;
    assert_eq!(stream["leftOut"]["behindGateway"], 1, "{stream:#}");

    let here = grpc.serve("here");
    world.list(here, HERE).await;
    let told = std::sync::Mutex::new(&mut grpc);
    until_async("it answers", async || {
        let (answers, _) = look(&mut told.lock().expect("one at a time"));
        answers.contains_key("here")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_its_certificate() {
    let modules = grpc!("it_shows_its_certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let address = certificates(folder.path());
    let at = |name: &str| folder.path().join(name);
    let tls = XdsTls {
        certificate: at("cert-chain.pem"),
        key: at("key.pem"),
        client_ca: at("root-cert.pem"),
    };
    let mut world = World {
        mesh: gateway(address, Some(tls.clone()), "services: []\n").await,
        address,
        tls: Some(tls),
        endpoints: BTreeMap::new(),
    };
    let bootstrap = world.bootstrap(folder.path().to_str().expect("UTF-8"));
    let mut grpc = Grpc::start(&modules, &bootstrap, &[]);
    let one = grpc.serve("one");
    world.list(one, HERE).await;
    grpc.tell(&format!("call {TARGET}"));
    world.until_answers(&mut grpc, &["one"]).await;
}

/// Certificates for both ends, by the names that Istio's agent gives them; and the address that they are for.
pub(super) fn certificates(folder: &std::path::Path) -> SocketAddr {
    let address = SocketAddr::new(sidecar::fresh_loopback(), 18000);
    let key = || KeyPair::generate().expect("a key");
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A leaf that is called as its issuer is taken for one that signed itself.
    root.distinguished_name.push(DnType::CommonName, "root");
    let root = CertifiedIssuer::self_signed(root, key()).expect("a root");
    let leaf = CertificateParams::new([address.ip().to_string()]).expect("an address");
    let signing_key = key();
    let cert = leaf.signed_by(&signing_key, &root).expect("a certificate");
    let leaf = CertifiedKey { cert, signing_key };
    for (name, text) in [
        ("root-cert.pem", root.pem()),
        ("cert-chain.pem", leaf.cert.pem()),
        ("key.pem", leaf.signing_key.serialize_pem()),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    address
}

/// gRPC is given a cluster with the mesh's TLS and server name before a real gateway, by an xDS server that is not ours. It
/// says the name, and offers `h2` and nothing else, which no gateway of a mesh lets in. When this fails because the call
/// succeeds, gRPC can be sent through gateways.
#[tokio::test(flavor = "multi_thread")]
async fn it_says_the_meshs_name_to_a_gateway_and_not_its_alpn() {
    let modules = grpc!("it_says_the_meshs_name_to_a_gateway_and_not_its_alpn");
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let eu = Mesh::start(V4, |_: &mut Gateway| ()).await;
    let backend = eu.backend("eu").await;
    let service = hello_service(vec![endpoint(backend.address(), HERE)]);
    eu.publish(vec![service], &[]).await;

    let responses = tempfile::tempdir().expect("a folder");
    write_responses(responses.path(), eu.address(Role::Inbound));
    let server = |address: SocketAddr| {
        let certificates = folder.path().display();
        format!(
            r#"{{"xds_servers": [{{"server_uri": "{address}", "channel_creds": [{{"type": "insecure"}}], "server_features": ["xds_v3"]}}],
                "node": {{"id": "one"}},
                "certificate_providers": {{"mesh": {{"plugin_name": "file_watcher", "config": {{
                  "certificate_file": "{certificates}/cert-chain.pem", "private_key_file": "{certificates}/key.pem",
                  "ca_certificate_file": "{certificates}/root-cert.pem", "refresh_interval": "60s"}}}}}}}}"#
        )
    };
    let address = SocketAddr::new(sidecar::fresh_loopback(), 18000);
    // gRFC A101; without this the name is that of the target.
    let more = [("GRPC_EXPERIMENTAL_XDS_SNI", "true")];
    let mut grpc = Grpc::start(&modules, &server(address), &more);
    grpc.tell(&format!("ads {address} {}", responses.path().display()));
    grpc.tell(&format!("call {TARGET} xds"));
    until("the gateway has seen it", || !eu.access_log().is_empty()).await;
    let log = eu.access_log();
    println!("gRPC at a gateway: {}", log[0]);
    assert_eq!(
        log[0]["sni"],
        "outbound_.5000_._.hello.default.svc.cluster.local"
    );
    assert_eq!(log[0]["reason"], "alpn_refused");
    let (answers, _) = look(&mut grpc);
    assert!(answers.is_empty(), "{answers:?}");
}

/// A response of each type, as whoever served gRPC through this gateway would give it.
fn write_responses(folder: &std::path::Path, gateway: SocketAddr) {
    let own = model::Viewpoint {
        cluster: "us".into(),
        network: "n2".into(),
        ..model::Viewpoint::default()
    };
    let key = ViewKey {
        flavour: Flavour::Grpc,
        cluster: own.cluster.clone(),
        network: own.network.clone(),
        locality: "us-west/a".into(),
    };
    let settings = Settings {
        own,
        mesh_tls: MeshTls::Off,
        connect_timeout: std::time::Duration::from_secs(3),
        allow_loopback: true,
    };
    let service = hello_service(vec![endpoint(gateway, HERE)]);
    let snapshot = model::Snapshot::default().with_service(service.into());
    let mut view = View::new(&key, &settings);
    view.update(&settings, &snapshot.into(), &xds::view::Dead::default());
    for kind in Kind::ALL {
        let [resource] = view.shelves().of(kind).items() else {
            panic!("one resource of each kind");
        };
        let mut response = DiscoveryResponse::decode(resource.any()).expect("a response");
        let any = &mut response.resources[0];
        if kind == Kind::Cluster {
            let mut cluster = Cluster::decode(&*any.value).expect("a cluster");
            cluster.transport_socket = Some(mesh_tls());
            *any = pack(&cluster);
        }
        response.version_info = "1".into();
        response.type_url = kind.type_url().into();
        response.nonce = "1".into();
        let name = kind.type_url().rsplit('.').next().expect("a name");
        std::fs::write(folder.join(name), response.encode_to_vec()).expect("written");
    }
}

/// As gRPC can be told of it (gRFC A29): certificates by a provider of its bootstrap.
fn mesh_tls() -> TransportSocket {
    let instance = || CertificateProviderPluginInstance {
        instance_name: "mesh".into(),
        ..CertificateProviderPluginInstance::default()
    };
    let roots = CertificateValidationContext {
        ca_certificate_provider_instance: Some(instance()),
        ..CertificateValidationContext::default()
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_provider_instance: Some(instance()),
            validation_context_type: Some(ValidationContextType::ValidationContext(roots)),
            ..CommonTlsContext::default()
        }),
        sni: "outbound_.5000_._.hello.default.svc.cluster.local".into(),
        ..UpstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&context))),
    }
}
