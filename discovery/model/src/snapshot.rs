//! The whole of what is known, at one moment. Nothing here changes in place: the next snapshot is derived from the one
//! before and shares what did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Chunked, Hostname, Network, NetworkId, Service};

/// What sources publish and everyone else reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Grows with every published change.
    pub version: u64,
    /// How other networks are entered.
    pub networks: Arc<BTreeMap<NetworkId, Network>>,
    /// Every service, by host.
    pub services: Chunked<Arc<Service>>,
    /// Routes of passthrough listeners, in order; the first that matches wins.
    pub passthrough: Arc<Vec<PassthroughRoute>>,
}

/// Plain server names that a passthrough listener routes (Istio's PASSTHROUGH Gateway with a VirtualService).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughRoute {
    /// Exact names, `*.suffix`, which matches one or more labels before the suffix, or `*`, which matches every name that
    /// no other route of its port does (Istio's sample `expose-istiod.yaml` needs it). There is none unless someone asks.
    pub hosts: Vec<Arc<str>>,
    /// The listener's port it applies to; `None`: every passthrough listener.
    #[serde(default)]
    pub port: Option<u16>,
    /// Where it goes, by weight; weights of 0 get nothing.
    pub to: Vec<Destination>,
}

/// One target of a passthrough route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// The service's host.
    pub host: Hostname,
    /// The service port.
    pub port: u16,
    /// A subset of it; empty: all endpoints.
    #[serde(default)]
    pub subset: Arc<str>,
    /// Share among the route's destinations.
    pub weight: u32,
}

impl Snapshot {
    /// This snapshot with one service replaced or added, one version later. Costs about as much as the chunk of the list
    /// of services that holds it; everything else is shared.
    #[must_use]
    pub fn with_service(&self, service: Arc<Service>) -> Self {
        Self {
            version: self.version + 1,
            services: self.services.with(service),
            ..self.clone()
        }
    }

    /// This snapshot without one service, one version later.
    #[must_use]
    pub fn without_service(&self, host: &Hostname) -> Self {
        let services = match self.service(host) {
            Some(service) => self.services.without(service),
            None => self.services.clone(),
        };
        Self {
            version: self.version + 1,
            services,
            ..self.clone()
        }
    }

    /// The service of this host name.
    #[must_use]
    pub fn service(&self, host: &Hostname) -> Option<&Arc<Service>> {
        self.services.find(|service| service.host.cmp(host))
    }
}

#[cfg(test)]
mod tests;
