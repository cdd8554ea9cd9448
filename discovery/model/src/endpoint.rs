//! One address of a service and what is known of it. Nothing here changes by itself: open connections and ejections live
//! with whoever dials.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, Keyed, Locality, NetworkId};

/// Service-port name -> port of the endpoint; shared by the endpoints that agree on it.
pub type PortMap = BTreeMap<Arc<str>, u16>;

/// Label -> value; shared by the endpoints that agree on it.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// One address of a service. 48 bytes: what endpoints have in common is shared behind the `Arc`s, so that a million of
/// them fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it listens, in its own network.
    pub address: IpAddr,
    /// Relative capacity, at least 1.
    pub weight: u32,
    /// What its API server says of it.
    pub health: Health,
    /// Whether it speaks the mesh's mutual TLS.
    pub tls: TlsMode,
    /// Its port for each service-port *name*; a name that is missing here cannot be reached on this endpoint.
    pub ports: Arc<PortMap>,
    /// Pod labels, as far as subsets and `failoverPriority` need them.
    pub labels: Arc<Labels>,
    /// Where it runs and who runs there.
    pub origin: Arc<Origin>,
}

/// Where endpoints run and who runs there; shared by all endpoints of a workload in a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The cluster whose API server lists the endpoint.
    pub cluster: ClusterId,
    /// The network its address belongs to; empty: not known, and then it is ours only if its cluster is.
    pub network: NetworkId,
    /// Region, zone, subzone.
    pub locality: Locality,
    /// Who runs there, for metrics; empty fields are unknown.
    pub workload: Workload,
}

/// Who runs at an endpoint, in the words of Istio's telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Workload {
    /// Namespace of the workload.
    pub namespace: Arc<str>,
    /// Name of the workload (a Deployment's, for instance).
    pub name: Arc<str>,
    /// `service.istio.io/canonical-name`.
    pub canonical_name: Arc<str>,
    /// `service.istio.io/canonical-revision`.
    pub canonical_revision: Arc<str>,
}

/// What an endpoint's API server (or another source) says of it; dials and probes have their own opinion elsewhere.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Ready.
    #[default]
    Healthy,
    /// Works, but only to be used when too few healthy ones are left (Envoy's DEGRADED).
    Degraded,
    /// Not ready: never picked, but part of the total that healthy ones are compared with.
    Unhealthy,
    /// Shutting down: neither picked nor part of the total.
    Terminating,
}

/// How an endpoint expects to be spoken to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// The mesh's mutual TLS (pod label `security.istio.io/tlsMode: istio`).
    #[default]
    Istio,
    /// Anything else; mesh listeners never use it.
    Disabled,
}

/// What an endpoint or a gateway is known by while it is in use: the address that is dialled. Every dialled address is in
/// our own network or a gateway's, so it is unambiguous where overlapping networks are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointKey(pub SocketAddr);

impl Endpoint {
    /// Whether it may be picked as far as its API server says.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.health, Health::Healthy | Health::Degraded)
    }

    /// Where to dial it for the service port of this name; `None` if it does not serve that port.
    #[must_use]
    pub fn dial_key(&self, port_name: &str) -> Option<EndpointKey> {
        let port = *self.ports.get(port_name)?;
        Some(EndpointKey(SocketAddr::new(self.address, port)))
    }
}

impl Keyed for Endpoint {
    /// Endpoints of one place stand together, so that a chunk seldom mixes tiers.
    fn cmp_key(&self, other: &Self) -> Ordering {
        fn key(e: &Endpoint) -> (&NetworkId, &Locality, &ClusterId, IpAddr, &PortMap) {
            let Origin {
                cluster,
                network,
                locality,
                ..
            } = &*e.origin;
            (network, locality, cluster, e.address, &e.ports)
        }
        key(self).cmp(&key(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million endpoints are 48 MB; a field that grows this needs a better place.
    #[test]
    fn an_endpoint_has_48_bytes() {
        assert_eq!(std::mem::size_of::<Endpoint>(), 48);
    }
}
