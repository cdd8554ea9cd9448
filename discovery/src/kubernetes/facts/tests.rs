//! What is read of objects, and what is said of those that cannot be read.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::entry::EntryAddress;
use super::{Fact, Kind};

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some("n".into()),
        namespace: Some("ns".into()),
        ..ObjectMeta::default()
    }
}

/// Reads one of Istio's kinds; the error as text.
fn istio(kind: Kind, spec: Value) -> Result<Fact, String> {
    let object = json!({ "spec": spec });
    Fact::istio(kind, &metadata(), &object)
        .map_err(|fault| format!("{}: {}", fault.field, fault.why))
}

#[test]
fn what_cannot_be_read_names_the_field() {
    use Kind::{DestinationRule, Gateway, ServiceEntry, VirtualService};
    for (kind, spec, expected) in [
        (
            Gateway,
            json!({"servers": 7}),
            "spec.servers: this is no list",
        ),
        (
            Gateway,
            json!({"servers": [{"tls": {"mode": 7}}]}),
            "spec.servers[0].tls.mode: this is no string",
        ),
        (
            Gateway,
            json!({"servers": [{"tls": {"mode": "AUTO_PASSTHROUGH"}}]}),
            "spec.servers[0].port.number: a server has a port",
        ),
        (
            Gateway,
            json!({"servers": [{"port": {"number": 70000}, "tls": {"mode": "PASSTHROUGH"}}]}),
            "spec.servers[0].port.number: 70000 is no number that is possible here",
        ),
        (
            Gateway,
            json!({"selector": ["a"]}),
            "spec.selector: this is no map",
        ),
        (
            Gateway,
            json!({"selector": {"a": 1}}),
            "spec.selector.a: this is no string",
        ),
        (DestinationRule, json!({}), "spec.host: a rule has a host"),
        (
            DestinationRule,
            json!({"host": "h", "subsets": [{}]}),
            "spec.subsets[0].name: a subset has a name",
        ),
        (
            DestinationRule,
            json!({"host": "h", "trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": "soon"}}}}),
            "spec.trafficPolicy.connectionPool.tcp.connectTimeout: 'soon' is no duration, such as 10s or 1m30s",
        ),
        (
            DestinationRule,
            json!({"host": "h", "trafficPolicy": {"portLevelSettings": [{}]}}),
            "spec.trafficPolicy.portLevelSettings[0].port.number: settings of a port name the port",
        ),
        (
            DestinationRule,
            json!({"host": "h", "trafficPolicy": {"loadBalancer": {"localityLbSetting": {"enabled": "no"}}}}),
            "spec.trafficPolicy.loadBalancer.localityLbSetting.enabled: this is neither true nor false",
        ),
        (
            ServiceEntry,
            json!({"hosts": ["a b"]}),
            "spec.hosts: 'a b' is not a host name: only letters, digits, '-', '_' and '.' are allowed",
        ),
        (
            ServiceEntry,
            json!({"hosts": ["a"], "ports": [{}]}),
            "spec.ports[0].number: a port has a number",
        ),
        (
            ServiceEntry,
            json!({"hosts": ["a"], "endpoints": [{}]}),
            "spec.endpoints[0].address: an endpoint has an address",
        ),
        (
            VirtualService,
            json!({"tls": [{"route": [{}]}]}),
            "spec.tls[0].route[0].destination.host: a destination has a host",
        ),
        (
            Kind::Pod,
            json!({}),
            "kind: this is none of Istio's resources",
        ),
    ] {
        assert_eq!(
            istio(kind, spec.clone()),
            Err(expected.to_owned()),
            "{spec}"
        );
    }
}

#[test]
fn an_object_without_a_name_is_refused() {
    let fault = Fact::pod(&ObjectMeta::default()).expect_err("no name");
    assert_eq!(
        (fault.kind, fault.field.as_str()),
        (Kind::Pod, "metadata.name")
    );
}

#[test]
fn a_services_bad_port_or_address_is_refused() {
    for (service, expected) in [
        (
            json!({"spec": {"ports": [{"port": 0}]}}),
            "spec.ports[0].port: 0 is no port",
        ),
        (
            json!({"spec": {"ports": [{"port": 80}, {"port": -1}]}}),
            "spec.ports[1].port: -1 is no port",
        ),
        (
            json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 15443}]}, "status": {"loadBalancer": {"ingress": [{"ip": "here"}]}}}),
            "status.loadBalancer.ingress[0].ip: 'here' is no IP address",
        ),
        (
            json!({"spec": {"ports": [{"port": 15443}], "externalIPs": ["10.0.0.1", "x"]}}),
            "spec.externalIPs[1]: 'x' is no IP address",
        ),
    ] {
        let mut service = service;
        service["metadata"] =
            json!({"name": "n", "namespace": "ns", "labels": {"topology.istio.io/network": "n1"}});
        let object = serde_json::from_value(service).expect("a Service");
        let fault = Fact::service(&object).expect_err("a bad field");
        assert_eq!(format!("{}: {}", fault.field, fault.why), expected);
        assert!(fault.to_string().starts_with("Service ns/n: "), "{fault}");
    }
}

/// An IPv4 address is the same, and so is its endpoint, when it is written as an IPv6 socket says it (RFC 4291 section 2.5.5.2).
#[test]
fn an_address_is_read_as_it_is_dialled() {
    let address = IpAddr::from([10, 0, 0, 1]);
    let slice = json!({
        "metadata": {"name": "n", "namespace": "ns", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv6",
        "endpoints": [{"addresses": ["::ffff:10.0.0.1"]}],
    });
    let object = serde_json::from_value(slice).expect("a slice");
    let Ok(Fact::Slice(slice)) = Fact::slice(&object) else {
        panic!("no slice");
    };
    assert_eq!(slice.endpoints[0].address, address);
    let spec = json!({"hosts": ["a.example"], "endpoints": [{"address": "::ffff:10.0.0.1"}]});
    let Ok(Fact::ServiceEntry(entry)) = istio(Kind::ServiceEntry, spec) else {
        panic!("no entry");
    };
    assert_eq!(entry.endpoints[0].address, EntryAddress::Ip(address));
}

/// A value of any shape in any place is read or refused; the process lives on.
#[test]
fn no_shape_of_a_spec_is_too_strange() {
    let specs = [
        json!({"servers": [{"port": {"number": 15443}, "tls": {"mode": "PASSTHROUGH"}, "hosts": ["*", "a/b", "/", ""]}], "selector": {"a": "b"}}),
        json!({"host": "h", "exportTo": ["*"], "workloadSelector": {"matchLabels": {"a": "b"}}, "trafficPolicy": {
            "loadBalancer": {"simple": "RANDOM", "consistentHash": {"useSourceIp": true}, "warmup": {"duration": "1s"},
                "localityLbSetting": {"enabled": true, "failover": [{"from": "a", "to": "b"}], "failoverPriority": ["x"],
                    "distribute": [{"from": "a", "to": {"b": 1}}]}},
            "connectionPool": {"tcp": {"maxConnections": 1, "connectTimeout": "1s"}},
            "outlierDetection": {"consecutive5xxErrors": 1, "baseEjectionTime": "1s"},
            "tls": {"mode": "ISTIO_MUTUAL"}, "portLevelSettings": [{"port": {"number": 1}}]},
            "subsets": [{"name": "v", "labels": {"a": "b"}, "trafficPolicy": {}}]}),
        json!({"hosts": ["a"], "location": "MESH_INTERNAL", "resolution": "DNS", "exportTo": ["."],
            "ports": [{"number": 1, "name": "a", "protocol": "TCP", "targetPort": 2}],
            "endpoints": [{"address": "a", "ports": {"a": 1}, "labels": {"a": "b"}, "network": "n", "locality": "l", "weight": 1, "serviceAccount": "s"}]}),
        json!({"hosts": ["a"], "gateways": ["g"], "exportTo": ["."], "tls": [{"match": [{"sniHosts": ["a"], "port": 1, "gateways": ["g"]}],
            "route": [{"destination": {"host": "h", "subset": "s", "port": {"number": 1}}, "weight": 1}]}]}),
    ];
    let odd = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("*"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": null}),
        json!(true),
    ];
    let mut refused = 0;
    for (kind, spec) in Kind::ISTIO.into_iter().zip(&specs) {
        assert!(istio(kind, spec.clone()).is_ok(), "{kind}");
        for pointer in pointers(spec, "") {
            for odd in &odd {
                let mut spec = spec.clone();
                *spec.pointer_mut(&pointer).expect("a place in it") = odd.clone();
                refused += usize::from(istio(kind, spec).is_err());
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

/// Every place in a value.
fn pointers(value: &Value, path: &str) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let mut all = vec![path.to_owned()];
    for (key, child) in children {
        all.extend(pointers(child, &format!("{path}/{key}")));
    }
    all
}
