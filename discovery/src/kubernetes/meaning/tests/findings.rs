//! What is reported.

use super::stage::{HELLO, POD, SERVICE, SLICE, Stage, node, system_namespace};
use crate::kubernetes::facts::{Change, Kind};
use crate::kubernetes::meaning::{FindingKind, Rules};

const GATEWAY: &str = "
kind: Service
metadata: {name: gw, namespace: istio-system, labels: {topology.istio.io/network: network2}}
spec: {type: LoadBalancer, ports: [{port: 15443}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.2}]}}
";

/// The message of the only finding of a kind.
fn message(stage: &mut Stage, kind: FindingKind) -> String {
    stage.snapshot();
    let findings = stage.world.findings();
    let mut of_kind = findings.iter().filter(|one| one.kind == kind);
    let one = of_kind.next().expect("a finding of that kind");
    assert!(of_kind.next().is_none(), "more than one");
    one.message.clone()
}

#[test]
fn nothing_is_reported_where_all_is_well() {
    let mut stage = Stage::new()
        .hello()
        .apply("us", &node("node-1", "us-west", "a"))
        .apply("eu", &system_namespace("network2"))
        .apply("eu", &node("node-1", "eu-west", "a"))
        .apply("eu", GATEWAY)
        .apply("eu", SERVICE)
        .apply("eu", SLICE);
    assert_eq!(stage.endpoints(HELLO).len(), 2);
    assert!(stage.findings().is_empty());
}

#[test]
fn a_cluster_without_a_network_is_reported_with_what_to_do() {
    let mut stage = Stage::new().apply("eu", SERVICE);
    let said = message(&mut stage, FindingKind::ClusterWithoutNetwork);
    assert!(said.contains("topology.istio.io/network=NETWORK"), "{said}");
    assert!(said.contains("discovery.clusters.eu.network"), "{said}");
    stage.put("eu", &system_namespace("network2"));
    assert!(stage.findings().is_empty());
    let flat = Rules {
        assume_flat: true,
        ..Rules::default()
    };
    assert!(Stage::with(flat).apply("eu", SERVICE).findings().is_empty());
}

#[test]
fn claims_of_our_network_are_reported_with_the_line_to_paste() {
    let labelled = POD.replace("app: hello,", "topology.istio.io/network: network1,");
    for (namespace, pod, count) in [("network1", POD, 1), ("network2", labelled.as_str(), 1)] {
        let mut stage = Stage::new()
            .apply("eu", &system_namespace(namespace))
            .apply("eu", pod);
        assert_eq!(
            stage.findings(),
            [format!("same_network_claim eu network1 {count}")]
        );
        let said = message(&mut stage, FindingKind::SameNetworkClaim);
        assert!(said.contains("discovery: {sameNetwork: [eu]}"), "{said}");
        let trusted = Rules {
            same_network: ["eu".into()].into(),
            ..Rules::default()
        };
        let mut stage = Stage::with(trusted)
            .apply("eu", &system_namespace(namespace))
            .apply("eu", pod);
        assert!(stage.findings().is_empty());
    }
}

#[test]
fn gateways_that_do_not_count_are_reported() {
    for (service, expected) in [
        (
            GATEWAY.replace("network2", "network9"),
            "foreign_gateway eu istio-system/gw 1",
        ),
        (
            GATEWAY.replace("15443", "443"),
            "gateway_without_port eu istio-system/gw 1",
        ),
        (
            GATEWAY.replace("[{ip: 203.0.113.2}]", "[]"),
            "gateway_without_address eu istio-system/gw 1",
        ),
        (
            GATEWAY.replace("ip: 203.0.113.2", "hostname: lb.example"),
            "unresolved_name eu istio-system/gw 1",
        ),
    ] {
        let mut stage = Stage::new()
            .apply("eu", &system_namespace("network2"))
            .apply("eu", &service);
        assert_eq!(stage.findings(), [expected]);
    }
}

#[test]
fn a_network_with_endpoints_and_no_gateway_is_reported() {
    let mut stage = Stage::new()
        .apply("eu", &system_namespace("network2"))
        .apply("eu", &node("node-1", "eu-west", "a"))
        .apply("eu", SERVICE)
        .apply("eu", SLICE);
    assert_eq!(stage.findings(), ["network_without_gateway eu network2 1"]);
    stage.put("eu", GATEWAY);
    assert!(stage.findings().is_empty());
}

#[test]
fn endpoints_without_a_region_are_reported_by_cluster() {
    let second = SLICE
        .replace("hello-abc", "two")
        .replace("10.1.0.1", "10.1.0.2");
    let mut stage = Stage::new().hello().apply("us", &second);
    assert_eq!(stage.findings(), ["endpoint_without_region us  2"]);
    stage.put("us", &node("node-1", "us-west", "a"));
    assert!(stage.findings().is_empty());
}

#[test]
fn an_object_that_cannot_be_read_keeps_its_last_good_version_and_is_reported() {
    let bad = SLICE.replace("10.1.0.1", "10.1.0.300");
    let mut stage = Stage::new()
        .hello()
        .apply("us", &node("node-1", "r", "z"))
        .apply("us", &bad);
    assert_eq!(stage.endpoints(HELLO).len(), 1);
    let said = message(&mut stage, FindingKind::UnreadableObject);
    let expected = "EndpointSlice default/hello-abc: endpoints[0].addresses[0]: '10.1.0.300' is no IP address; the version \
                    before it stays in force";
    assert_eq!(said, expected);

    // Also when all are listed again.
    let all = super::stage::read_all(&bad);
    stage
        .world
        .apply(&"us".into(), Change::Reset(Kind::Slice, all));
    assert_eq!(stage.endpoints(HELLO).len(), 1);
    assert_eq!(stage.findings().len(), 1);

    stage.put("us", SLICE);
    assert!(stage.findings().is_empty());
    stage.put("us", &bad);
    stage.delete("us", Kind::Slice, "default", "hello-abc");
    assert!(stage.findings().is_empty());
    assert!(stage.endpoints(HELLO).is_empty());
}

#[test]
fn a_cluster_that_is_removed_takes_its_findings_along() {
    let bad = SLICE.replace("10.1.0.1", "x");
    let mut stage = Stage::new()
        .apply("eu", &system_namespace("network2"))
        .apply("eu", &bad);
    assert_eq!(stage.findings().len(), 1);
    stage.world.remove(&"eu".into());
    assert!(stage.findings().is_empty());
}

#[test]
fn an_entry_that_selects_workloads_is_reported() {
    let entry = "
kind: ServiceEntry
metadata: {name: db, namespace: default}
spec: {hosts: [db.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 1, name: a}], workloadSelector: {labels: {a: b}}}
";
    let mut stage = Stage::new().apply("us", entry);
    assert_eq!(
        stage.findings(),
        ["unsupported_service_entry us default/db 1"]
    );
}
