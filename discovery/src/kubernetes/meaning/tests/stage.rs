//! A small stage: our cluster `us` in `network1`, and objects as YAML.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{Health, Hostname, NetworkId, Service, Snapshot, TlsMode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kubernetes::facts::{Change, Fact, Key, Kind, Unreadable};
use crate::kubernetes::meaning::{Me, Rules, World};

/// The host that most tests look at.
pub(super) const HELLO: &str = "hello.default.svc.cluster.local";

/// What exposes everything, as Istio's sample `expose-services.yaml` has it.
pub(super) const EXPOSE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: cross-network-gateway, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers:
    - port: {number: 15443, name: tls, protocol: TLS}
      tls: {mode: AUTO_PASSTHROUGH}
      hosts: ['*.local']
";

/// Service `hello` with one unnamed port.
pub(super) const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: hello, namespace: default}
spec:
  selector: {app: hello}
  ports: [{port: 5000, targetPort: 9898}]
";

/// A Pod with a sidecar.
pub(super) const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: hello-1
  namespace: default
  labels: {app: hello, security.istio.io/tlsMode: istio}
";

/// A slice of `hello` with that Pod.
pub(super) const SLICE: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: hello-abc
  namespace: default
  labels: {kubernetes.io/service-name: hello}
addressType: IPv4
ports: [{port: 9898, protocol: TCP}]
endpoints:
  - addresses: [10.1.0.1]
    conditions: {ready: true, serving: true, terminating: false}
    nodeName: node-1
    targetRef: {kind: Pod, name: hello-1, namespace: default}
";

/// Another cluster's network.
pub(super) fn system_namespace(network: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, labels: {{topology.istio.io/network: {network}}}}}
"
    )
}

/// A node in a zone.
pub(super) fn node(name: &str, region: &str, zone: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{topology.kubernetes.io/region: {region}, topology.kubernetes.io/zone: {zone}}}
"
    )
}

pub(super) fn me() -> Me {
    Me {
        cluster: "us".into(),
        network: "network1".into(),
        labels: [("istio".into(), "eastwestgateway".into())].into(),
        namespace: "istio-system".into(),
        node: "node-1".into(),
    }
}

pub(super) struct Stage {
    pub(super) world: World,
}

impl Stage {
    /// Everything is exposed.
    pub(super) fn new() -> Self {
        Self::with(Rules::default())
    }

    pub(super) fn with(rules: Rules) -> Self {
        Self::of(me(), rules).apply("us", EXPOSE)
    }

    pub(super) fn of(me: Me, rules: Rules) -> Self {
        Self {
            world: World::new(me, rules),
        }
    }

    /// Our cluster with Service, Pod and slice of `hello`.
    pub(super) fn hello(self) -> Self {
        self.apply("us", SERVICE)
            .apply("us", POD)
            .apply("us", SLICE)
    }

    /// Puts objects, with `---` between them.
    pub(super) fn apply(mut self, cluster: &str, yaml: &str) -> Self {
        self.put(cluster, yaml);
        self
    }

    pub(super) fn put(&mut self, cluster: &str, yaml: &str) {
        for read in read_all(yaml) {
            self.world.apply(&cluster.into(), Change::put(read));
        }
    }

    pub(super) fn delete(&mut self, cluster: &str, kind: Kind, namespace: &str, name: &str) {
        let change = Change::Delete(kind, Key::new(namespace, name));
        self.world.apply(&cluster.into(), change);
    }

    /// The snapshot in force after publishing.
    pub(super) fn snapshot(&mut self) -> Arc<Snapshot> {
        self.world.publish();
        self.world.snapshot.clone()
    }

    pub(super) fn service(&mut self, host: &str) -> Option<Arc<Service>> {
        let host = Hostname::parse(host).expect("a host name");
        self.snapshot().service(&host).cloned()
    }

    pub(super) fn hosts(&mut self) -> Vec<String> {
        let snapshot = self.snapshot();
        let hosts = snapshot.services.iter();
        hosts.map(|service| service.host.to_string()).collect()
    }

    /// The endpoints of a host, one line each: address, ports, cluster, network, locality, and what is not usual.
    pub(super) fn endpoints(&mut self, host: &str) -> Vec<String> {
        let Some(service) = self.service(host) else {
            return Vec::new();
        };
        let line = |endpoint: &model::Endpoint| {
            let origin = &endpoint.origin;
            let mut line = format!("{} {} {}", endpoint.address, origin.cluster, origin.network);
            if origin.locality != model::Locality::default() {
                line += &format!(" {}", origin.locality);
            }
            match endpoint.health {
                Health::Healthy => {}
                Health::Degraded => line += " degraded",
                Health::Unhealthy => line += " unhealthy",
                Health::Terminating => line += " terminating",
            }
            if endpoint.tls == TlsMode::Disabled {
                line += " plain";
            }
            line
        };
        service.endpoints.iter().map(line).collect()
    }

    /// The gateways of a network, one line each.
    pub(super) fn gateways(&mut self, network: &str) -> Vec<String> {
        let snapshot = self.snapshot();
        let Some(network) = snapshot.networks.get(&NetworkId::from(network)) else {
            return Vec::new();
        };
        let line = |gateway: &model::Gateway| {
            let clusters = gateway.clusters.iter();
            let clusters: Vec<&str> = clusters.map(|cluster| cluster.as_str()).collect();
            let name = gateway.name.as_deref().unwrap_or_default();
            format!("{} {name} {}", gateway.address, clusters.join(","))
                .trim_end()
                .replace("  ", " ")
        };
        network.gateways.iter().map(line).collect()
    }

    /// The findings, one line each: kind, cluster, subject, count.
    pub(super) fn findings(&mut self) -> Vec<String> {
        self.snapshot();
        let findings = self.world.findings();
        let line = |one: &crate::kubernetes::meaning::Finding| {
            format!("{} {} {} {}", one.kind, one.cluster, one.subject, one.count)
        };
        findings.iter().map(line).collect()
    }
}

/// Reads objects as the watches do.
pub(super) fn read_all(yaml: &str) -> Vec<Result<Fact, Unreadable>> {
    let documents = yaml.split("\n---\n");
    documents
        .filter(|text| !text.trim().is_empty())
        .map(read)
        .collect()
}

fn read(yaml: &str) -> Result<Fact, Unreadable> {
    let object: Value = serde_saphyr::from_str(yaml).expect("YAML");
    let metadata: ObjectMeta = part(object["metadata"].clone());
    match object["kind"].as_str().expect("a kind") {
        "Service" => Fact::service(&part(object)),
        "EndpointSlice" => Fact::slice(&part(object)),
        "Pod" => Fact::pod(&metadata),
        "Node" if object.get("status").is_some() => Fact::whole_node(&part(object)),
        "Node" => Fact::node(&metadata),
        "Namespace" => Fact::namespace(&metadata),
        "Gateway" => Fact::istio(Kind::Gateway, &metadata, &object),
        "DestinationRule" => Fact::istio(Kind::DestinationRule, &metadata, &object),
        "ServiceEntry" => Fact::istio(Kind::ServiceEntry, &metadata, &object),
        "VirtualService" => Fact::istio(Kind::VirtualService, &metadata, &object),
        other => panic!("the stage knows no {other}"),
    }
}

fn part<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of that kind")
}
