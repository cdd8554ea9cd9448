//! The server on a real socket, with the clients that the protobuf crate generates: HTTP/2, both methods, TLS.

mod hostile;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{Hostname, Policy, Port, Protocol, Service, Snapshot, Viewpoint};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::{mpsc, watch};
use tonic::Streaming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::*;
use crate::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use crate::proto::{CLUSTER, core};
use crate::resource::{Kind, MeshTls};
use crate::view::{Dead, Settings};

/// What a stream needs to come so far.
const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    server: Server,
    snapshots: watch::Sender<Arc<Snapshot>>,
    _dead: watch::Sender<Dead>,
}

impl Rig {
    async fn start(tls: Option<TlsFiles>, open: impl Future<Output = ()> + Send + 'static) -> Self {
        let (snapshots, followed) = watch::channel(Arc::default());
        let (dead, watched) = watch::channel(Dead::default());
        let config = Config {
            address: ([127, 0, 0, 1], 0).into(),
            tls,
            settings: Settings {
                own: Viewpoint::default(),
                mesh_tls: MeshTls::Off,
                connect_timeout: Duration::from_secs(3),
                allow_loopback: true,
            },
        };
        let server = Server::start(config, followed, watched, open).await;
        Self {
            server: server.expect("it starts"),
            snapshots,
            _dead: dead,
        }
    }

    /// Publishes a service more.
    fn add(&self, host: &str) {
        let service = Arc::new(Service {
            host: Hostname::parse(host).expect("a host"),
            ports: vec![Port {
                number: 80,
                name: "http".into(),
                protocol: Protocol::Tcp,
            }],
            subsets: Default::default(),
            policy: Arc::new(Policy::default()),
            endpoints: model::Chunked::default(),
        });
        self.snapshots.send_modify(|snapshot| {
            *snapshot = Arc::new(snapshot.with_service(service));
        });
    }

    fn endpoint(&self) -> Endpoint {
        Channel::from_shared(format!("http://{}", self.server.address())).expect("an address")
    }
}

fn node() -> Option<core::Node> {
    Some(core::Node {
        id: "me".into(),
        ..core::Node::default()
    })
}

async fn delta(
    channel: Channel,
) -> (
    mpsc::Sender<DeltaDiscoveryRequest>,
    Streaming<DeltaDiscoveryResponse>,
) {
    let (sender, receiver) = mpsc::channel(8);
    let first = DeltaDiscoveryRequest {
        node: node(),
        type_url: CLUSTER.into(),
        ..DeltaDiscoveryRequest::default()
    };
    sender.send(first).await.expect("sent");
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client.delta_aggregated_resources(stream_of(receiver)).await;
    (sender, stream.expect("a stream").into_inner())
}

fn stream_of<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    })
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes")
}

#[tokio::test]
async fn both_methods_follow_the_snapshot() {
    let rig = Rig::start(None, async {}).await;
    rig.add("a.d.svc");
    let channel = rig.endpoint().connect().await.expect("connected");
    let (answers, mut stream) = delta(channel.clone()).await;
    let first = soon(stream.message())
        .await
        .expect("no error")
        .expect("a response");
    let names = |response: &DeltaDiscoveryResponse| {
        let resources = response.resources.iter();
        resources
            .map(|resource| resource.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["outbound|80||a.d.svc"]);
    let ack = DeltaDiscoveryRequest {
        type_url: CLUSTER.into(),
        response_nonce: first.nonce,
        ..DeltaDiscoveryRequest::default()
    };
    answers.send(ack).await.expect("sent");
    rig.add("b.d.svc");
    let second = soon(stream.message())
        .await
        .expect("no error")
        .expect("a response");
    assert_eq!(names(&second), ["outbound|80||b.d.svc"]);

    let (sotw, receiver) = mpsc::channel(8);
    let request = DiscoveryRequest {
        node: node(),
        type_url: CLUSTER.into(),
        ..DiscoveryRequest::default()
    };
    sotw.send(request).await.expect("sent");
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client
        .stream_aggregated_resources(stream_of(receiver))
        .await;
    let mut stream: Streaming<DiscoveryResponse> = stream.expect("a stream").into_inner();
    let all = soon(stream.message())
        .await
        .expect("no error")
        .expect("a response");
    assert_eq!(all.resources.len(), 2);

    let registry = rig.server.registry();
    assert_eq!(registry.streams().len(), 2);
    let clusters = registry.counts().kinds[Kind::Cluster as usize];
    assert_eq!(
        (clusters.pushes, clusters.resources, clusters.acks),
        (3, 4, 1)
    );
    drop((answers, sotw, stream));
}

#[tokio::test]
async fn nobody_is_told_anything_before_everything_is_known() {
    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let rig = Rig::start(None, async {
        let _ = opened.await;
    })
    .await;
    let endpoint = rig.endpoint();
    let asking = tokio::spawn(async move {
        let channel = endpoint.connect().await.expect("connected");
        let (answers, mut stream) = delta(channel).await;
        let first = stream
            .message()
            .await
            .expect("no error")
            .expect("a response");
        drop(answers);
        first.resources.len()
    });
    rig.add("a.d.svc");
    rig.add("b.d.svc");
    open.send(()).expect("the server waits");
    assert_eq!(soon(asking).await.expect("it asks"), 2);
}

#[tokio::test]
async fn a_stream_without_a_node_is_refused() {
    let rig = Rig::start(None, async {}).await;
    let channel = rig.endpoint().connect().await.expect("connected");
    let (sender, receiver) = mpsc::channel(1);
    sender
        .send(DeltaDiscoveryRequest::default())
        .await
        .expect("sent");
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client.delta_aggregated_resources(stream_of(receiver)).await;
    let mut stream = stream.expect("a stream").into_inner();
    let status = soon(stream.message()).await.expect_err("refused");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("node"), "{status}");
}

/// Envoy repeats its 61 KB in every request unless told otherwise.
#[tokio::test]
async fn who_it_is_a_client_says_once() {
    let rig = Rig::start(None, async {}).await;
    rig.add("a.d.svc");
    let channel = rig.endpoint().connect().await.expect("connected");
    let (answers, mut stream) = delta(channel).await;
    let first = soon(stream.message()).await.expect("no error");
    let ack = DeltaDiscoveryRequest {
        node: Some(core::Node {
            id: "somebody else".into(),
            user_agent_name: "x".repeat(2 << 20),
            ..core::Node::default()
        }),
        type_url: CLUSTER.into(),
        response_nonce: first.expect("a response").nonce,
        ..DeltaDiscoveryRequest::default()
    };
    answers.send(ack).await.expect("sent");
    rig.add("b.d.svc");
    soon(stream.message()).await.expect("no error");
    let streams = rig.server.registry().streams();
    assert_eq!(streams[0].client.id, "me");
}

/// A root, and leaves as PEM.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root"))
    }

    fn leaf(&self) -> (String, String) {
        let params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.0).expect("a leaf");
        (leaf.pem(), key.serialize_pem())
    }

    fn write(&self, folder: &Path) {
        let (certificate, key) = self.leaf();
        fs::write(folder.join("tls.crt"), certificate).expect("written");
        fs::write(folder.join("tls.key"), key).expect("written");
    }

    /// Whether a client that trusts this one, with that identity, gets through.
    async fn reaches(&self, rig: &Rig, identity: Option<(String, String)>) -> bool {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.0.pem()))
            .domain_name("localhost");
        if let Some((certificate, key)) = identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let address = format!("https://{}", rig.server.address());
        let endpoint = Channel::from_shared(address).expect("an address");
        let endpoint = endpoint.tls_config(tls).expect("a configuration");
        let Ok(channel) = soon(endpoint.connect()).await else {
            return false;
        };
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let (sender, receiver) = mpsc::channel(1);
        let first = DeltaDiscoveryRequest {
            node: node(),
            type_url: CLUSTER.into(),
            ..DeltaDiscoveryRequest::default()
        };
        sender.send(first).await.expect("sent");
        // TLS 1.3 clients learn only now that their certificate is missing.
        match soon(client.delta_aggregated_resources(stream_of(receiver))).await {
            Ok(stream) => soon(stream.into_inner().message()).await.is_ok(),
            Err(_) => false,
        }
    }
}

#[tokio::test]
async fn clients_need_a_certificate_and_new_ones_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (servers, clients) = (Authority::new(), Authority::new());
    servers.write(folder.path());
    fs::write(folder.path().join("ca.crt"), clients.0.pem()).expect("written");
    let files = TlsFiles {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
        client_ca: folder.path().join("ca.crt"),
    };
    let rig = Rig::start(Some(files), async {}).await;
    rig.add("a.d.svc");
    assert!(servers.reaches(&rig, Some(clients.leaf())).await);
    assert!(!servers.reaches(&rig, None).await, "without a certificate");
    assert!(
        !servers.reaches(&rig, Some(servers.leaf())).await,
        "with another authority's"
    );
    assert!(rig.server.registry().counts().refused_connections >= 2);

    // A renewal that is broken changes nothing and is told.
    fs::write(folder.path().join("tls.key"), "no key").expect("written");
    assert!(servers.reaches(&rig, Some(clients.leaf())).await);
    let fault = rig.server.registry().tls_fault().expect("a fault");
    assert!(fault.contains("tls.key"), "{fault}");

    // A good one is in force for whoever connects next.
    let renewed = Authority::new();
    renewed.write(folder.path());
    assert!(renewed.reaches(&rig, Some(clients.leaf())).await);
    assert!(!servers.reaches(&rig, Some(clients.leaf())).await);
    assert_eq!(rig.server.registry().tls_fault(), None);
}
