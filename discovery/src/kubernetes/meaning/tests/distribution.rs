//! trafficDistribution of Services and Namespaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{LocalityPolicy, TrafficDistribution};

use super::policy::{policy, rule};
use super::stage::{HELLO, POD, SERVICE, SLICE, Stage, node};

#[test]
fn traffic_distribution_is_the_services_else_its_namespaces() {
    let service = |metadata: &str, spec: &str| {
        SERVICE
            .replace(
                "namespace: default}",
                &format!("namespace: default{metadata}}}"),
            )
            .replace("selector:", &format!("{spec}selector:"))
    };
    let annotation = |value: &str| {
        format!(", annotations: {{networking.istio.io/traffic-distribution: {value}}}")
    };
    let namespace = "kind: Namespace\nmetadata: {name: default, annotations: {networking.istio.io/traffic-distribution: PreferSameNode}}\n";
    use TrafficDistribution::{Any, Default, PreferClose, PreferSameNode};
    for (metadata, spec, namespace, expected) in [
        (String::new(), "", "", Default),
        (
            String::new(),
            "trafficDistribution: PreferClose\n  ",
            "",
            PreferClose,
        ),
        (
            String::new(),
            "trafficDistribution: PreferSameZone\n  ",
            namespace,
            PreferClose,
        ),
        (
            String::new(),
            "trafficDistribution: PreferSameNode\n  ",
            "",
            PreferSameNode,
        ),
        (annotation("PREFERCLOSE"), "", namespace, PreferClose),
        (annotation("Any"), "", namespace, Any),
        (annotation("Sometimes"), "", "", Default),
        (
            annotation("Any"),
            "trafficDistribution: PreferClose\n  ",
            "",
            PreferClose,
        ),
        (String::new(), "", namespace, PreferSameNode),
    ] {
        let mut stage = Stage::new()
            .hello()
            .apply("us", &service(&metadata, spec))
            .apply("us", namespace);
        let case = format!("{metadata} {spec} {namespace}");
        assert_eq!(
            policy(&mut stage).locality.traffic_distribution,
            expected,
            "{case}"
        );
    }
    // A rule's own setting takes its place.
    let mut stage = Stage::new()
        .hello()
        .apply("us", &service("", "trafficDistribution: PreferClose\n  "))
        .apply("us", &rule("  host: hello\n  trafficPolicy: {loadBalancer: {localityLbSetting: {enabled: true}}}"));
    assert_eq!(policy(&mut stage).locality, LocalityPolicy::default());
    stage.put(
        "us",
        &rule("  host: hello\n  trafficPolicy: {outlierDetection: {}}"),
    );
    assert_eq!(
        policy(&mut stage).locality.traffic_distribution,
        PreferClose
    );
}

#[test]
fn prefer_same_node_makes_endpoints_keep_their_nodes_name() {
    let service = SERVICE.replace(
        "selector:",
        "trafficDistribution: PreferSameNode\n  selector:",
    );
    let mut stage = Stage::new()
        .apply("us", &service)
        .apply("us", POD)
        .apply("us", SLICE)
        .apply("us", &node("node-1", "r", "z"));
    let service = stage.service(HELLO).expect("hello");
    let labels = &service.endpoints.iter().next().expect("an endpoint").labels;
    let expected: BTreeMap<Arc<str>, Arc<str>> =
        [("kubernetes.io/hostname".into(), "node-1".into())].into();
    assert_eq!(**labels, expected);
}
