//! Sidecars of us go out through the local gateway, as the README says it is set up: meshNetworks first, then istiod overlooks
//! the remote gateway's namespace. Local endpoints come first, and eu's gateway can die, which Istio alone does not survive.

use std::net::SocketAddr;

use tests::{
    CLIENT, CLUSTER, EXPOSE, Envoy, Istio, Istiod, STOCK, Sidecar, Traffic, say, until_async,
};

/// The remote gateway's Service where the README wants it: in a namespace of its own.
const MOVED: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: istio-gateways}
---
apiVersion: v1
kind: Service
metadata:
  name: istio-eastwestgateway
  namespace: istio-gateways
  labels: {istio: eastwestgateway, topology.istio.io/network: network3}
spec:
  type: LoadBalancer
  selector: {istio: eastwestgateway}
  ports: [{name: tls, port: 15443, targetPort: 15443}]
status: {loadBalancer: {ingress: [{ip: 10.3.255.1}]}}
";

const THERE: &str = "
apiVersion: v1
kind: Service
metadata: {name: istio-eastwestgateway, namespace: istio-system}
";

/// Step 3 of the README: the label in the remote cluster.
const LABEL: &str = "
apiVersion: v1
kind: Namespace
metadata:
  name: istio-gateways
  labels: {example.com/reached-through: causeway}
";

const MESH: &str = "
trustDomain: cluster.local
discoverySelectors:
  - matchExpressions: [{key: example.com/reached-through, operator: DoesNotExist}]
";

/// Waits until the sidecar goes there, and no more there.
async fn until_way(envoy: &Envoy, there: SocketAddr, no_more: SocketAddr) {
    until_async(&format!("the sidecar's way is {there}"), async || {
        let hosts = envoy.hosts(CLUSTER).await;
        let has = |way: SocketAddr| hosts.iter().any(|(host, ..)| *host == way.to_string());
        has(there) && !has(no_more)
    })
    .await;
}

async fn story() {
    let Istio {
        binary,
        certificates,
        mut us,
        mut eu,
        ..
    } = Istio::start().await;
    for one in [&us, &eu] {
        one.plane.apply(EXPOSE).await;
    }
    eu.plane.delete(THERE).await;
    eu.plane.apply(MOVED).await;
    us.plane.apply(CLIENT).await;
    let us_istiod = Istiod::start(&binary, &us, STOCK).await;
    for one in [&mut us, &mut eu] {
        one.start_gateway().await;
        one.until_synced(2).await;
        one.until_ready().await;
    }
    let sidecar = Sidecar::start(&us_istiod, certificates.path()).await;
    until_way(&sidecar.envoy, eu.inbound(), us.outbound()).await;
    // Its clusters come before its listener.
    until_async("the sidecar serves", async || sidecar.ask().await.is_ok()).await;

    // Istio alone: half of what the sidecar does goes to eu, and with its gateway dead that half fails.
    let both = Traffic::start(&sidecar);
    both.until_from("eu").await;
    both.until_from("us").await;
    assert_eq!(both.end().await.1, [""; 0]);
    eu.stop_gateway().await;
    until_async("Istio alone loses connections", async || {
        sidecar.ask().await.is_err()
    })
    .await;
    eu.start_gateway().await;
    eu.until_ready().await;

    // The README's steps, in their order.
    let networks = format!(
        "networks: {{network3: {{gateways: [{{address: {}, port: {}}}]}}}}\n",
        us.outbound().ip(),
        us.outbound().port()
    );
    us_istiod.configure("networks", &networks);
    eu.plane.apply(LABEL).await;
    us_istiod.configure("mesh", MESH);
    until_way(&sidecar.envoy, us.outbound(), eu.inbound()).await;

    // Local endpoints first, whichever way the sidecar goes.
    let traffic = Traffic::start(&sidecar);
    let before = eu.backend.connections();
    traffic.until_more(40).await;
    assert_eq!(eu.backend.connections(), before, "what is here comes first");
    assert!(us.app().proxy().totals().picks[0] > 0);
    // Nothing is ready here any more: the local gateway takes it to eu, and back when something is.
    us.set_ready(false).await;
    traffic.until_from("eu").await;
    us.set_ready(true).await;
    until_async("everything is served here again", async || {
        let before = eu.backend.connections();
        traffic.until_more(20).await;
        eu.backend.connections() == before
    })
    .await;
    // eu's gateway dies: nobody notices.
    eu.stop_gateway().await;
    traffic.until_more(60).await;
    let (answered, failures) = traffic.end().await;
    assert_eq!(
        failures,
        [""; 0],
        "of {answered}; Envoy says {}",
        sidecar.envoy.log()
    );
    say(&format!(
        "== {answered} connections of a stock Envoy under istiod, through the local Causeway, none failed when eu's gateway died"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_go_out_through_the_local_gateway_and_survive_the_remote_one() {
    if Istio::can_run_with_envoy(
        "outbound::sidecars_go_out_through_the_local_gateway_and_survive_the_remote_one",
    ) {
        story().await;
    }
}
