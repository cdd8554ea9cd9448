//! A stock Envoy as a sidecar of us, under its istiod, and connections through it. There are no iptables: it listens where its
//! `Sidecar` object says.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::{Envoy, Istiod, Secrets, find_envoy, until_async};

/// What a stock Envoy, which lacks Istio's own filters, must not be sent.
pub const STOCK: &[(&str, &str)] = &[
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
];

/// Envoy's cluster of hello.
pub const CLUSTER: &str = "outbound|5000||hello.default.svc.cluster.local";

/// Where the sidecar takes connections.
const ADDRESS: &str = "10.2.1.1:5000";

/// Who the sidecar belongs to, and where it takes connections: there are no iptables here.
pub const CLIENT: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client-0, namespace: default, labels: {app: client, security.istio.io/tlsMode: istio}}
spec: {nodeName: node-1, serviceAccountName: hello, containers: [{name: client, image: client}]}
status: {phase: Running, podIP: 10.2.1.1, podIPs: [{ip: 10.2.1.1}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client, namespace: default}
spec:
  workloadSelector: {labels: {app: client}}
  egress:
    - port: {number: 5000, protocol: TCP, name: tcp-hello}
      bind: 10.2.1.1
      captureMode: NONE
      hosts: ['default/hello.default.svc.cluster.local']
";

/// A running one.
pub struct Sidecar {
    /// The program.
    pub envoy: Envoy,
    /// Where it takes connections to hello.
    pub address: SocketAddr,
    _secrets: Secrets,
}

impl Sidecar {
    /// Starts it under this istiod, with these certificates.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(istiod: &Istiod, certificates: &Path) -> Self {
        let binary = find_envoy().expect("it was there before");
        let any = "127.0.0.1:0".parse().expect("an address");
        let secrets = Secrets::start(certificates, any).await;
        let admin = "127.0.0.1:15000".parse().expect("an address");
        let text = bootstrap(istiod.plaintext(), secrets.address(), admin);
        Self {
            envoy: Envoy::start(&binary, &text, admin).await,
            address: ADDRESS.parse().expect("an address"),
            _secrets: secrets,
        }
    }

    /// One connection through it: who answered.
    ///
    /// # Errors
    /// Why nobody did.
    pub async fn ask(&self) -> Result<String, String> {
        ask(self.address).await
    }
}

/// Connections one after the other through the sidecar, until it is ended: who answered, and what failed.
pub struct Traffic {
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    answered: AtomicU64,
    last: Mutex<String>,
    failures: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Traffic {
    /// Begins.
    #[must_use]
    pub fn start(sidecar: &Sidecar) -> Self {
        let address = sidecar.address;
        let state = Arc::new(State::default());
        let of = state.clone();
        let task = tokio::spawn(async move {
            while !of.over.load(Ordering::Relaxed) {
                match ask(address).await {
                    Ok(who) => {
                        *lock(&of.last) = who;
                        of.answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(why) => lock(&of.failures).push(why),
                }
            }
        });
        Self { state, task }
    }

    fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been answered.
    pub async fn until_more(&self, count: u64) {
        let before = self.answered();
        until_async("connections go on being answered", async || {
            self.answered() >= before + count
        })
        .await;
    }

    /// Waits until this one answers.
    pub async fn until_from(&self, who: &str) {
        until_async(&format!("{who} answers"), async || {
            *lock(&self.state.last) == who
        })
        .await;
    }

    /// Ends it: how many were answered, and what failed.
    ///
    /// # Panics
    /// When it has panicked.
    pub async fn end(self) -> (u64, Vec<String>) {
        self.state.over.store(true, Ordering::Relaxed);
        self.task.await.expect("it ends");
        let failures = std::mem::take(&mut *lock(&self.state.failures));
        (self.state.answered.load(Ordering::Relaxed), failures)
    }
}

/// One connection through the sidecar: who answered.
async fn ask(sidecar: SocketAddr) -> Result<String, String> {
    let asking = async {
        let mut stream = BufReader::new(TcpStream::connect(sidecar).await?);
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

/// What a sidecar's agent would write for it, as far as a stock Envoy needs it.
fn bootstrap(istiod: SocketAddr, secrets: SocketAddr, admin: SocketAddr) -> String {
    let cluster = |name: &str, at: SocketAddr| {
        let (ip, port) = (at.ip(), at.port());
        format!(
            "
  - name: {name}
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}]}}]"
        )
    };
    format!(
        "node:
  id: sidecar~10.2.1.1~client-0.default~default.svc.cluster.local
  cluster: client.default
  locality: {{region: us-west, zone: a}}
  metadata:
    NAME: client-0
    NAMESPACE: default
    CLUSTER_ID: us
    NETWORK: network2
    INSTANCE_IPS: 10.2.1.1
    INTERCEPTION_MODE: NONE
    LABELS: {{app: client}}
    SERVICE_ACCOUNT: hello
    ISTIO_VERSION: 1.31.0
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{{envoy_grpc: {{cluster_name: xds-grpc}}}}]
  cds_config: {{ads: {{}}, resource_api_version: V3}}
  lds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:{}{}
admin: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}
",
        cluster("xds-grpc", istiod),
        cluster("sds-grpc", secrets),
        admin.ip(),
        admin.port()
    )
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
