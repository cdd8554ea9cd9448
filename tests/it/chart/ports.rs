//! Ports of the Service, of the container and of the Node, where a golden file would not say why.

use serde_json::{Value, json};

use super::{helm, one, release};

/// The ports of the gateway's container, each as (name, number, the Node's).
fn of_container(objects: &[Value], kind: &str) -> Vec<(String, u64, Option<u64>)> {
    let workload = one(objects, kind, "eastwest-gateway");
    let ports = workload["spec"]["template"]["spec"]["containers"][0]["ports"].as_array();
    let ports = ports.expect("ports").iter().map(|port| {
        let name = port["name"].as_str().expect("a name").to_owned();
        let number = port["containerPort"].as_u64().expect("a number");
        (name, number, port["hostPort"].as_u64())
    });
    ports.collect()
}

/// Whatever the Service calls its ports, and by number or name: where it leads, something listens.
#[test]
fn the_containers_ports_have_names_of_their_own() {
    let Some(helm) = helm("ports::the_containers_ports_have_names_of_their_own") else {
        return;
    };
    let port = |name: &str, number: u64, of_node: Option<u64>| (name.to_owned(), number, of_node);
    // Alike in their first 15 letters, and one that is the name of our own.
    let named = "service.ports[0].port=15443,service.ports[0].name=istio-eastwest-tls,\
        service.ports[1].port=15012,service.ports[1].name=istio-eastwest-istiod,\
        service.ports[2].port=15017,service.ports[2].name=stats";
    let usual = [
        port("status-port", 15021, None),
        port("tls", 15443, None),
        port("tls-istiod", 15012, None),
        port("tls-webhook", 15017, None),
        port("stats", 15020, None),
    ];
    for values in [
        "networkGateway=a",
        named,
        "networkGatewayPorts.tls.targetPort=tls",
        "service.ports[0].port=443,service.ports[0].targetPort=tls-istiod",
        "networkGatewayPorts.tls=null,networkGatewayPorts.status-port=null",
    ] {
        let objects = helm.objects(release(&["--set", values]));
        assert_eq!(of_container(&objects, "Deployment"), usual, "{values}");
    }
    let values = "kind=DaemonSet,hostPorts=true,networkGatewayPorts.tls.port=443,\
        networkGatewayPorts.tls.targetPort=tls,networkGatewayPorts.tls-webhook=null,\
        networkGatewayPorts.tls-istiod.targetPort=15021,networkGatewayPorts.status-port.port=8080";
    let objects = helm.objects(release(&["--set", values]));
    let expected = [
        port("status-port", 15021, Some(8080)),
        port("tls", 15443, Some(443)),
        port("stats", 15020, None),
    ];
    assert_eq!(of_container(&objects, "DaemonSet"), expected, "{values}");
    let objects = helm.objects(release(&["--set", "passthrough.enabled=false"]));
    let names = of_container(&objects, "Deployment").into_iter();
    let names: Vec<String> = names.map(|(name, ..)| name).collect();
    assert_eq!(names, ["status-port", "tls", "stats"]);
}

/// The API refuses a Service of another type that has them.
#[test]
fn what_only_a_load_balancer_may_have_stands_on_one_alone() {
    let Some(helm) = helm("ports::what_only_a_load_balancer_may_have_stands_on_one_alone") else {
        return;
    };
    for (type_, class, allocates) in [
        ("LoadBalancer", json!("example.com/lb"), json!(false)),
        ("NodePort", Value::Null, Value::Null),
        ("ClusterIP", Value::Null, Value::Null),
    ] {
        let values = format!(
            "service.type={type_},service.loadBalancerClass=example.com/lb,service.allocateLoadBalancerNodePorts=false"
        );
        let objects = helm.objects(release(&["--set", &values]));
        let spec = &one(&objects, "Service", "eastwest-gateway")["spec"];
        assert_eq!(spec["loadBalancerClass"], class, "{type_}");
        assert_eq!(spec["allocateLoadBalancerNodePorts"], allocates, "{type_}");
    }
}

/// A rule of a NetworkPolicy without ports is one for all of them.
#[test]
fn a_policy_without_public_ports_opens_none() {
    let Some(helm) = helm("ports::a_policy_without_public_ports_opens_none") else {
        return;
    };
    let none = ["status-port", "tls", "tls-istiod", "tls-webhook"]
        .map(|name| format!("networkGatewayPorts.{name}=null"))
        .join(",");
    let values = format!("networkPolicy.enabled=true,service.type=None,{none}");
    let objects = helm.objects(release(&["--set", &values]));
    let rules = &one(&objects, "NetworkPolicy", "eastwest-gateway")["spec"]["ingress"];
    let from = json!([{"namespaceSelector": {}}]);
    let expected = json!([{"from": from, "ports": [{"port": 15020, "protocol": "TCP"}]}]);
    assert_eq!(rules, &expected);
}

/// Whatever of the gateway listens below 1024 needs what the Pod does not have otherwise.
#[test]
fn a_low_port_brings_its_sysctl_whichever_it_is() {
    let Some(helm) = helm("ports::a_low_port_brings_its_sysctl_whichever_it_is") else {
        return;
    };
    for (values, is_low) in [
        ("networkGatewayPorts.status-port.targetPort=80", true),
        ("networkGatewayPorts.tls-istiod.targetPort=999", true),
        ("networkGatewayPorts.status-port.port=80", false),
    ] {
        let objects = helm.objects(release(&["--set", values]));
        let workload = one(&objects, "Deployment", "eastwest-gateway");
        let sysctls = &workload["spec"]["template"]["spec"]["securityContext"]["sysctls"];
        assert_eq!(sysctls.is_array(), is_low, "{values}");
    }
}
