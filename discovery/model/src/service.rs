//! A service: a host name with ports, subsets, policy and endpoints.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Chunked, Endpoint, Hostname, Keyed, Labels, Policy};

/// Everything known of one host name, over all clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// `hello.default.svc.cluster.local`.
    pub host: Hostname,
    /// Its ports, sorted by number; a number stands at most once for each protocol.
    pub ports: Vec<Port>,
    /// Named selections of its endpoints.
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
