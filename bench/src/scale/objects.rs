//! The objects of a measurement, written as an API server writes them, `managedFields` included. It must not keep any.

use std::fmt::Write;
use std::net::Ipv4Addr;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::shape::Shape;

/// The service port, and the port of every endpoint.
pub(super) const PORT: u16 = 5000;

/// Where a cluster's API is, before its number.
const SERVER: &str = "https://cluster-";

/// A list of an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    Services,
    Slices,
    Pods,
    Nodes,
    Namespaces,
    Gateways,
    Secrets,
}

impl List {
    /// The list of a path without its query.
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/api/v1/services" => Self::Services,
            "/apis/discovery.k8s.io/v1/endpointslices" => Self::Slices,
            "/api/v1/pods" => Self::Pods,
            "/api/v1/nodes" => Self::Nodes,
            "/api/v1/namespaces" => Self::Namespaces,
            "/apis/networking.istio.io/v1/gateways" => Self::Gateways,
            "/api/v1/namespaces/istio-system/secrets" => Self::Secrets,
            _ => return None,
        })
    }
}

/// The id of a cluster; number 0 is our own.
pub(super) fn cluster(number: usize) -> String {
    format!("cluster-{number}")
}

/// The network of a cluster.
pub(super) fn network(shape: &Shape, cluster: usize) -> String {
    let number = if shape.flat { 0 } else { cluster };
    format!("network-{number}")
}

/// The region of a cluster; its zones are `<region>a` to `<region>c`.
pub(super) fn region(cluster: usize) -> String {
    format!("region-{cluster}")
}

/// The host of a service.
pub(super) fn host(shape: &Shape, service: usize) -> String {
    let namespace = service % shape.namespaces();
    format!("svc-{service}.ns-{namespace}.svc.cluster.local")
}

/// The number of the cluster that a kubeconfig leads to.
pub(super) fn number_of(server: &str) -> Option<usize> {
    server.strip_prefix(SERVER)?.parse().ok()
}

/// How many objects a list of a cluster has. The gateway's Service stands behind the others.
pub(super) fn count(shape: &Shape, cluster: usize, list: List) -> usize {
    let own = cluster == 0;
    match list {
        List::Services => shape.services + 1,
        List::Slices => shape.slices(),
        List::Pods => shape.of_cluster(),
        List::Nodes => shape.nodes(),
        List::Namespaces => shape.namespaces() + 1,
        List::Gateways => usize::from(own),
        List::Secrets if own => shape.clusters - 1,
        List::Secrets => 0,
    }
}

/// One object as JSON. `unready` has a bit for each endpoint of a slice that is not ready.
pub(super) fn object(
    shape: &Shape,
    cluster: usize,
    list: List,
    at: usize,
    unready: u128,
    version: u64,
) -> String {
    let mut out = String::with_capacity(4096);
    let written = match list {
        List::Services if at == shape.services => {
            gateway_service(shape, cluster, version, &mut out)
        }
        List::Services => service(shape, at, version, &mut out),
        List::Slices => slice(shape, cluster, at, unready, version, &mut out),
        List::Pods => pod(shape, cluster, at, version, &mut out),
        List::Nodes => node(cluster, at, version, &mut out),
        List::Namespaces => namespace(shape, cluster, at, version, &mut out),
        List::Gateways => gateway(version, &mut out),
        List::Secrets => secret(at + 1, version, &mut out),
    };
    // Writing to a String cannot fail.
    written.unwrap_or_default();
    out
}

/// The part of all metadata; an object of no namespace has an empty one. Labels and what else follows are left to the caller.
fn metadata(
    kind: &str,
    namespace: &str,
    name: &str,
    version: u64,
    out: &mut String,
) -> std::fmt::Result {
    write!(out, r#"{{"kind":"{kind}","metadata":{{"name":"{name}","#)?;
    if !namespace.is_empty() {
        write!(out, r#""namespace":"{namespace}","#)?;
    }
    write!(
        out,
        r#""uid":"7f6b3c1e-9a52-4d0b-8c57-0123456789ab","resourceVersion":"{version}","generation":1,"creationTimestamp":"2026-11-01T09:00:00Z""#
    )
}

/// Which part of an object is whose: what the API server keeps for server-side apply, and sends with every object.
fn managed_fields(manager: &str, fields: &str, out: &mut String) -> std::fmt::Result {
    write!(
        out,
        r#","managedFields":[{{"manager":"{manager}","operation":"Update","apiVersion":"v1","time":"2026-11-01T09:00:00Z","fieldsType":"FieldsV1","fieldsV1":{fields}}}]"#
    )
}

fn service(shape: &Shape, at: usize, version: u64, out: &mut String) -> std::fmt::Result {
    let namespace = format!("ns-{}", at % shape.namespaces());
    metadata("Service", &namespace, &format!("svc-{at}"), version, out)?;
    write!(out, r#","labels":{{"app":"svc-{at}"}}"#)?;
    managed_fields(
        "kubectl-client-side-apply",
        r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:internalTrafficPolicy":{},"f:ports":{".":{},"k:{\"port\":5000,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}},"f:selector":{},"f:sessionAffinity":{},"f:type":{}}}"#,
        out,
    )?;
    write!(
        out,
        r#"}},"spec":{{"ports":[{{"name":"http","protocol":"TCP","port":{PORT},"targetPort":{PORT}}}],"selector":{{"app":"svc-{at}"}},"clusterIP":"172.20.0.1","clusterIPs":["172.20.0.1"],"type":"ClusterIP","sessionAffinity":"None","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster"}},"status":{{"loadBalancer":{{}}}}}}"#
    )
}

/// What other clusters enter this one's network through. In one network nobody needs it.
fn gateway_service(
    shape: &Shape,
    cluster: usize,
    version: u64,
    out: &mut String,
) -> std::fmt::Result {
    metadata("Service", "istio-system", "eastwest", version, out)?;
    let network = network(shape, cluster);
    let address = Ipv4Addr::new(203, 0, 113, u8::try_from(cluster % 250 + 1).unwrap_or(1));
    write!(
        out,
        r#","labels":{{"topology.istio.io/network":"{network}"}}}},"spec":{{"ports":[{{"name":"tls","protocol":"TCP","port":15443,"targetPort":15443}}],"type":"LoadBalancer"}},"status":{{"loadBalancer":{{"ingress":[{{"ip":"{address}"}}]}}}}}}"#
    )
}

fn slice(
    shape: &Shape,
    cluster: usize,
    at: usize,
    unready: u128,
    version: u64,
    out: &mut String,
) -> std::fmt::Result {
    let (service, endpoints) = shape.slice(at);
    let namespace = format!("ns-{}", service % shape.namespaces());
    metadata(
        "EndpointSlice",
        &namespace,
        &format!("svc-{service}-{at:05}"),
        version,
        out,
    )?;
    write!(
        out,
        r#","labels":{{"app":"svc-{service}","endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"svc-{service}"}},"ownerReferences":[{{"apiVersion":"v1","kind":"Service","name":"svc-{service}","uid":"1d5e2f3a-0000-4000-8000-0123456789ab","controller":true,"blockOwnerDeletion":true}}]"#
    )?;
    managed_fields(
        "kube-controller-manager",
        r#"{"f:addressType":{},"f:endpoints":{},"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:endpointslice.kubernetes.io/managed-by":{},"f:kubernetes.io/service-name":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"1d5e2f3a-0000-4000-8000-0123456789ab\"}":{}}},"f:ports":{}}"#,
        out,
    )?;
    out.push_str(r#"},"addressType":"IPv4","endpoints":["#);
    for (bit, endpoint) in endpoints.enumerate() {
        if bit > 0 {
            out.push(',');
        }
        let ready = unready & (1 << bit) == 0;
        let (address, node) = (address(shape, cluster, endpoint), endpoint % shape.nodes());
        let zone = zone(cluster, node);
        write!(
            out,
            r#"{{"addresses":["{address}"],"conditions":{{"ready":{ready},"serving":{ready},"terminating":false}},"targetRef":{{"kind":"Pod","namespace":"{namespace}","name":"svc-{service}-6d5f7c9b84-{endpoint:05}","uid":"5b0c8a1e-9a52-4d0b-8c57-0123456789ab"}},"nodeName":"node-{node}","zone":"{zone}"}}"#
        )?;
    }
    write!(
        out,
        r#"],"ports":[{{"name":"http","port":{PORT},"protocol":"TCP"}}]}}"#
    )
}

fn pod(
    shape: &Shape,
    cluster: usize,
    endpoint: usize,
    version: u64,
    out: &mut String,
) -> std::fmt::Result {
    let service = endpoint / shape.endpoints;
    let namespace = format!("ns-{}", service % shape.namespaces());
    let name = format!("svc-{service}-6d5f7c9b84-{endpoint:05}");
    metadata("PartialObjectMetadata", &namespace, &name, version, out)?;
    let network = network(shape, cluster);
    write!(
        out,
        r#","generateName":"svc-{service}-6d5f7c9b84-","labels":{{"app":"svc-{service}","pod-template-hash":"6d5f7c9b84","security.istio.io/tlsMode":"istio","service.istio.io/canonical-name":"svc-{service}","service.istio.io/canonical-revision":"v1","topology.istio.io/network":"{network}","version":"v1"}},"annotations":{{"istio.io/rev":"default","kubectl.kubernetes.io/default-container":"app","prometheus.io/path":"/stats/prometheus","prometheus.io/port":"15020","prometheus.io/scrape":"true"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"svc-{service}-6d5f7c9b84","uid":"1d5e2f3a-0000-4000-8000-0123456789ab","controller":true,"blockOwnerDeletion":true}}]"#
    )?;
    managed_fields(
        "kubelet",
        r#"{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}"#,
        out,
    )?;
    out.push_str("}}");
    Ok(())
}

fn node(cluster: usize, at: usize, version: u64, out: &mut String) -> std::fmt::Result {
    metadata(
        "PartialObjectMetadata",
        "",
        &format!("node-{at}"),
        version,
        out,
    )?;
    let (region, zone) = (region(cluster), zone(cluster, at));
    write!(
        out,
        r#","labels":{{"kubernetes.io/hostname":"node-{at}","kubernetes.io/os":"linux","topology.kubernetes.io/region":"{region}","topology.kubernetes.io/zone":"{zone}"}}}}}}"#
    )
}

/// The last one is Istio's, which names the network.
fn namespace(
    shape: &Shape,
    cluster: usize,
    at: usize,
    version: u64,
    out: &mut String,
) -> std::fmt::Result {
    if at < shape.namespaces() {
        metadata(
            "PartialObjectMetadata",
            "",
            &format!("ns-{at}"),
            version,
            out,
        )?;
        out.push_str(r#","labels":{"istio-injection":"enabled"}}}"#);
        return Ok(());
    }
    metadata("PartialObjectMetadata", "", "istio-system", version, out)?;
    let network = network(shape, cluster);
    write!(
        out,
        r#","labels":{{"topology.istio.io/network":"{network}"}}}}}}"#
    )
}

/// What exposes every service, as Istio's sample `expose-services.yaml` has it.
fn gateway(version: u64, out: &mut String) -> std::fmt::Result {
    metadata(
        "Gateway",
        "istio-system",
        "cross-network-gateway",
        version,
        out,
    )?;
    out.push_str(
        r#"},"apiVersion":"networking.istio.io/v1","spec":{"selector":{"istio":"eastwestgateway"},"servers":[{"port":{"number":15443,"name":"tls","protocol":"TLS"},"tls":{"mode":"AUTO_PASSTHROUGH"},"hosts":["*.local"]}]}}"#,
    );
    Ok(())
}

/// The remote Secret of a cluster, as `causeway create-remote-secret` writes it.
fn secret(number: usize, version: u64, out: &mut String) -> std::fmt::Result {
    let id = cluster(number);
    let kubeconfig = format!(
        r#"{{"apiVersion":"v1","kind":"Config","clusters":[{{"name":"{id}","cluster":{{"server":"{SERVER}{number}"}}}}],"users":[{{"name":"{id}","user":{{"token":"synthetic"}}}}],"contexts":[{{"name":"{id}","context":{{"cluster":"{id}","user":"{id}"}}}}],"current-context":"{id}"}}"#
    );
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(format!("istio-remote-secret-{id}")),
            namespace: Some("istio-system".into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        },
        data: Some([(id, ByteString(kubeconfig.into_bytes()))].into()),
        ..Secret::default()
    };
    out.push_str(&serde_json::to_string(&secret).map_err(|_| std::fmt::Error)?);
    Ok(())
}

/// Addresses of all clusters differ, so that one network can hold them all.
fn address(shape: &Shape, cluster: usize, endpoint: usize) -> Ipv4Addr {
    let number = cluster * shape.of_cluster() + endpoint + 1;
    Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).unwrap_or(u32::MAX >> 8))
}

fn zone(cluster: usize, node: usize) -> String {
    let letter = ["a", "b", "c"][node % 3];
    format!("{}{letter}", region(cluster))
}
