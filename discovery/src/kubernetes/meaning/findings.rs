//! What people should know of: everything that makes an endpoint or a network unusable without being an error of anyone's
//! program. It must change nothing.

use std::collections::BTreeMap;
use std::fmt;

use model::{ClusterId, NetworkId};
use serde::Serialize;

use super::World;
use super::endpoints::View;
use super::networks;
use super::ports::Mismatch;

/// One thing that people should know of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is about; a name for metrics.
    pub kind: FindingKind,
    /// The cluster it is about; empty: none in particular.
    pub cluster: ClusterId,
    /// What is concerned: a network, a host, an object.
    pub subject: String,
    /// How many are concerned (endpoints, or 1).
    pub count: u64,
    /// What it is, why, and what to do.
    pub message: String,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// An object cannot be read; the version before it stays in force.
    UnreadableObject,
    /// A remote cluster does not say which network it is in.
    ClusterWithoutNetwork,
    /// A cluster claims addresses in our network without being trusted with it.
    SameNetworkClaim,
    /// A cluster declares a gateway of a network not its own without being trusted with it.
    ForeignGateway,
    /// A Service has a network's label but not the gateway's port.
    GatewayWithoutPort,
    /// A gateway has no address (yet).
    GatewayWithoutAddress,
    /// A gateway's name has no address.
    UnresolvedName,
    /// A network has endpoints and no gateway.
    NetworkWithoutGateway,
    /// Endpoints have no region.
    EndpointWithoutRegion,
    /// Clusters call the ports of one service differently.
    PortMismatch,
    /// A ServiceEntry takes endpoints in a way that is not supported.
    UnsupportedServiceEntry,
    /// A plain name leads to a service or port that is not known.
    RouteWithoutService,
}

impl FindingKind {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableObject => "unreadable_object",
            Self::ClusterWithoutNetwork => "cluster_without_network",
            Self::SameNetworkClaim => "same_network_claim",
            Self::ForeignGateway => "foreign_gateway",
            Self::GatewayWithoutPort => "gateway_without_port",
            Self::GatewayWithoutAddress => "gateway_without_address",
            Self::UnresolvedName => "unresolved_name",
            Self::NetworkWithoutGateway => "network_without_gateway",
            Self::EndpointWithoutRegion => "endpoint_without_region",
            Self::PortMismatch => "port_mismatch",
            Self::UnsupportedServiceEntry => "unsupported_service_entry",
            Self::RouteWithoutService => "route_without_service",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) fn findings(world: &World) -> Vec<Finding> {
    let mut found = Vec::new();
    unreadable(world, &mut found);
    for view in &world.views() {
        network(view, &mut found);
        gateways(world, view, &mut found);
    }
    endpoints(world, &mut found);
    port_names(world, &mut found);
    resources(world, &mut found);
    found.sort();
    found
}

fn finding(
    kind: FindingKind,
    cluster: &ClusterId,
    subject: impl fmt::Display,
    count: usize,
    message: String,
) -> Finding {
    Finding {
        kind,
        cluster: cluster.clone(),
        subject: subject.to_string(),
        count: count as u64,
        message,
    }
}

fn unreadable(world: &World, found: &mut Vec<Finding>) {
    for ((cluster, ..), object) in &world.unreadable {
        let subject = format!("{} {}", object.kind, object.key);
        let message = object.to_string();
        found.push(finding(
            FindingKind::UnreadableObject,
            cluster,
            subject,
            1,
            message,
        ));
    }
}

/// How to trust a cluster.
fn trust(cluster: &ClusterId) -> String {
    format!("if that is so, add to the configuration: discovery: {{sameNetwork: [{cluster}]}}")
}

fn network(view: &View, found: &mut Vec<Finding>) {
    let (cluster, me) = (view.cluster, view.me);
    if view.is_own() {
        return;
    }
    if view.network.is_empty() && !view.rules.assume_flat {
        let message = format!(
            "cluster {cluster} does not say which network it is in, so its endpoints are not used; label its namespace \
             {namespace} (kubectl label namespace {namespace} topology.istio.io/network=NETWORK), or set \
             discovery.clusters.{cluster}.network",
            namespace = view.rules.system_namespace,
        );
        found.push(finding(
            FindingKind::ClusterWithoutNetwork,
            cluster,
            "",
            1,
            message,
        ));
    }
    let pods = view.pod_claims();
    if !view.is_trusted() && (view.network == me.network || pods > 0) && !me.network.is_empty() {
        let message = format!(
            "cluster {cluster} says that its addresses are in our network {}, and is not trusted with it, so they are not \
             used; {}",
            me.network,
            trust(cluster)
        );
        let count = pods.max(1);
        found.push(finding(
            FindingKind::SameNetworkClaim,
            cluster,
            &me.network,
            count,
            message,
        ));
    }
}

fn gateways(world: &World, view: &View, found: &mut Vec<Finding>) {
    let cluster = view.cluster;
    for (key, gateway) in view.facts.gateways() {
        let network = &gateway.network;
        let mut add = |kind, message| found.push(finding(kind, cluster, key, 1, message));
        if !networks::may_declare(view, network) {
            let message = format!(
                "Service {key} of cluster {cluster} declares a gateway of network {network}, which is not the cluster's own \
                 ({}), so it is not used; {}",
                if view.network.is_empty() {
                    "not known"
                } else {
                    view.network.as_str()
                },
                trust(cluster)
            );
            add(FindingKind::ForeignGateway, message);
            continue;
        }
        let Some(reach) = &gateway.reach else {
            let message = format!(
                "Service {key} has the label of network {network} but no TCP port {}, so it is no gateway; add the port, or \
                 name another by the label networking.istio.io/gatewayPort",
                gateway.port
            );
            add(FindingKind::GatewayWithoutPort, message);
            continue;
        };
        if reach.ips.is_empty() && reach.names.is_empty() && reach.nodes.is_none() {
            let message = format!(
                "Service {key}, a gateway of network {network}, has no address: no load balancer gave it one, it has no \
                 externalIPs, and no annotation traffic.istio.io/nodeSelector makes it a NodePort gateway"
            );
            add(FindingKind::GatewayWithoutAddress, message);
        }
        for name in &reach.names {
            if world.resolved.get(name).is_none_or(Vec::is_empty) {
                let message = format!(
                    "the name {name} of Service {key}, a gateway of network {network}, has no address in DNS (yet)"
                );
                add(FindingKind::UnresolvedName, message);
            }
        }
    }
}

fn endpoints(world: &World, found: &mut Vec<Finding>) {
    let mut homeless: BTreeMap<&ClusterId, usize> = BTreeMap::new();
    let mut remote: BTreeMap<(&NetworkId, &ClusterId), usize> = BTreeMap::new();
    for (group, count) in world.tally.groups() {
        if !group.has_region {
            *homeless.entry(&group.cluster).or_default() += count;
        }
        if group.network != world.me.network {
            *remote.entry((&group.network, &group.cluster)).or_default() += count;
        }
    }
    for (cluster, count) in homeless {
        let message = format!(
            "{count} endpoints of cluster {cluster} have no region, so all that is known of how close they are is their \
             network; label its nodes with topology.kubernetes.io/region and topology.kubernetes.io/zone, or set \
             discovery.clusters.{cluster}.locality"
        );
        found.push(finding(
            FindingKind::EndpointWithoutRegion,
            cluster,
            "",
            count,
            message,
        ));
    }
    for ((network, cluster), count) in remote {
        let known = world.snapshot.networks.get(network);
        let gateways = known.map_or(&[][..], |network| &network.gateways);
        if gateways.iter().any(|gateway| gateway.serves(cluster)) {
            continue;
        }
        let message = format!(
            "{count} endpoints of cluster {cluster} are in network {network}, which has no gateway for them, so they are not \
             used; a gateway is a Service with label topology.istio.io/network={network} and an address"
        );
        found.push(finding(
            FindingKind::NetworkWithoutGateway,
            cluster,
            network,
            count,
            message,
        ));
    }
}

fn port_names(world: &World, found: &mut Vec<Finding>) {
    for (host, mismatches) in &world.mismatches {
        for Mismatch {
            cluster,
            number,
            theirs,
            first,
        } in mismatches
        {
            let message = format!(
                "cluster {cluster} calls port {number} of {host} '{theirs}', but the first cluster that has it calls it \
                 '{first}'; endpoints join by the port's name, so those of that cluster are not used for it; give the port \
                 one name everywhere"
            );
            found.push(finding(
                FindingKind::PortMismatch,
                cluster,
                host,
                1,
                message,
            ));
        }
    }
}

fn resources(world: &World, found: &mut Vec<Finding>) {
    let own = &world.me.cluster;
    for entry in world.istio.entries.values() {
        if entry.internal && entry.selects_workloads {
            let message = format!(
                "ServiceEntry {} selects workloads by label, which is not supported; its own endpoints are used",
                entry.key
            );
            let kind = FindingKind::UnsupportedServiceEntry;
            found.push(finding(kind, own, &entry.key, 1, message));
        }
    }
    for to in world.exposure.routes.iter().flat_map(|route| &route.to) {
        let service = world.snapshot.service(&to.host);
        let known = service.is_some_and(|service| {
            let ports = &service.ports;
            ports.iter().any(|port| port.number == to.port) || (to.port == 0 && ports.len() == 1)
        });
        if !known {
            let port = match to.port {
                0 => "a single port".to_owned(),
                port => format!("port {port}"),
            };
            let message = format!(
                "a VirtualService sends plain names to {}, and no service of that name with {port} is known",
                to.host
            );
            let kind = FindingKind::RouteWithoutService;
            found.push(finding(kind, own, &to.host, 1, message));
        }
    }
}
