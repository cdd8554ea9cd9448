//! EndpointSlice -> what is kept of it: the largest part of all facts, so small.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use model::{Health, PortMap, Protocol};
use serde::{Deserialize, Serialize};

use super::Key;
use super::read::Fault;
use super::service::{Family, address, family, port_number, protocol};

/// The label that names a slice's Service.
const SERVICE: &str = "kubernetes.io/service-name";

/// The label of slices that an implementation of the Multi-Cluster Services API copied from other clusters: we read those
/// clusters ourselves.
const COPIED: &str = "multicluster.kubernetes.io/service-name";

/// What is kept of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceFact {
    /// Which one.
    pub key: Key,
    /// The Service it belongs to, of the same namespace; `None`: it counts for nothing (no Service, copied from another
    /// cluster, or names instead of addresses).
    pub service: Option<Arc<str>>,
    /// The family of its addresses.
    pub family: Option<Family>,
    /// Service-port name -> target port.
    pub ports: Arc<PortMap>,
    /// Its endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceEndpoint {
    /// Its first address; consumers are told to use only that (`discovery.k8s.io/v1`, Endpoint.addresses).
    pub address: IpAddr,
    /// By its conditions.
    pub health: Health,
    /// The Pod behind it, of the slice's namespace; empty: none is named.
    pub pod: Arc<str>,
    /// The Node it runs on; empty: not known.
    pub node: Arc<str>,
}

pub(super) fn read(object: &EndpointSlice) -> Result<SliceFact, Fault> {
    let label = |name| {
        object
            .metadata
            .labels
            .as_ref()
            .and_then(|all| all.get(name))
    };
    let family = family(&object.address_type);
    let service = label(SERVICE)
        .filter(|name| !name.is_empty() && family.is_some() && label(COPIED).is_none());
    let mut fact = SliceFact {
        key: Key::of(&object.metadata),
        service: service.map(|name| name.as_str().into()),
        family,
        ports: Arc::default(),
        endpoints: Vec::new(),
    };
    if fact.service.is_none() {
        return Ok(fact);
    }
    let mut ports = PortMap::new();
    for (at, port) in object.ports.iter().flatten().enumerate() {
        // Without a number a port stands for all ports, which no Service port can be joined with.
        let Some(number) = port.port else { continue };
        let number = port_number(number, || format!("ports[{at}].port"))?;
        if protocol(port.protocol.as_deref()) == Protocol::Tcp {
            ports.insert(port.name.as_deref().unwrap_or_default().into(), number);
        }
    }
    fact.ports = Arc::new(ports);
    fact.endpoints.reserve_exact(object.endpoints.len());
    for (at, endpoint) in object.endpoints.iter().enumerate() {
        let Some(text) = endpoint.addresses.first() else {
            continue;
        };
        let pod = endpoint
            .target_ref
            .as_ref()
            .filter(|target| target.kind.as_deref() == Some("Pod"))
            .and_then(|target| target.name.as_deref());
        fact.endpoints.push(SliceEndpoint {
            address: address(text, || format!("endpoints[{at}].addresses[0]"))?,
            health: health(endpoint),
            pod: pod.unwrap_or_default().into(),
            node: endpoint.node_name.as_deref().unwrap_or_default().into(),
        });
    }
    Ok(fact)
}

/// As the API says (`discovery.k8s.io/v1`, EndpointConditions): `ready` not given is true, `terminating` not given is
/// false. Istio takes the latter for true and so does not count what is not ready in the total.
fn health(endpoint: &Endpoint) -> Health {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating);
    match (ready.unwrap_or(true), terminating.unwrap_or(false)) {
        (true, _) => Health::Healthy,
        (false, true) => Health::Terminating,
        (false, false) => Health::Unhealthy,
    }
}
