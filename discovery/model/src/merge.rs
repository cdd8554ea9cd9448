//! What several sources say, made one. The same host in two clusters is one service.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Chunked, Hostname, Network, NetworkId, PassthroughRoute, Service, Snapshot};

/// What one source says (a file, a cluster).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Networks whose gateways it declares.
    pub networks: BTreeMap<NetworkId, Network>,
    /// Services with the endpoints that it knows.
    pub services: Chunked<Arc<Service>>,
    /// Routes of passthrough listeners.
    pub passthrough: Vec<PassthroughRoute>,
}

/// All parts as one snapshot. Of a service that several parts know, ports, subsets and policy are the first part's (our
/// own cluster's comes first) and the endpoints are everyone's; a service that one part alone knows is shared, not copied.
#[must_use]
pub fn merge(parts: &[&Part], version: u64) -> Snapshot {
    let mut services: BTreeMap<&Hostname, Vec<&Arc<Service>>> = BTreeMap::new();
    let mut networks: BTreeMap<NetworkId, Network> = BTreeMap::new();
    for part in parts {
        for service in part.services.iter() {
            services.entry(&service.host).or_default().push(service);
        }
        for (id, network) in &part.networks {
            join_network(networks.entry(id.clone()).or_default(), network);
        }
    }
    let passthrough = parts
        .iter()
        .flat_map(|part| part.passthrough.iter().cloned());
    Snapshot {
        version,
        networks: Arc::new(networks),
        services: Chunked::from_items(services.into_values().filter_map(join_services).collect()),
        passthrough: Arc::new(passthrough.collect()),
    }
}

fn join_services(of_parts: Vec<&Arc<Service>>) -> Option<Arc<Service>> {
    let (first, others) = of_parts.split_first()?;
    if others.is_empty() {
        return Some(Arc::clone(first));
    }
    // Of two that say the same address the list keeps the one that comes last: the first part's.
    let endpoints = of_parts
        .iter()
        .rev()
        .flat_map(|service| service.endpoints.iter().cloned());
    Some(Arc::new(Service {
        endpoints: Chunked::from_items(endpoints.collect()),
        ..Service::clone(first)
    }))
}

fn join_network(network: &mut Network, other: &Network) {
    for gateway in &other.gateways {
        match network
            .gateways
            .binary_search_by_key(&gateway.address, |known| known.address)
        {
            Err(at) => network.gateways.insert(at, gateway.clone()),
            Ok(at) => {
                // Without clusters it serves all of them.
                let known = &mut network.gateways[at];
                if known.clusters.is_empty() || gateway.clusters.is_empty() {
                    known.clusters.clear();
                } else {
                    known.clusters.extend(gateway.clusters.iter().cloned());
                    known.clusters.sort();
                    known.clusters.dedup();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
