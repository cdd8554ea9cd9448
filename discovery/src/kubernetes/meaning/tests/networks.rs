//! Networks and their gateways.

use std::net::IpAddr;

use model::Hostname;

use super::stage::{Stage, system_namespace};
use crate::kubernetes::facts::Kind;
use crate::kubernetes::meaning::Rules;

/// A gateway Service as Istio's chart makes it.
const GATEWAY: &str = "
apiVersion: v1
kind: Service
metadata:
  name: istio-eastwestgateway
  namespace: istio-system
  labels: {topology.istio.io/network: network2}
spec:
  type: LoadBalancer
  ports:
    - {name: status-port, port: 15021}
    - {name: tls, port: 15443, nodePort: 31443}
status:
  loadBalancer: {ingress: [{ip: 203.0.113.2}]}
";

fn eu() -> Stage {
    Stage::new().apply("eu", &system_namespace("network2"))
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

#[test]
fn a_labelled_service_is_its_networks_gateway() {
    let own_label = GATEWAY.replace("topology.istio.io/network", "causeway.io/network");
    for service in [GATEWAY, &own_label] {
        let mut stage = eu().apply("eu", service);
        assert_eq!(
            stage.gateways("network2"),
            ["203.0.113.2:15443"],
            "{service}"
        );
    }
    let mut stage = eu().apply(
        "eu",
        &GATEWAY.replace(
            "labels: {topology.istio.io/network: network2}",
            "labels: {}",
        ),
    );
    assert!(stage.gateways("network2").is_empty());
}

#[test]
fn the_port_is_the_labels_if_the_service_has_it() {
    let with_label = |port: &str| {
        GATEWAY.replace(
            "network: network2}",
            &format!("network: network2, networking.istio.io/gatewayPort: '{port}'}}"),
        )
    };
    for (service, expected) in [
        (with_label("15021"), Some("203.0.113.2:15021")),
        (with_label("31400"), None),
        (with_label("none"), Some("203.0.113.2:15443")),
        (with_label("0"), Some("203.0.113.2:15443")),
        (GATEWAY.replace("port: 15443,", "port: 15444,"), None),
        (
            GATEWAY.replace("port: 15443,", "port: 15443, protocol: UDP,"),
            None,
        ),
    ] {
        let mut stage = eu().apply("eu", &service);
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(stage.gateways("network2"), expected, "{service}");
    }
}

#[test]
fn addresses_are_the_load_balancers_and_external_ones() {
    let ingress = |list: &str| GATEWAY.replace("[{ip: 203.0.113.2}]", list);
    for (service, expected) in [
        (
            ingress("[{ip: 203.0.113.2}, {ip: '2001:db8::2'}]"),
            &["203.0.113.2:15443", "[2001:db8::2]:15443"][..],
        ),
        (ingress("[]"), &[]),
        (
            ingress("[]").replace(
                "type: LoadBalancer",
                "type: LoadBalancer\n  externalIPs: [198.51.100.7]",
            ),
            &["198.51.100.7:15443"],
        ),
        (
            GATEWAY.replace(
                "type: LoadBalancer",
                "type: ClusterIP\n  externalIPs: [198.51.100.7]",
            ),
            &["198.51.100.7:15443"],
        ),
        (
            GATEWAY.replace("type: LoadBalancer", "type: ClusterIP"),
            &[],
        ),
        (GATEWAY.replace("type: LoadBalancer", "type: NodePort"), &[]),
        // An address goes before a name.
        (
            ingress("[{ip: 203.0.113.2, hostname: lb.example}]"),
            &["203.0.113.2:15443"],
        ),
    ] {
        let mut stage = eu().apply("eu", &service);
        assert_eq!(stage.gateways("network2"), expected, "{service}");
    }
}

#[test]
fn an_address_that_the_load_balancer_loses_goes() {
    let mut stage = eu().apply("eu", GATEWAY);
    assert_eq!(stage.gateways("network2").len(), 1);
    stage.put("eu", &GATEWAY.replace("[{ip: 203.0.113.2}]", "[]"));
    assert!(stage.gateways("network2").is_empty());
    stage.put("eu", GATEWAY);
    stage.delete("eu", Kind::Service, "istio-system", "istio-eastwestgateway");
    assert!(stage.gateways("network2").is_empty());
}

#[test]
fn names_are_resolved_and_each_address_is_a_gateway() {
    let named = GATEWAY.replace("{ip: 203.0.113.2}", "{hostname: LB.example}");
    let mut stage = eu().apply("eu", &named);
    assert!(stage.gateways("network2").is_empty());
    let name = Hostname::parse("lb.example").expect("a name");
    assert_eq!(stage.world.names_to_resolve(), std::slice::from_ref(&name));
    stage
        .world
        .resolved(&name, ips(&["2001:db8::9", "203.0.113.9"]));
    let both = [
        "203.0.113.9:15443 lb.example",
        "[2001:db8::9]:15443 lb.example",
    ];
    assert_eq!(stage.gateways("network2"), both);
    stage
        .world
        .resolved(&name, ips(&["203.0.113.9", "2001:db8::9"]));
    assert!(
        stage.world.publish().is_none(),
        "the same answer in another order"
    );
    stage.put("eu", GATEWAY);
    assert!(stage.world.names_to_resolve().is_empty());
}

#[test]
fn node_ports_need_the_annotation_and_whole_nodes() {
    let service = GATEWAY
        .replace("type: LoadBalancer", "type: NodePort")
        .replace(
            "  labels:",
            "  annotations: {traffic.istio.io/nodeSelector: '{\"edge\": \"yes\"}'}\n  labels:",
        );
    let node = |name: &str, labels: &str, external: &str| {
        format!(
            "
kind: Node
metadata: {{name: {name}, labels: {{{labels}}}}}
status: {{addresses: [{{type: InternalIP, address: 10.0.0.1}}, {{type: ExternalIP, address: {external}}}]}}
"
        )
    };
    let mut stage = eu().apply("eu", GATEWAY);
    assert!(!stage.world.wants(&"eu".into()).whole_nodes);
    stage.put("eu", &service);
    assert!(stage.world.wants(&"eu".into()).whole_nodes);
    stage.put("eu", &node("a", "edge: 'yes'", "198.51.100.1"));
    stage.put("eu", &node("b", "edge: 'no'", "198.51.100.2"));
    assert_eq!(stage.gateways("network2"), ["198.51.100.1:31443"]);
    stage.put("eu", &node("b", "edge: 'yes'", "198.51.100.2"));
    assert_eq!(
        stage.gateways("network2"),
        ["198.51.100.1:31443", "198.51.100.2:31443"]
    );
    stage.delete("eu", Kind::Node, "", "a");
    assert_eq!(stage.gateways("network2"), ["198.51.100.2:31443"]);
    stage.put("eu", &service.replace("{\"edge\": \"yes\"}", "{}"));
    assert_eq!(stage.gateways("network2"), ["198.51.100.2:31443"]);
}

#[test]
fn a_cluster_speaks_for_its_own_network_unless_it_is_trusted() {
    for (network, trusted, expected) in [
        ("network2", false, 1),
        ("network3", false, 0),
        ("network3", true, 1),
        ("network1", false, 0),
        ("network1", true, 1),
    ] {
        let rules = Rules {
            same_network: trusted.then(|| "eu".into()).into_iter().collect(),
            ..Rules::default()
        };
        let mut stage = Stage::with(rules)
            .apply("eu", &system_namespace("network2"))
            .apply(
                "eu",
                &GATEWAY.replace("network: network2", &format!("network: {network}")),
            );
        assert_eq!(
            stage.gateways(network).len(),
            expected,
            "{network} trusted: {trusted}"
        );
    }
    // Our own cluster may speak for any.
    let mut stage = Stage::new().apply(
        "us",
        &GATEWAY.replace("network: network2", "network: network3"),
    );
    assert_eq!(stage.gateways("network3"), ["203.0.113.2:15443"]);
    // Claiming our network does not make it a cluster's own.
    let mut stage = Stage::new()
        .apply("eu", &system_namespace("network1"))
        .apply(
            "eu",
            &GATEWAY.replace("network: network2", "network: network1"),
        );
    assert!(stage.gateways("network1").is_empty());
}

#[test]
fn gateways_serve_their_own_cluster_and_those_that_have_none() {
    let other = GATEWAY.replace("203.0.113.2", "203.0.113.3");
    let mut stage = eu()
        .apply("eu", GATEWAY)
        .apply("eu2", &system_namespace("network2"))
        .apply("eu3", &system_namespace("network2"));
    assert_eq!(
        stage.gateways("network2"),
        ["203.0.113.2:15443"],
        "the only one serves all"
    );
    stage.put("eu2", &other);
    let both = ["203.0.113.2:15443 eu,eu3", "203.0.113.3:15443 eu2,eu3"];
    assert_eq!(stage.gateways("network2"), both);
    stage.world.remove(&"eu2".into());
    assert_eq!(stage.gateways("network2"), ["203.0.113.2:15443"]);
}

#[test]
fn a_cluster_is_served_too_where_only_its_pods_name_the_network() {
    let pod = "
kind: Pod
metadata: {name: p, namespace: default, labels: {topology.istio.io/network: network2}}
";
    let mut stage = eu()
        .apply("eu", GATEWAY)
        .apply("eu2", &system_namespace("network2"))
        .apply("eu2", &GATEWAY.replace("203.0.113.2", "203.0.113.3"))
        .apply("ap", &system_namespace("network3"))
        .apply("ap", pod);
    let both = ["203.0.113.2:15443 ap,eu", "203.0.113.3:15443 ap,eu2"];
    assert_eq!(stage.gateways("network2"), both);
    stage.delete("ap", Kind::Pod, "default", "p");
    let both = ["203.0.113.2:15443 eu", "203.0.113.3:15443 eu2"];
    assert_eq!(stage.gateways("network2"), both);
}

#[test]
fn a_network_without_a_gateway_is_known_as_such() {
    let mut stage = eu();
    let snapshot = stage.snapshot();
    let network = snapshot.networks.get(&model::NetworkId::from("network2"));
    assert_eq!(network, Some(&model::Network::default()));
    stage.put("eu", &system_namespace("network4"));
    let snapshot = stage.snapshot();
    assert!(
        !snapshot
            .networks
            .contains_key(&model::NetworkId::from("network2"))
    );
}

#[test]
fn pods_are_wanted_where_their_labels_matter() {
    let rule = "
kind: DestinationRule
metadata: {name: hello, namespace: default}
spec: {host: hello, subsets: [{name: v1, labels: {version: v1}}]}
";
    let mut stage = eu()
        .apply("same", &system_namespace("network1"))
        .apply("unknown", &system_namespace("''"));
    let pods = |stage: &Stage, cluster: &str| stage.world.wants(&cluster.into()).pods;
    for (cluster, expected) in [
        ("us", true),
        ("same", true),
        ("unknown", true),
        ("new", true),
        ("eu", false),
    ] {
        assert_eq!(pods(&stage, cluster), expected, "{cluster}");
    }
    stage.put("us", rule);
    assert!(pods(&stage, "eu"), "a subset selects by their labels");
    stage.delete("us", Kind::DestinationRule, "default", "hello");
    assert!(!pods(&stage, "eu"));
}
