//! Nodes and Namespaces -> what is kept of them: where things are.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{Labels, Locality, NetworkId, TrafficDistribution};
use serde::{Deserialize, Serialize};

use super::Key;
use super::pod::labels;
use super::service::{TRAFFIC_DISTRIBUTION, traffic_distribution};

/// What is kept of a Node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeFact {
    /// Which one; its namespace is empty.
    pub key: Key,
    /// By its topology labels; parts that they do not say are empty.
    pub locality: Locality,
    /// Label `kubernetes.io/hostname`; where there is none, the Node's name.
    pub hostname: Arc<str>,
    /// Only of Nodes that were read in full.
    pub details: Option<Box<NodeDetails>>,
}

/// What a NodePort gateway needs to know of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDetails {
    /// All its labels.
    pub labels: Labels,
    /// Its addresses of type ExternalIP.
    pub external: Vec<IpAddr>,
}

/// What is kept of a Namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamespaceFact {
    /// Which one; its own namespace is empty.
    pub key: Key,
    /// Label `topology.istio.io/network`; on the system namespace it names the cluster's network.
    pub network: NetworkId,
    /// For the Services in it that say nothing themselves.
    pub traffic_distribution: Option<TrafficDistribution>,
}

/// The label of nodes, and its name before Kubernetes 1.17, for region and zone (subzones are Istio's own).
const REGION: [&str; 2] = [
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
];
const ZONE: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];
const SUBZONE: [&str; 1] = ["topology.istio.io/subzone"];

pub(super) fn node(metadata: &ObjectMeta) -> NodeFact {
    let key = Key::of(metadata);
    let label = |name: &str| metadata.labels.as_ref().and_then(|all| all.get(name));
    let first = |names: &[&str]| -> Arc<str> {
        let found = names
            .iter()
            .filter_map(|name| label(name))
            .find(|value| !value.is_empty());
        found.map_or_else(Arc::default, |value| value.as_str().into())
    };
    NodeFact {
        locality: Locality {
            region: first(&REGION),
            zone: first(&ZONE),
            subzone: first(&SUBZONE),
        },
        hostname: label("kubernetes.io/hostname")
            .map_or_else(|| key.name.clone(), |name| name.as_str().into()),
        details: None,
        key,
    }
}

pub(super) fn whole_node(object: &Node) -> NodeFact {
    let addresses = object
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten());
    let external = addresses
        .filter(|address| address.type_ == "ExternalIP")
        .filter_map(|address| address.address.parse().ok())
        .map(|ip: IpAddr| ip.to_canonical());
    NodeFact {
        details: Some(Box::new(NodeDetails {
            labels: labels(&object.metadata),
            external: external.collect(),
        })),
        ..node(&object.metadata)
    }
}

pub(super) fn namespace(metadata: &ObjectMeta) -> NamespaceFact {
    let label = metadata
        .labels
        .as_ref()
        .and_then(|all| all.get("topology.istio.io/network"));
    let annotation = metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(TRAFFIC_DISTRIBUTION));
    NamespaceFact {
        key: Key::of(metadata),
        network: label.map_or_else(NetworkId::default, |name| name.as_str().into()),
        traffic_distribution: annotation.and_then(|name| traffic_distribution(name)),
    }
}
