//! A service: a host name with ports, subsets, policy and endpoints.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{Chunked, Endpoint, Hostname, Keyed, Labels, Policy};

/// Everything known of one host name, over all clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// `hello.default.svc.cluster.local`.
    pub host: Hostname,
    /// Its ports, sorted by number; a number stands at most once for each protocol.
    pub ports: Vec<Port>,
    /// Named selections of its endpoints. The empty name, which is seldom there, speaks of the whole service.
    #[serde(default)]
    pub subsets: BTreeMap<Arc<str>, Subset>,
    /// How its endpoints are chosen and watched.
    #[serde(default)]
    pub policy: Arc<Policy>,
    /// All its endpoints, of all clusters and networks.
    pub endpoints: Chunked<Endpoint>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The *service* port, the one that stands in the server name; never the target port.
    pub number: u16,
    /// Joins service and endpoints; empty where a service has one unnamed port.
    pub name: Arc<str>,
    /// UDP ports have no route.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What a port carries, as far as it decides whether there is a route.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// A byte stream.
    #[default]
    Tcp,
    /// Datagrams: not routed.
    Udp,
}

/// A named selection of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subset {
    /// An endpoint belongs to it when it bears all of these.
    pub labels: Labels,
    /// Its own policy; without one the service's holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<Policy>>,
    /// By service port, where another control plane gives each name endpoints of its own (xDS); a port that is missing has no
    /// route under this subset. `None`: the labels select, under every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<BTreeMap<u16, Assigned>>,
}

/// The endpoints that another control plane gives to one port of a subset, tier by tier, the first tier first: those that
/// have one of these names in [`Endpoint::ports`]. `None`: there is no such route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Assigned {
    /// To the mesh name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Vec<Arc<str>>>,
    /// To plain names, as a [`crate::Destination`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain: Option<Vec<Arc<str>>>,
}

/// Who leads to a service: a mesh name, or a plain one through a [`crate::PassthroughRoute`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// `outbound_.<port>_.<subset>_.<host>`.
    Mesh,
    /// Any other name.
    Plain,
}

/// How the endpoints of one port and subset are found among a service's.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// Names that lead from the service port to an endpoint's; with `assigned` one for each tier, else exactly one.
    pub port_names: SmallVec<[Arc<str>; 1]>,
    /// Labels that an endpoint must bear.
    pub labels: Labels,
    /// The settings that hold.
    pub policy: Arc<Policy>,
    /// Another control plane has chosen endpoints and tiers: each is dialled as it stands, and closeness has no say.
    pub assigned: bool,
}

impl Service {
    /// The subsets that names can be made with, the whole service's (the empty one) first.
    pub fn subset_names(&self) -> impl Iterator<Item = &str> {
        let named = self.subsets.keys().map(|name| &**name);
        std::iter::once("").chain(named.filter(|name| !name.is_empty()))
    }

    /// How the endpoints of a service port and subset are found; `None` where that is no route.
    #[must_use]
    pub fn join(&self, port: u16, subset: &str, audience: Audience) -> Option<Join> {
        let mut streams = self.ports.iter().filter(|p| p.protocol != Protocol::Udp);
        let port = streams.find(|known| known.number == port)?;
        let subset = match self.subsets.get(subset) {
            None if !subset.is_empty() => return None,
            subset => subset,
        };
        let policy = subset.and_then(|subset| subset.policy.as_ref());
        let assigned = subset.and_then(|subset| subset.assigned.as_ref());
        let port_names = match assigned {
            None => [port.name.clone()].into(),
            Some(ports) => {
                let of_port = ports.get(&port.number)?;
                match audience {
                    Audience::Mesh => of_port.mesh.as_deref()?.into(),
                    Audience::Plain => of_port.plain.as_deref()?.into(),
                }
            }
        };
        Some(Join {
            port_names,
            labels: subset.map_or_else(Labels::new, |subset| subset.labels.clone()),
            policy: policy.unwrap_or(&self.policy).for_port(port.number).clone(),
            assigned: assigned.is_some(),
        })
    }
}

impl Subset {
    /// Whether an endpoint with these labels belongs to the subset.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl Keyed for Arc<Service> {
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.host.cmp(&other.host)
    }
}

#[cfg(test)]
mod tests;
