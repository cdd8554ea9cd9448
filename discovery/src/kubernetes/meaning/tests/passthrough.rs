//! Plain names: PASSTHROUGH Gateways with VirtualServices.

use super::stage::{EXPOSE, POD, SERVICE, SLICE, Stage, me};
use crate::kubernetes::meaning::{Mtls, Rules};

/// As Istio's sample `expose-istiod.yaml` has it.
const EXPOSE_ISTIOD: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istiod-gateway, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers:
    - {port: {name: tls-istiod, number: 15012, protocol: tls}, tls: {mode: PASSTHROUGH}, hosts: ['*']}
    - {port: {name: tls-istiodwebhook, number: 15017, protocol: tls}, tls: {mode: PASSTHROUGH}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: istiod-vs, namespace: istio-system}
spec:
  hosts: ['*']
  gateways: [istiod-gateway]
  tls:
    - match: [{port: 15012, sniHosts: ['*']}]
      route: [{destination: {host: istiod.istio-system.svc.cluster.local, port: {number: 15012}}}]
    - match: [{port: 15017, sniHosts: ['*']}]
      route: [{destination: {host: istiod.istio-system.svc.cluster.local, port: {number: 443}}}]
";

/// A Gateway for plain names and a VirtualService bound to it.
const PLAIN: &str = "
kind: Gateway
metadata: {name: plain, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers: [{port: {number: 8443}, tls: {mode: PASSTHROUGH}, hosts: ['*.example']}]
---
kind: VirtualService
metadata: {name: routes, namespace: default}
spec:
  hosts: ['*.example']
  gateways: [istio-system/plain]
  tls:
    - match: [{sniHosts: [a.example]}]
      route: [{destination: {host: hello}}]
";

fn bare() -> Stage {
    Stage::of(me(), Rules::default())
}

fn routes(stage: &mut Stage) -> Vec<String> {
    let snapshot = stage.snapshot();
    let routes = snapshot.passthrough.iter();
    let line = |route: &model::PassthroughRoute| {
        let to = route.to.iter();
        let to: Vec<String> = to
            .map(|to| {
                format!(
                    "{}:{}{}={}",
                    to.host,
                    to.port,
                    if to.subset.is_empty() {
                        String::new()
                    } else {
                        format!("/{}", to.subset)
                    },
                    to.weight
                )
            })
            .collect();
        format!(
            "{} {} -> {}",
            route.hosts.join(","),
            route.port.unwrap_or(0),
            to.join(" ")
        )
    };
    routes.map(line).collect()
}

#[test]
fn istiod_is_exposed_by_its_sample_and_nothing_else_is() {
    let istiod = |text: &str| {
        text.replace("namespace: default", "namespace: istio-system")
            .replace("name: hello,", "name: istiod,")
            .replace("service-name: hello", "service-name: istiod")
    };
    let rules = Rules {
        mtls: Mtls::All,
        ..Rules::default()
    };
    let mut stage = Stage::of(me(), rules)
        .hello()
        .apply("us", EXPOSE_ISTIOD)
        .apply(
            "us",
            &istiod(SERVICE).replace(
                "{port: 5000, targetPort: 9898}",
                "{name: d, port: 15012}, {name: w, port: 443}",
            ),
        )
        .apply("us", &istiod(SLICE))
        .apply("us", &istiod(POD));
    let host = "istiod.istio-system.svc.cluster.local";
    assert_eq!(
        routes(&mut stage),
        [
            format!("* 15012 -> {host}:15012=1"),
            format!("* 15017 -> {host}:443=1"),
        ]
    );
    assert_eq!(stage.hosts(), [host]);
    assert_eq!(
        stage.endpoints(host),
        ["10.1.0.1 us network1 plain"],
        "no mesh name leads there"
    );
    stage.put("us", EXPOSE);
    assert_eq!(stage.endpoints(host), ["10.1.0.1 us network1"]);
}

#[test]
fn a_route_needs_gateway_host_and_name() {
    let hello = "hello.default.svc.cluster.local:5000";
    for (from, to, expected) in [
        ("", "", vec![format!("a.example 8443 -> {hello}=1")]),
        ("[istio-system/plain]", "[plain]", vec![]),
        ("[istio-system/plain]", "[mesh]", vec![]),
        (
            "[{sniHosts: [a.example]}]",
            "[{sniHosts: [a.example], gateways: [plain]}]",
            vec![],
        ),
        (
            "[{sniHosts: [a.example]}]",
            "[{sniHosts: [A.example, b.example]}]",
            vec![format!("a.example,b.example 8443 -> {hello}=1")],
        ),
        (
            "[{sniHosts: [a.example]}]",
            "[{sniHosts: ['*.example']}]",
            vec![format!("*.example 8443 -> {hello}=1")],
        ),
        (
            "[{sniHosts: [a.example]}]",
            "[{sniHosts: [a.other]}]",
            vec![],
        ),
        (
            "[{sniHosts: [a.example]}]",
            "[{port: 8443, sniHosts: [a.example]}]",
            vec![format!("a.example 8443 -> {hello}=1")],
        ),
        (
            "[{sniHosts: [a.example]}]",
            "[{port: 443, sniHosts: [a.example]}]",
            vec![],
        ),
        (
            "hosts: ['*.example']}]",
            "hosts: ['default/*.example']}]",
            vec![format!("a.example 8443 -> {hello}=1")],
        ),
        (
            "hosts: ['*.example']}]",
            "hosts: ['other/*.example']}]",
            vec![],
        ),
        ("hosts: ['*.example']}]", "hosts: ['./*.example']}]", vec![]),
        (
            "hosts: ['*.example']}]",
            "hosts: ['*/a.example']}]",
            vec![format!("a.example 8443 -> {hello}=1")],
        ),
        ("mode: PASSTHROUGH", "mode: AUTO_PASSTHROUGH", vec![]),
        (
            "selector: {istio: eastwestgateway}",
            "selector: {istio: other}",
            vec![],
        ),
        (
            "gateways: [istio-system/plain]",
            "gateways: [istio-system/plain]\n  exportTo: ['.']",
            vec![],
        ),
        (
            "{host: hello}}",
            "{host: hello, subset: v1, port: {number: 90}}}",
            vec!["a.example 8443 -> hello.default.svc.cluster.local:90/v1=1".to_owned()],
        ),
        (
            "[{destination: {host: hello}}]",
            "[{destination: {host: hello}, weight: 90}, {destination: {host: other.default.svc.cluster.local, port: {number: 7}}, weight: 10}]",
            vec![format!(
                "a.example 8443 -> {hello}=90 other.default.svc.cluster.local:7=10"
            )],
        ),
    ] {
        let mut stage = bare().hello().apply("us", &PLAIN.replace(from, to));
        if from.is_empty() {
            stage = bare().hello().apply("us", PLAIN);
        }
        assert_eq!(routes(&mut stage), expected, "{from} -> {to}");
    }
}

#[test]
fn of_two_routes_for_a_name_the_older_ones_wins() {
    let second = PLAIN
        .split("---\n")
        .nth(1)
        .expect("the VirtualService")
        .replace(
            "name: routes,",
            "name: a-later,  creationTimestamp: '2025-01-01T00:00:00Z',",
        )
        .replace("{host: hello}", "{host: other, port: {number: 1}}")
        .replace("[a.example]", "[a.example, b.example]");
    let mut stage = bare().hello().apply("us", PLAIN).apply("us", &second);
    assert_eq!(
        routes(&mut stage),
        [
            "a.example 8443 -> hello.default.svc.cluster.local:5000=1",
            "b.example 8443 -> other.default.svc.cluster.local:1=1",
        ]
    );
}

#[test]
fn a_target_without_a_port_waits_for_a_service_with_one() {
    let mut stage = bare().apply("us", PLAIN);
    assert_eq!(routes(&mut stage), ["a.example 8443 -> "]);
    assert_eq!(
        stage.findings(),
        ["route_without_service us hello.default.svc.cluster.local 1"]
    );
    stage.put("us", SERVICE);
    assert_eq!(
        routes(&mut stage),
        ["a.example 8443 -> hello.default.svc.cluster.local:5000=1"]
    );
    assert!(stage.findings().is_empty());
    stage.put(
        "us",
        &SERVICE.replace("ports: [", "ports: [{name: b, port: 6000}, "),
    );
    assert_eq!(routes(&mut stage), ["a.example 8443 -> "]);
}
