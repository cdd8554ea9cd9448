//! A stock Envoy as a sidecar of us, under us's istiod, reaches a service of eu through Causeway in place of eu's Istio gateway.
//! Endpoints come and go and the gateway is replaced, connection after connection; none fails that a live endpoint could serve.

use std::net::SocketAddr;

use sidecar::Backend;
use tests::{CLIENT, CLUSTER, EXPOSE, Istio, Istiod, STOCK, Sidecar, Traffic, say, until_async};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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

/// How eu's gateway knows what there is.
#[derive(Clone, Copy, PartialEq)]
enum Knows {
    ByItself,
    FromIstiod,
}

async fn story(knows: Knows) {
    let Istio {
        binary,
        pki,
        certificates,
        us,
        mut eu,
    } = Istio::start().await;
    for one in [&us, &eu] {
        one.plane.apply(EXPOSE).await;
    }
    us.plane.apply(CLIENT).await;
    let us_istiod = Istiod::start(&binary, &us, STOCK).await;
    let mut eu_istiod = None;
    if knows == Knows::FromIstiod {
        let started = Istiod::start(&binary, &eu, &[]).await;
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
    let sidecar = Sidecar::start(&us_istiod, certificates.path()).await;
    let waiting = until_async("the sidecar reaches eu", async || {
        sidecar.ask().await.as_deref() == Ok("eu")
    });
    waiting.await;
    let hosts = sidecar.envoy.hosts(CLUSTER).await;
    assert!(
        hosts.iter().any(|(host, ..)| *host == front.to_string()),
        "the way there is through the gateway: {hosts:?}"
    );

    let traffic = Traffic::start(&sidecar);
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
        sidecar.envoy.log()
    );
    assert!(second.connections() > 0 && us.backend.connections() == 0);
    say(&format!(
        "== {answered} connections of a stock Envoy under istiod, through Causeway, none failed"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reaches_eu_through_a_gateway_that_finds_everything_by_itself() {
    if Istio::can_run_with_envoy(
        "traffic::a_sidecar_reaches_eu_through_a_gateway_that_finds_everything_by_itself",
    ) {
        story(Knows::ByItself).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reaches_eu_through_a_gateway_that_follows_eus_istiod() {
    if Istio::can_run_with_envoy(
        "traffic::a_sidecar_reaches_eu_through_a_gateway_that_follows_eus_istiod",
    ) {
        story(Knows::FromIstiod).await;
    }
}
