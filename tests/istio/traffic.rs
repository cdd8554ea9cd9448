//! A stock Envoy as a sidecar of us, under us's istiod, reaches a service of eu through Causeway in place of eu's Istio gateway.
//! Endpoints come and go and the gateway is replaced, connection after connection; none fails that a live endpoint could serve.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use sidecar::{Backend, Pki};
use tests::{Envoy, Istiod, Region, Secrets, build, build_istiod, find_envoy, say, until_async};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::routes::{EXPOSE, can_run, pod};

/// What a stock Envoy, which lacks Istio's own filters, must not be sent.
pub(crate) const STOCK: &[(&str, &str)] = &[
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
];

pub(crate) const CLUSTER: &str = "outbound|5000||hello.default.svc.cluster.local";

/// Where the sidecar takes connections.
pub(crate) const SIDECAR: &str = "10.2.1.1:5000";

/// Who the sidecar belongs to, and where it takes connections: there are no iptables here.
pub(crate) const CLIENT: &str = "
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

/// A second Pod of hello in eu, with a slice of its own.
const SECOND: &str = "
apiVersion: v1
kind: Pod
metadata: {name: hello-2, namespace: default, labels: {app: hello, security.istio.io/tlsMode: istio}}
spec: {nodeName: node-1, serviceAccountName: hello, containers: [{name: hello, image: hello}]}
status: {phase: Running, podIP: 10.3.0.2, podIPs: [{ip: 10.3.0.2}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hello-more, namespace: default, labels: {kubernetes.io/service-name: hello}}
addressType: IPv4
ports: [{port: 9898, protocol: TCP}]
endpoints:
  - addresses: [10.3.0.2]
    nodeName: node-1
    targetRef: {kind: Pod, name: hello-2, namespace: default}
    conditions: {ready: true, serving: true, terminating: false}
";

/// What a sidecar's agent would write for it, as far as a stock Envoy needs it.
pub(crate) fn bootstrap(istiod: SocketAddr, secrets: SocketAddr, admin: SocketAddr) -> String {
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

/// The load balancer before a gateway: what comes goes to the one in service, and stays there.
struct Balancer {
    to: watch::Sender<SocketAddr>,
    task: JoinHandle<()>,
}

impl Balancer {
    async fn start(address: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("bound");
        let (to, serving) = watch::channel(to);
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let to = *serving.borrow();
                tokio::spawn(async move {
                    if let Ok(mut gateway) = TcpStream::connect(to).await {
                        // However it ends, both sides have seen it.
                        let _ = copy_bidirectional(&mut client, &mut gateway).await;
                    }
                });
            }
        });
        Self { to, task }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections one after the other through the sidecar, until it is ended: who answered, and what failed.
pub(crate) struct Traffic {
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
    pub(crate) fn start(sidecar: SocketAddr) -> Self {
        let state = Arc::new(State::default());
        let of = state.clone();
        let task = tokio::spawn(async move {
            while !of.over.load(Ordering::Relaxed) {
                match ask(sidecar).await {
                    Ok(who) => {
                        *of.last.lock() = who;
                        of.answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(why) => of.failures.lock().push(why),
                }
            }
        });
        Self { state, task }
    }

    fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been answered.
    pub(crate) async fn until_more(&self, count: u64) {
        let before = self.answered();
        until_async("connections go on being answered", async || {
            self.answered() >= before + count
        })
        .await;
    }

    /// Waits until this one answers.
    pub(crate) async fn until_from(&self, who: &str) {
        until_async(&format!("{who} answers"), async || {
            *self.state.last.lock() == who
        })
        .await;
    }

    /// Ends it: how many were answered, and what failed.
    pub(crate) async fn end(self) -> (u64, Vec<String>) {
        self.state.over.store(true, Ordering::Relaxed);
        self.task.await.expect("it ends");
        let failures = std::mem::take(&mut *self.state.failures.lock());
        (self.state.answered.load(Ordering::Relaxed), failures)
    }
}

/// One connection through the sidecar: who answered.
pub(crate) async fn ask(sidecar: SocketAddr) -> Result<String, String> {
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

/// How eu's gateway knows what there is.
#[derive(Clone, Copy, PartialEq)]
enum Knows {
    ByItself,
    FromIstiod,
}

async fn story(knows: Knows) {
    let plane = build().expect("it was there before");
    let istiod = build_istiod().expect("it was there before");
    let envoy = find_envoy().expect("it was there before");
    let folder = tempfile::tempdir().expect("a folder");
    Pki::create(folder.path()).expect("certificates are written");
    let pki = Pki::read(folder.path()).expect("and read");
    let us = Region::start(&plane, &pki, 2).await;
    let mut eu = Region::start(&plane, &pki, 3).await;
    for one in [&us, &eu] {
        Istiod::install(&istiod, &one.plane).await;
        one.plane.apply(&pod(one.number)).await;
        one.plane.apply(EXPOSE).await;
    }
    us.plane.apply(CLIENT).await;
    us.plane.apply(&eu.remote_secret().await).await;
    eu.plane.apply(&us.remote_secret().await).await;
    let us_istiod = Istiod::start(&istiod, &us, STOCK).await;
    let mut eu_istiod = None;
    if knows == Knows::FromIstiod {
        let started = Istiod::start(&istiod, &eu, &[]).await;
        let source = started.source(&eu).await;
        eu.set_source(source);
        eu_istiod = Some(started);
    }
    // The first one makes room for the load balancer, at the address that the gateway's Service names.
    let front = eu.inbound();
    eu.start_gateway().await;
    let first = eu.add_gateway().await;
    first.stop().await;
    eu.until_ready().await;
    let balancer = Balancer::start(front, eu.inbound()).await;

    // Everything goes to eu: here nothing is ready.
    us.set_ready(false).await;
    let secrets = Secrets::start(folder.path(), "127.0.0.1:0".parse().expect("an address")).await;
    let admin = "127.0.0.1:15000".parse().expect("an address");
    let text = bootstrap(us_istiod.plaintext(), secrets.address(), admin);
    let envoy = Envoy::start(&envoy, &text, admin).await;
    let sidecar: SocketAddr = SIDECAR.parse().expect("an address");
    let waiting = until_async("the sidecar reaches eu", async || {
        ask(sidecar).await.as_deref() == Ok("eu")
    });
    waiting.await;
    let hosts = envoy.hosts(CLUSTER).await;
    assert!(
        hosts.iter().any(|(host, ..)| *host == front.to_string()),
        "the way there is through the gateway: {hosts:?}"
    );

    let traffic = Traffic::start(sidecar);
    traffic.until_more(20).await;
    // A second endpoint comes, and the first one goes: first from the list, then in truth.
    let address = "10.3.0.2:9898".parse().expect("an address");
    let second = Backend::start_with(pki.server_config(&["istio"]), "eu-2", address).await;
    let second = second.expect("an endpoint starts");
    eu.plane.apply(SECOND).await;
    traffic.until_from("eu-2").await;
    eu.set_ready(false).await;
    until_async("the gateway has heard of it", async || {
        let before = eu.backend.connections();
        traffic.until_more(20).await;
        eu.backend.connections() == before
    })
    .await;
    eu.backend.die().await.expect("it dies");
    traffic.until_more(20).await;
    eu.backend.revive().await.expect("it is back");
    eu.set_ready(true).await;
    traffic.until_from("eu").await;

    // The gateway is replaced as a rolling update does it: the next one is ready before the last one drains.
    for _ in 0..2 {
        let old = eu.add_gateway().await;
        eu.until_ready().await;
        balancer.to.send_replace(eu.inbound());
        old.drain().await;
        old.stop().await;
        traffic.until_more(20).await;
    }
    // Nothing that is live needs istiod.
    if let Some(istiod) = &mut eu_istiod {
        istiod.kill();
        let old = eu.add_gateway().await;
        eu.until_ready().await;
        balancer.to.send_replace(eu.inbound());
        old.drain().await;
        old.stop().await;
        traffic.until_more(20).await;
    }
    let (answered, failures) = traffic.end().await;
    assert_eq!(
        failures,
        [""; 0],
        "of {answered}; Envoy says {}",
        envoy.log()
    );
    assert!(second.connections() > 0 && us.backend.connections() == 0);
    say(&format!(
        "== {answered} connections of a stock Envoy under istiod, through Causeway, none failed"
    ));
}

/// Whether this can run here: it needs Envoy, too.
pub(crate) fn can_run_with_envoy(test: &str) -> bool {
    if let Err(why) = find_envoy() {
        say(&format!("== SKIPPED {test}: {why}"));
        return false;
    }
    can_run(test)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reaches_eu_through_a_gateway_that_finds_everything_by_itself() {
    if can_run_with_envoy(
        "traffic::a_sidecar_reaches_eu_through_a_gateway_that_finds_everything_by_itself",
    ) {
        story(Knows::ByItself).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reaches_eu_through_a_gateway_that_follows_eus_istiod() {
    if can_run_with_envoy("traffic::a_sidecar_reaches_eu_through_a_gateway_that_follows_eus_istiod")
    {
        story(Knows::FromIstiod).await;
    }
}
