//! The gateway with its account's own token on a real API server, and a second one that a Secret names: it finds what it
//! should, and is refused what it should not have.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use discovery::kubernetes::api::{Api, Fault};
use http::Method;
use serde_json::{Value, json};
use sidecar::Client;
use tests::{Pod, Region, exchange, get, until_async};

use super::cluster::ready;

const ISTIO: &str = include_str!("../../fixtures/istio.yaml");
const EXPOSE: &str = include_str!("../../fixtures/expose.yaml");
const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// The entry of the other network at an address that is not this machine's, as all of 10.0.0.0/8 is here: the chart's gateway
/// listens on all addresses, and dials none that leads back to it.
const ELSEWHERE: &str = "
apiVersion: v1
kind: Service
metadata:
  name: istio-eastwestgateway
  namespace: istio-system
  labels: {istio: eastwestgateway, topology.istio.io/network: network2}
spec:
  type: LoadBalancer
  selector: {istio: eastwestgateway}
  ports:
    - {name: status-port, port: 15021, targetPort: 15021}
    - {name: tls, port: 15443, targetPort: 15443}
status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}
";

#[tokio::test(flavor = "multi_thread")]
async fn its_account_finds_what_it_should_and_is_refused_the_rest() {
    let Some((helm, binary)) =
        ready("account::its_account_finds_what_it_should_and_is_refused_the_rest")
    else {
        return;
    };
    let pki = sidecar::Pki::new();
    let (here, there) = (
        Region::start(&binary, &pki, 1).await,
        Region::start(&binary, &pki, 2).await,
    );
    for yaml in [ISTIO, EXPOSE] {
        here.plane.apply(yaml).await;
    }
    there.plane.apply(ELSEWHERE).await;
    here.plane.apply(&there.remote_secret().await).await;
    here.plane.apply(INJECTOR).await;
    let arguments = [
        "--set",
        "labels.istio=eastwestgateway,networkGateway=network1,outbound.enabled=true",
    ];
    let row = super::release(&arguments);
    let objects = helm.objects(row);
    here.plane.apply(&helm.text(row).expect("it renders")).await;
    let pod = Pod::start(CAUSEWAY, &here.plane, &objects, "node-1").await;

    // The ports are those of the chart, and the way to the API server is the account that is mounted.
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until_async("it is ready", async || {
        let answer = exchange(local(15021), b"GET /healthz/ready HTTP/1.0\r\n\r\n").await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    // Readiness waits for half a minute, which can be too short for two API servers on a busy machine.
    until_async("both are synced", async || {
        let status = get(local(15000), "/status").await.json();
        let clusters = status["source"]["clusters"].as_object();
        let states = clusters.into_iter().flatten();
        states
            .map(|(name, one)| (name.as_str(), one["state"].as_str()))
            .eq([("ap", Some("synced")), ("us", Some("synced"))])
    })
    .await;
    let status = get(local(15000), "/status").await.json();
    let source = &status["source"];
    let me = &source["me"];
    for (what, value, found) in [
        (
            "cluster",
            "ap",
            "global.multiCluster.clusterName of ConfigMap istio-system/istio-sidecar-injector",
        ),
        ("namespace", "istio-system", "POD_NAMESPACE"),
        ("network", "network1", "configuration"),
        ("locality", "ap-south/a", "labels of Node node-1"),
    ] {
        assert_eq!(me[what]["value"], value, "{me}");
        assert_eq!(me[what]["source"], found, "{me}");
    }
    assert_eq!(me["labels"]["value"]["istio"], "eastwestgateway");
    let answer = Client::new(&pki, local(15443)).ask().await;
    assert_eq!(answer.expect("an answer").who, "ap", "inbound");
    here.set_ready(false).await;
    until_async(
        "what stands in the other network is known by its Service",
        async || {
            let explained = get(
                local(15000),
                "/explain?sni=outbound_.5000_._.hello.default.svc.cluster.local&port=15444",
            )
            .await;
            explained.body.contains("203.0.113.9")
        },
    )
    .await;

    for path in [
        "/api/v1/secrets",
        "/api/v1/namespaces/default/secrets",
        "/api/v1/namespaces/istio-system/secrets/cacerts",
        "/api/v1/namespaces/istio-system/configmaps",
        "/api/v1/namespaces/istio-system/configmaps/istio-ca-root-cert",
        "/api/v1/namespaces/default/pods/hello-1",
        "/apis/apps/v1/deployments",
        "/apis/security.istio.io/v1/peerauthentications",
    ] {
        let answer = pod.account().get::<Value>(path).await;
        assert!(
            matches!(answer, Err(Fault::Forbidden(_))),
            "{path}: {answer:?}"
        );
    }
    let everywhere = [
        "get,list,watch namespaces",
        "get,list,watch nodes",
        "list,watch pods",
        "list,watch services",
        "list,watch discovery.k8s.io/endpointslices",
        "list,watch networking.istio.io/destinationrules",
        "list,watch networking.istio.io/gateways",
        "list,watch networking.istio.io/serviceentries",
        "list,watch networking.istio.io/virtualservices",
    ];
    let at_home = [
        "list,watch secrets",
        "get pods",
        "get configmaps istio-sidecar-injector",
    ];
    let all = |more: &[&str]| -> BTreeSet<String> {
        everywhere
            .iter()
            .chain(more)
            .map(|rule| (*rule).to_owned())
            .collect()
    };
    assert_eq!(rules(pod.account(), "istio-system").await, all(&at_home));
    assert_eq!(rules(pod.account(), "default").await, all(&[]));
}

/// As Istio's injector names its cluster.
const INJECTOR: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector, namespace: istio-system}
data:
  values: '{"global": {"multiCluster": {"clusterName": "ap"}}}'
"#;

/// What an account may do in a namespace, one line a resource, as the API server says itself; without what every account may.
async fn rules(api: &Api, namespace: &str) -> BTreeSet<String> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let body = review.to_string().into_bytes();
    let answer: Result<Value, Fault> = api
        .change(Method::POST, path, "application/json", body)
        .await;
    let answer = answer.expect("a review");
    assert_eq!(answer["status"]["incomplete"], false, "{answer}");
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    };
    let mut found = BTreeSet::new();
    for rule in answer["status"]["resourceRules"].as_array().expect("rules") {
        for group in texts(&rule["apiGroups"]) {
            // Everybody may ask who they are and what they may.
            if group.starts_with("auth") && group.ends_with(".k8s.io") {
                continue;
            }
            for resource in texts(&rule["resources"]) {
                let verbs = texts(&rule["verbs"]).join(",");
                let separator = if group.is_empty() { "" } else { "/" };
                let names = texts(&rule["resourceNames"]).join(",");
                let line = format!("{verbs} {group}{separator}{resource} {names}");
                found.insert(line.trim_end().to_owned());
            }
        }
    }
    found
}
