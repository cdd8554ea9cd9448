//! Networks and the gateways through which they are entered.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ClusterId;

/// How one network is entered from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its gateways, sorted by address; none: the network cannot be reached, and its endpoints are not used.
    pub gateways: Vec<Gateway>,
}

/// One address through which a network is entered. Host names are resolved by the source, so only addresses stand here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gateway {
    /// Where to dial.
    pub address: SocketAddr,
    /// The name that gave the address, where it was a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// The clusters it serves, sorted; empty: every cluster of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterId>,
}

impl Gateway {
    /// Whether endpoints of this cluster are reached through it.
    #[must_use]
    pub fn serves(&self, cluster: &ClusterId) -> bool {
        self.clusters.is_empty() || self.clusters.contains(cluster)
    }
}
