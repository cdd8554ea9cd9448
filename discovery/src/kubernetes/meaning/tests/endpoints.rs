//! Endpoints: network, locality, health, mutual TLS, workload.

use std::collections::BTreeMap;

use super::stage::{HELLO, POD, SERVICE, SLICE, Stage, node, system_namespace};
use crate::kubernetes::facts::Kind;
use crate::kubernetes::meaning::{ClusterRule, Mtls, Rules};

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

#[test]
fn a_ready_endpoint_with_a_sidecar_is_usable() {
    let mut stage = Stage::new()
        .hello()
        .apply("us", &node("node-1", "us-west", "us-west-a"));
    assert_eq!(
        stage.endpoints(HELLO),
        ["10.1.0.1 us network1 us-west/us-west-a"]
    );
    let service = stage.service(HELLO).expect("hello");
    let endpoint = service.endpoints.iter().next().expect("an endpoint");
    assert_eq!(endpoint.dial_key("").map(|key| key.0.port()), Some(9898));
    assert_eq!(service.ports[0].number, 5000);
}

#[test]
fn conditions_decide_about_health() {
    for (conditions, expected) in [
        ("{}", ""),
        ("{ready: true, terminating: true}", ""),
        ("{ready: false}", " unhealthy"),
        ("{ready: false, terminating: false}", " unhealthy"),
        (
            "{ready: false, serving: true, terminating: true}",
            " terminating",
        ),
    ] {
        let slice = SLICE.replace(
            "{ready: true, serving: true, terminating: false}",
            conditions,
        );
        let mut stage = Stage::new()
            .apply("us", SERVICE)
            .apply("us", POD)
            .apply("us", &slice);
        let expected = format!("10.1.0.1 us network1{expected}");
        assert_eq!(stage.endpoints(HELLO), [expected], "{conditions}");
    }
}

#[test]
fn a_draining_pod_gets_nothing_new() {
    let pod = POD.replace("app: hello,", "app: hello, istio.io/draining: 'true',");
    let mut stage = Stage::new().hello().apply("us", &pod);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1 terminating"]);
}

#[test]
fn in_our_network_the_pods_label_decides_about_mutual_tls() {
    let plain = POD.replace(", security.istio.io/tlsMode: istio", "");
    let all = || Rules {
        mtls: Mtls::All,
        ..Rules::default()
    };
    for (rules, pod, expected) in [
        (Rules::default(), POD, &["10.1.0.1 us network1"][..]),
        (Rules::default(), &plain, &["10.1.0.1 us network1 plain"]),
        // Not known yet: it is held back.
        (Rules::default(), "", &[]),
        (all(), &plain, &["10.1.0.1 us network1"]),
        (all(), "", &["10.1.0.1 us network1"]),
    ] {
        let case = format!("{:?} {pod}", rules.mtls);
        let mut stage = Stage::with(rules)
            .apply("us", SERVICE)
            .apply("us", SLICE)
            .apply("us", pod);
        assert_eq!(stage.endpoints(HELLO), strings(expected), "{case}");
    }
    // Nothing says that there is a sidecar where there is no Pod.
    let slice = SLICE.replace(
        "targetRef: {kind: Pod, name: hello-1, namespace: default}",
        "",
    );
    let mut stage = Stage::new().apply("us", SERVICE).apply("us", &slice);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1 plain"]);
}

#[test]
fn in_another_network_its_gateway_decides_about_mutual_tls() {
    let mut stage = Stage::new()
        .hello()
        .apply("eu", &system_namespace("network2"))
        .apply("eu", SERVICE)
        .apply("eu", SLICE);
    let lines = ["10.1.0.1 us network1", "10.1.0.1 eu network2"];
    assert_eq!(stage.endpoints(HELLO), lines);
}

#[test]
fn pods_that_come_and_go_bring_and_take_their_endpoints() {
    let mut stage = Stage::new().apply("us", SERVICE).apply("us", SLICE);
    assert!(stage.endpoints(HELLO).is_empty());
    stage.put("us", POD);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
    stage.put("us", &POD.replace("tlsMode: istio", "tlsMode: disabled"));
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1 plain"]);
    stage.delete("us", Kind::Pod, "default", "hello-1");
    assert!(stage.endpoints(HELLO).is_empty());
}

/// Configuration's word on cluster `eu`.
fn configured(network: &str, locality: &str) -> Rules {
    let rule = ClusterRule {
        locality: locality.into(),
        network: network.into(),
    };
    Rules {
        clusters: BTreeMap::from([("eu".into(), rule)]),
        ..Rules::default()
    }
}

#[test]
fn the_network_of_an_endpoint_is_its_pods_else_its_namespaces_else_the_configured_one() {
    let labelled = POD.replace("app: hello,", "topology.istio.io/network: network9,");
    for (pod, namespace, configuration, expected) in [
        (POD, "network2", "network3", &["10.1.0.1 eu network2"][..]),
        (POD, "''", "network3", &["10.1.0.1 eu network3"]),
        (&labelled, "network2", "network3", &["10.1.0.1 eu network9"]),
        (&labelled, "''", "", &["10.1.0.1 eu network9"]),
        // A remote cluster without a network is not used.
        (POD, "''", "", &[]),
    ] {
        let case = format!("{namespace} {configuration} {pod}");
        let mut stage = Stage::with(configured(configuration, ""))
            .apply("eu", &system_namespace(namespace))
            .apply("eu", SERVICE)
            .apply("eu", SLICE)
            .apply("eu", pod);
        assert_eq!(stage.endpoints(HELLO), strings(expected), "{case}");
    }
}

#[test]
fn our_own_pods_are_in_our_network_unless_they_say_otherwise() {
    let labelled = POD.replace("app: hello,", "topology.istio.io/network: network9,");
    let mut stage = Stage::new()
        .hello()
        .apply("us", &system_namespace("network8"));
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
    stage.put("us", &labelled);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network9"]);
}

#[test]
fn a_remote_cluster_without_a_network_is_flat_only_on_request() {
    let rules = Rules {
        assume_flat: true,
        ..Rules::default()
    };
    let mut stage = Stage::with(rules)
        .apply("eu", SERVICE)
        .apply("eu", SLICE)
        .apply("eu", POD);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 eu network1"]);
}

#[test]
fn a_cluster_that_claims_our_network_has_to_be_trusted_with_it() {
    for (trusted, expected) in [(false, &[][..]), (true, &["10.1.0.1 eu network1"])] {
        let rules = Rules {
            same_network: trusted.then(|| "eu".into()).into_iter().collect(),
            ..Rules::default()
        };
        let mut stage = Stage::with(rules)
            .apply("eu", &system_namespace("network1"))
            .apply("eu", SERVICE)
            .apply("eu", SLICE)
            .apply("eu", POD);
        assert_eq!(
            stage.endpoints(HELLO),
            strings(expected),
            "trusted: {trusted}"
        );
        // A Pod's label is no way around.
        stage.put("eu", &system_namespace("network2"));
        stage.put(
            "eu",
            &POD.replace("app: hello,", "topology.istio.io/network: network1,"),
        );
        assert_eq!(
            stage.endpoints(HELLO),
            strings(expected),
            "trusted: {trusted}"
        );
    }
}

#[test]
fn the_locality_of_an_endpoint_is_its_pods_else_its_nodes_else_the_configured_one() {
    let pod = |label: &str| POD.replace("app: hello,", &format!("{label},"));
    for (pod, node, configuration, expected) in [
        (
            pod("topology.istio.io/locality: ap.a.rack1"),
            node("node-1", "eu-west", "b"),
            "cfg",
            "ap/a/rack1",
        ),
        (
            pod("istio-locality: ap.a"),
            node("node-1", "eu-west", "b"),
            "cfg",
            "ap/a",
        ),
        (
            pod("topology.istio.io/locality: ap.a, istio-locality: xx"),
            String::new(),
            "cfg",
            "ap/a",
        ),
        (
            POD.to_owned(),
            node("node-1", "eu-west", "b"),
            "cfg",
            "eu-west/b",
        ),
        (POD.to_owned(), node("node-1", "''", "b"), "cfg", "/b"),
        (
            POD.to_owned(),
            node("node-1", "''", "''"),
            "cfg/zone",
            "cfg/zone",
        ),
        (
            POD.to_owned(),
            node("node-2", "eu-west", "b"),
            "cfg/zone",
            "cfg/zone",
        ),
        (POD.to_owned(), String::new(), "", ""),
    ] {
        let case = format!("{pod} {node} {configuration}");
        let mut stage = Stage::with(configured("", configuration))
            .apply("eu", &system_namespace("network2"))
            .apply("eu", SERVICE)
            .apply("eu", SLICE)
            .apply("eu", &pod)
            .apply("eu", &node);
        let expected = format!("10.1.0.1 eu network2 {expected}");
        assert_eq!(stage.endpoints(HELLO), [expected.trim_end()], "{case}");
    }
}

#[test]
fn a_nodes_labels_are_read_under_old_names_and_with_subzone() {
    let old = "
kind: Node
metadata:
  name: node-1
  labels:
    failure-domain.beta.kubernetes.io/region: us-west
    failure-domain.beta.kubernetes.io/zone: us-west-a
    topology.istio.io/subzone: rack7
";
    let mut stage = Stage::new().hello().apply("us", old);
    assert_eq!(
        stage.endpoints(HELLO),
        ["10.1.0.1 us network1 us-west/us-west-a/rack7"]
    );
    stage.delete("us", Kind::Node, "", "node-1");
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
}

#[test]
fn the_workload_is_named_as_people_know_it() {
    let owner = |kind: &str, name: &str| {
        format!(
            "  ownerReferences: [{{apiVersion: v1, kind: {kind}, name: {name}, uid: u, controller: true}}]\n"
        )
    };
    for (labels, owner, expected) in [
        (
            "pod-template-hash: 5d9c",
            owner("ReplicaSet", "hello-5d9c"),
            "default hello hello latest",
        ),
        (
            "pod-template-hash: 5d9c",
            owner("ReplicaSet", "other"),
            "default other other latest",
        ),
        ("x: z", owner("StatefulSet", "db"), "default db db latest"),
        (
            "x: z",
            owner("Job", "report-27891234"),
            "default report report latest",
        ),
        (
            "x: z",
            owner("Job", "report-v2"),
            "default report-v2 report-v2 latest",
        ),
        ("x: z", String::new(), "default hello-1 hello-1 latest"),
        (
            "app: a, version: v2",
            owner("DaemonSet", "d"),
            "default d a v2",
        ),
        (
            "app: a, app.kubernetes.io/name: nn, app.kubernetes.io/version: '7', version: v2",
            owner("DaemonSet", "d"),
            "default d nn 7",
        ),
        (
            "app: a, service.istio.io/canonical-name: c, service.istio.io/canonical-revision: r",
            owner("DaemonSet", "d"),
            "default d c r",
        ),
    ] {
        let pod = format!(
            "kind: Pod\nmetadata:\n  name: hello-1\n  namespace: default\n  labels: {{{labels}}}\n{owner}"
        );
        let mut stage = Stage::new().hello().apply("us", &pod);
        let service = stage.service(HELLO).expect("hello");
        let workload = &service
            .endpoints
            .iter()
            .next()
            .expect("an endpoint")
            .origin
            .workload;
        let found = format!(
            "{} {} {} {}",
            workload.namespace, workload.name, workload.canonical_name, workload.canonical_revision
        );
        assert_eq!(found, expected, "{labels} {owner}");
    }
}

#[test]
fn slices_that_are_not_ours_to_read_count_for_nothing() {
    for slice in [
        SLICE.replace(
            "kubernetes.io/service-name: hello",
            "kubernetes.io/service-name: hello, multicluster.kubernetes.io/service-name: hello",
        ),
        SLICE.replace("kubernetes.io/service-name: hello", "x: z"),
        SLICE
            .replace("addressType: IPv4", "addressType: FQDN")
            .replace("10.1.0.1", "a.example"),
        SLICE.replace(
            "ports: [{port: 9898, protocol: TCP}]",
            "ports: [{port: 9898, protocol: UDP}]",
        ),
        SLICE.replace("ports: [{port: 9898, protocol: TCP}]", "ports: [{}]"),
    ] {
        let mut stage = Stage::new()
            .apply("us", SERVICE)
            .apply("us", POD)
            .apply("us", &slice);
        assert!(stage.endpoints(HELLO).is_empty(), "{slice}");
    }
}

#[test]
fn a_pod_with_addresses_of_both_families_is_one_endpoint() {
    let dual = SERVICE.replace("selector:", "ipFamilies: [IPv6, IPv4]\n  selector:");
    let six = SLICE
        .replace("hello-abc", "hello-six")
        .replace("addressType: IPv4", "addressType: IPv6")
        .replace("10.1.0.1", "'fd00::1'");
    let mut stage = Stage::new().hello().apply("us", &six);
    assert_eq!(
        stage.endpoints(HELLO).len(),
        2,
        "a Service that names no families has both"
    );
    stage.put("us", &dual);
    assert_eq!(stage.endpoints(HELLO), ["fd00::1 us network1"]);
}

/// Who stands in the Service's second family alone is found there, for as long as it does, whatever comes first.
#[test]
fn a_pod_with_an_address_of_the_second_family_alone_is_an_endpoint() {
    let dual = SERVICE.replace("selector:", "ipFamilies: [IPv6, IPv4]\n  selector:");
    let six = SLICE
        .replace("hello-abc", "hello-six")
        .replace("addressType: IPv4", "addressType: IPv6")
        .replace("10.1.0.1", "'fd00::1'");
    let mut stage = Stage::new().hello();
    stage.put("us", &dual);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
    stage.put("us", &six);
    assert_eq!(stage.endpoints(HELLO), ["fd00::1 us network1"]);
    stage.put("us", &SLICE.replace("ready: true", "ready: false"));
    assert_eq!(stage.endpoints(HELLO), ["fd00::1 us network1"]);
    stage.put("us", SLICE);
    stage.delete("us", Kind::Slice, "default", "hello-six");
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);

    // Another Pod of the first family is nobody's other address.
    let other = six.replace("name: hello-1", "name: hello-2");
    stage.put("us", &POD.replace("name: hello-1", "name: hello-2"));
    stage.put("us", &other);
    assert_eq!(stage.endpoints(HELLO).len(), 2);
}

/// What somebody wrote down for a Service without a selector: the first family where it has any, else the other.
#[test]
fn endpoints_without_a_pod_are_of_one_family() {
    let dual = SERVICE.replace("selector:", "ipFamilies: [IPv4, IPv6]\n  selector:");
    let by_hand = |slice: &str| {
        let lines = slice.lines().filter(|line| !line.contains("targetRef"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let four = by_hand(SLICE);
    let six = four
        .replace("hello-abc", "hello-six")
        .replace("addressType: IPv4", "addressType: IPv6")
        .replace("10.1.0.1", "'fd00::1'");
    let mut stage = Stage::new().apply("us", &dual).apply("us", &six);
    assert_eq!(stage.endpoints(HELLO), ["fd00::1 us network1 plain"]);
    stage.put("us", &four);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1 plain"]);
}

#[test]
fn an_endpoint_in_two_slices_is_one_and_the_ready_one() {
    let second = SLICE
        .replace("hello-abc", "hello-zzz")
        .replace("ready: true", "ready: false");
    let mut stage = Stage::new().hello().apply("us", &second);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
    stage.delete("us", Kind::Slice, "default", "hello-abc");
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1 unhealthy"]);
    stage.delete("us", Kind::Slice, "default", "hello-zzz");
    assert!(stage.endpoints(HELLO).is_empty());
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let other = SERVICE.replace("name: hello", "name: other");
    let mut stage = Stage::new().hello().apply("us", &other);
    stage.put(
        "us",
        &SLICE.replace("service-name: hello", "service-name: other"),
    );
    assert!(stage.endpoints(HELLO).is_empty());
    assert_eq!(
        stage.endpoints("other.default.svc.cluster.local"),
        ["10.1.0.1 us network1"]
    );
}

#[test]
fn cluster_local_names_have_our_own_endpoints_only() {
    let local = |text: &str, namespace: &str, name: &str| {
        text.replace("namespace: default", &format!("namespace: {namespace}"))
            .replace("service-name: hello", &format!("service-name: {name}"))
            .replace(
                "metadata: {name: hello,",
                &format!("metadata: {{name: {name},"),
            )
    };
    for (namespace, name, local_only) in [
        ("kube-system", "kube-dns", true),
        ("default", "kubernetes", true),
        ("istio-system", "istiod", true),
        ("default", "istiod", false),
    ] {
        let mut stage = Stage::new().apply("eu", &system_namespace("network2"));
        for cluster in ["us", "eu"] {
            for object in [SERVICE, SLICE, POD] {
                stage.put(cluster, &local(object, namespace, name));
            }
        }
        let host = format!("{name}.{namespace}.svc.cluster.local");
        let expected = if local_only { 1 } else { 2 };
        assert_eq!(stage.endpoints(&host).len(), expected, "{host}");
    }
}

#[test]
fn internal_traffic_policy_local_keeps_to_our_node() {
    let local = SERVICE.replace("selector:", "internalTrafficPolicy: Local\n  selector:");
    let elsewhere = SLICE
        .replace("hello-abc", "hello-two")
        .replace("10.1.0.1", "10.1.0.2")
        .replace("node-1", "node-2");
    let mut stage = Stage::new()
        .hello()
        .apply("us", &elsewhere)
        .apply("us", &local)
        .apply("eu", &system_namespace("network2"))
        .apply("eu", &local)
        .apply("eu", SLICE);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
}

#[test]
fn headless_services_are_as_others() {
    let headless = SERVICE.replace("selector:", "clusterIP: None\n  selector:");
    let mut stage = Stage::new().hello().apply("us", &headless);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
}

#[test]
fn endpoints_of_one_workload_in_one_zone_share_their_origin() {
    let second = SLICE
        .replace("hello-abc", "hello-two")
        .replace("10.1.0.1", "10.1.0.2")
        .replace("hello-1", "hello-2");
    let owner = "  ownerReferences: [{apiVersion: v1, kind: DaemonSet, name: d, uid: u, controller: true}]\n";
    let mut stage = Stage::new()
        .hello()
        .apply("us", &second)
        .apply("us", &format!("{POD}{owner}"))
        .apply(
            "us",
            &format!("{}{owner}", POD.replace("hello-1", "hello-2")),
        );
    let service = stage.service(HELLO).expect("hello");
    let endpoints: Vec<_> = service.endpoints.iter().collect();
    assert_eq!(endpoints.len(), 2);
    assert!(std::sync::Arc::ptr_eq(
        &endpoints[0].origin,
        &endpoints[1].origin
    ));
    assert!(std::sync::Arc::ptr_eq(
        &endpoints[0].ports,
        &endpoints[1].ports
    ));
    assert!(std::sync::Arc::ptr_eq(
        &endpoints[0].labels,
        &endpoints[1].labels
    ));
}
