//! The form that facts have on disk. With another one gateways of two versions would misread each other's files.

use serde_json::{Value, json};

use super::stage::read_all;
use crate::kubernetes::disk::VERSION;
use crate::kubernetes::facts::{Fact, Key, Kind, NodeDetails, NodeFact};

/// One object of each kind, or two where fields exclude each other, with everything that is kept of them.
const OBJECTS: &str = "
kind: Service
metadata:
  name: gw
  namespace: istio-system
  labels: {topology.istio.io/network: network2}
  annotations:
    networking.istio.io/exportTo: '*'
    networking.istio.io/traffic-distribution: PreferClose
    traffic.istio.io/nodeSelector: '{\"pool\": \"edge\"}'
spec:
  type: NodePort
  internalTrafficPolicy: Local
  ipFamilies: [IPv4]
  ports: [{name: tls, port: 15443, nodePort: 30443}, {name: dns, port: 53, protocol: UDP}]
---
kind: Service
metadata: {name: lb, namespace: istio-system, labels: {topology.istio.io/network: network2}}
spec: {type: LoadBalancer, externalIPs: [198.51.100.1], ports: [{name: tls, port: 15443}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {hostname: lb.example.com}]}}
---
kind: EndpointSlice
metadata: {name: s-1, namespace: default, labels: {kubernetes.io/service-name: s}}
addressType: IPv6
ports: [{name: http, port: 8080}]
endpoints:
  - {addresses: ['2001:db8::1'], conditions: {ready: true}, nodeName: n1, targetRef: {kind: Pod, name: p1}}
  - {addresses: ['2001:db8::2'], conditions: {ready: false}}
  - {addresses: ['2001:db8::3'], conditions: {ready: false, serving: true, terminating: true}}
---
kind: Pod
metadata: {name: p1, namespace: default, labels: {app: s}}
---
kind: Node
metadata:
  name: n1
  labels: {topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z, kubernetes.io/hostname: h}
---
kind: Namespace
metadata:
  name: default
  labels: {topology.istio.io/network: network2}
  annotations: {networking.istio.io/traffic-distribution: Any}
---
kind: Gateway
metadata: {name: g, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers:
    - {port: {number: 15443}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ['*.local']}
    - {port: {number: 15012}, tls: {mode: PASSTHROUGH}, hosts: ['*']}
---
kind: DestinationRule
metadata: {name: d, namespace: default, creationTimestamp: '2026-01-02T03:04:05Z'}
spec:
  host: s
  exportTo: ['.']
  workloadSelector: {matchLabels: {app: c}}
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
      warmup: {duration: 10s}
      localityLbSetting: {distribute: [{from: r/*, to: {r/z/*: 80, q/*: 20}}]}
    connectionPool: {tcp: {maxConnections: 7, connectTimeout: 3s}}
    outlierDetection: {consecutive5xxErrors: 5, interval: 5s, baseEjectionTime: 30s, maxEjectionPercent: 50}
    tls: {mode: ISTIO_MUTUAL}
    portLevelSettings: [{port: {number: 80}, loadBalancer: {consistentHash: {useSourceIp: true}}}]
  subsets:
    - name: v1
      labels: {version: v1}
      trafficPolicy:
        loadBalancer: {localityLbSetting: {failover: [{from: r, to: q}], failoverPriority: [app]}}
---
kind: ServiceEntry
metadata: {name: e, namespace: default}
spec:
  hosts: [e.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  exportTo: ['*']
  ports: [{number: 80, name: http, targetPort: 8080}]
  endpoints:
    - {address: 192.0.2.1, ports: {http: 81}, labels: {app: e}, network: n2, locality: r/z, weight: 3, serviceAccount: a}
---
kind: ServiceEntry
metadata: {name: f, namespace: default}
spec:
  hosts: [f.example.com]
  location: MESH_INTERNAL
  resolution: DNS
  ports: [{number: 80, name: http}]
  endpoints: [{address: x.example.com}]
---
kind: VirtualService
metadata: {name: v, namespace: default}
spec:
  hosts: [x.example]
  gateways: [g]
  exportTo: ['.']
  tls:
    - match: [{sniHosts: [x.example], port: 443, gateways: [g]}]
      route: [{destination: {host: s, port: {number: 80}, subset: v1}, weight: 100}]
";

#[test]
fn the_form_of_this_version_is_what_it_was() {
    let form: Value = serde_json::from_str(include_str!("version-1.json")).expect("JSON");
    let read = read_all(OBJECTS).into_iter();
    let mut facts: Vec<Fact> = read.map(|read| read.expect("readable")).collect();
    // As where a NodePort gateway is declared.
    let whole = NodeFact {
        key: Key::new("", "n2"),
        locality: "r/z/s".into(),
        hostname: "h2".into(),
        details: Some(Box::new(NodeDetails {
            labels: [("pool".into(), "edge".into())].into(),
            external: vec!["192.0.2.2".parse().expect("an address")],
        })),
    };
    facts.push(Fact::Node(whole));
    let all = [
        Kind::Service,
        Kind::Slice,
        Kind::Pod,
        Kind::Node,
        Kind::Namespace,
    ];
    for kind in all.into_iter().chain(Kind::ISTIO) {
        assert!(facts.iter().any(|fact| fact.kind() == kind), "{kind}");
    }
    assert_eq!(VERSION, 1, "keep a file beside this one for each version");
    let found = json!(facts);
    assert_eq!(
        found, form,
        "the form has changed, so the version must: {found:#}"
    );
    let back: Vec<Fact> = serde_json::from_value(form).expect("facts");
    assert_eq!(back, facts);
}
