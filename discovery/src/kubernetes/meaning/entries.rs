//! The endpoints that ServiceEntries give. It must not decide which entries count.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::{Endpoint, Health, Hostname, Locality, Origin, Port, PortMap, Protocol};

use super::Mtls;
use super::endpoints::{Demand, View, kept, tls};
use super::pool::Pool;
use super::touched::Which;
use super::traits::of_labels;
use crate::kubernetes::facts::{EntryAddress, EntryEndpoint, Resolution, ServiceEntryFact};

/// What names have been resolved to.
pub(super) type Resolved = BTreeMap<Hostname, Vec<IpAddr>>;

/// The entry's ports in the model's form.
pub(super) fn ports(entry: &ServiceEntryFact) -> Vec<Port> {
    let ports = entry.ports.iter();
    ports
        .map(|port| Port {
            number: port.number,
            name: port.name.clone(),
            protocol: port.protocol,
        })
        .collect()
}

/// The names that an entry's endpoints stand under; with resolution DNS and no endpoints, its hosts themselves.
pub(super) fn names(entry: &ServiceEntryFact) -> Vec<&Hostname> {
    if entry.resolution != Resolution::Dns || !entry.internal {
        return Vec::new();
    }
    if entry.endpoints.is_empty() {
        return entry.hosts.iter().collect();
    }
    let names = entry
        .endpoints
        .iter()
        .filter_map(|endpoint| match &endpoint.address {
            EntryAddress::Name(name) => Some(name),
            EntryAddress::Ip(_) => None,
        });
    names.collect()
}

/// The endpoints that an entry gives a host.
pub(super) fn endpoints(
    view: &View,
    entry: &ServiceEntryFact,
    host: &Hostname,
    resolved: &Resolved,
    demand: &Demand,
    which: &Which,
    pool: &mut Pool,
) -> Vec<Endpoint> {
    let itself = EntryEndpoint {
        address: EntryAddress::Name(host.clone()),
        ports: BTreeMap::new(),
        labels: model::Labels::new(),
        network: model::NetworkId::default(),
        locality: Locality::default(),
        weight: 1,
        has_account: false,
    };
    let given = match (entry.resolution, entry.endpoints.is_empty()) {
        (Resolution::None, _) => return Vec::new(),
        (Resolution::Dns, true) => std::slice::from_ref(&itself),
        _ => &entry.endpoints,
    };
    let mut found = Vec::new();
    for endpoint in given {
        let one;
        let addresses: &[IpAddr] = match &endpoint.address {
            EntryAddress::Ip(ip) => {
                one = [*ip];
                &one
            }
            EntryAddress::Name(name) if entry.resolution == Resolution::Dns => {
                resolved.get(name).map_or(&[], Vec::as_slice)
            }
            EntryAddress::Name(_) => &[],
        };
        for address in addresses.iter().filter(|address| which.has(**address)) {
            found.extend(one_endpoint(view, entry, endpoint, *address, demand, pool));
        }
    }
    found
}

fn one_endpoint(
    view: &View,
    entry: &ServiceEntryFact,
    endpoint: &EntryEndpoint,
    address: IpAddr,
    demand: &Demand,
    pool: &mut Pool,
) -> Option<Endpoint> {
    let labels = pool.label_map(&endpoint.labels);
    let traits = of_labels(labels, &entry.key.namespace, &entry.key.name);
    let placed = match endpoint.network.is_empty() {
        true => view.place(&traits.network)?,
        false => view.place(&endpoint.network)?,
    };
    // Without the label, a service account says that there is a sidecar (Istio's `getTLSModeFromWorkloadEntry`).
    let labelled = endpoint.labels.contains_key("security.istio.io/tlsMode");
    let mutual_tls = !placed.own
        || view.rules.mtls == Mtls::All
        || traits.mutual_tls
        || (!labelled && endpoint.has_account);
    let locality = match endpoint.locality == Locality::default() {
        true => view.locality(&traits, None),
        false => endpoint.locality.clone(),
    };
    let streams = entry
        .ports
        .iter()
        .filter(|port| port.protocol == Protocol::Tcp);
    let ports: PortMap = streams
        .map(|port| {
            let own = endpoint.ports.get(&port.name);
            (port.name.clone(), own.copied().unwrap_or(port.target))
        })
        .collect();
    let origin = Origin {
        cluster: view.cluster.clone(),
        network: placed.network,
        locality,
        workload: traits.workload,
    };
    Some(Endpoint {
        address,
        weight: endpoint.weight,
        health: Health::Healthy,
        tls: tls(demand.mesh && mutual_tls),
        ports: pool.ports.share(Arc::new(ports)),
        labels: kept(demand, Some(&endpoint.labels), None, pool),
        origin: pool.origins.share(Arc::new(origin)),
    })
}
