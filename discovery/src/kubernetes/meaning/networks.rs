//! Which gateways lead into which network. A pure rule.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::{ClusterId, Gateway, Hostname, Network, NetworkId};

use super::endpoints::View;
use super::entries::Resolved;
use crate::kubernetes::facts::{GatewayService, Key, ServiceGateway};

/// Addresses, each with the name that gave it.
type Addresses = BTreeMap<SocketAddr, Option<Arc<str>>>;

/// The gateways that a cluster declares and may declare: of its own network (not ours, which it would have to be trusted
/// with), or of any if it is trusted.
pub(super) fn declared<'a>(
    view: &'a View<'a>,
) -> impl Iterator<Item = (&'a Key, &'a ServiceGateway)> + 'a {
    let gateways = view.facts.gateways();
    gateways.filter(|(_, gateway)| may_declare(view, &gateway.network))
}

/// Whether a cluster's gateways of a network count.
pub(super) fn may_declare(view: &View, network: &NetworkId) -> bool {
    view.is_trusted() || (*network == view.network && *network != view.me.network)
}

/// Every network that a cluster is in, with its gateways. Those of an endpoint's own cluster serve it; a cluster without
/// any is served by all of its network (Istio's order of selection, `E/ep_filters.go`).
pub(super) fn networks(views: &[View], resolved: &Resolved) -> BTreeMap<NetworkId, Network> {
    let mut declaring: BTreeMap<NetworkId, BTreeMap<ClusterId, Addresses>> = BTreeMap::new();
    let mut members: BTreeMap<NetworkId, BTreeSet<ClusterId>> = BTreeMap::new();
    for view in views {
        let named = view.facts.pod_networks().keys().chain([&view.network]);
        for network in named.filter(|network| !network.is_empty()) {
            members
                .entry(network.clone())
                .or_default()
                .insert(view.cluster.clone());
        }
        for (_, gateway) in declared(view) {
            let Some(reach) = &gateway.reach else {
                continue;
            };
            let found = addresses(view, gateway.port, reach, resolved);
            if !found.is_empty() {
                let clusters = declaring.entry(gateway.network.clone()).or_default();
                clusters
                    .entry(view.cluster.clone())
                    .or_default()
                    .extend(found);
            }
        }
    }
    let mut networks: BTreeMap<NetworkId, Network> = members
        .keys()
        .map(|id| (id.clone(), Network::default()))
        .collect();
    for (id, clusters) in declaring {
        let without = members.get(&id).into_iter().flatten();
        let without: Vec<&ClusterId> = without
            .filter(|member| !clusters.contains_key(*member))
            .collect();
        let mut gateways: BTreeMap<SocketAddr, Gateway> = BTreeMap::new();
        for (cluster, addresses) in &clusters {
            for (address, name) in addresses {
                let gateway = gateways.entry(*address).or_insert_with(|| Gateway {
                    address: *address,
                    name: name.clone(),
                    clusters: Vec::new(),
                });
                // Where one cluster declares them all, they serve everyone.
                if clusters.len() > 1 {
                    gateway.clusters.push(cluster.clone());
                    gateway
                        .clusters
                        .extend(without.iter().map(|one| (*one).clone()));
                    gateway.clusters.sort();
                    gateway.clusters.dedup();
                }
            }
        }
        let gateways = gateways.into_values().collect();
        networks.insert(id, Network { gateways });
    }
    networks
}

/// The names of gateways that have to be resolved.
pub(super) fn names(views: &[View]) -> BTreeSet<Hostname> {
    let declared = views.iter().flat_map(declared);
    let reaches = declared.filter_map(|(_, gateway)| gateway.reach.as_ref());
    reaches
        .flat_map(|reach| reach.names.iter().cloned())
        .collect()
}

/// Whether any gateway needs to know Nodes in full.
pub(super) fn needs_nodes(view: &View) -> bool {
    let mut reaches = declared(view).filter_map(|(_, gateway)| gateway.reach.as_ref());
    reaches.any(|reach| reach.nodes.is_some())
}

fn addresses(view: &View, port: u16, reach: &GatewayService, resolved: &Resolved) -> Addresses {
    let at = |ip: &IpAddr, port| SocketAddr::new(*ip, port);
    let mut found: Addresses = Addresses::new();
    for name in &reach.names {
        for ip in resolved.get(name).into_iter().flatten() {
            found.insert(at(ip, port), Some(name.as_str().into()));
        }
    }
    found.extend(reach.ips.iter().map(|ip| (at(ip, port), None)));
    if let Some((node_port, selector)) = &reach.nodes {
        let details = view.facts.nodes().filter_map(|node| node.details.as_ref());
        let meant = details.filter(|node| {
            selector
                .iter()
                .all(|(key, value)| node.labels.get(key) == Some(value))
        });
        let ips = meant.flat_map(|node| &node.external);
        found.extend(ips.map(|ip| (at(ip, *node_port), None)));
    }
    found
}
