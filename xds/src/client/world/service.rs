//! One host's service: every port and subset that something leads to, each with the endpoints that it was assigned.
//!
//! An address that several names share is one endpoint where all of them say the same of it; the names by which it is joined
//! (`5000`, `5000/v1`, in the second tier `5000#1`, for plain names `plain:5000`) tell who has it, and in which tier.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use model::{
    Assigned, Chunked, Endpoint, Health, Hostname, LoadBalancer, Origin, Policy, Port, PortMap,
    Protocol, Service, Subset, TlsMode,
};

use super::World;
use super::plan::Use;
use super::weights::flat;

/// What is the same for all names that share an endpoint.
type Same = (IpAddr, u32, Health, TlsMode, Arc<Origin>);

impl World {
    /// The service of a host; `None` where nothing leads to it.
    pub(super) fn service(
        &self,
        host: &Hostname,
        before: Option<&Arc<Service>>,
    ) -> Option<Arc<Service>> {
        let mut draft = Draft::default();
        for ((port, subset), uses) in self.plan.uses(host)? {
            let name = match subset.is_empty() {
                true => port.to_string(),
                false => format!("{port}/{subset}"),
            };
            let mesh = uses.mesh.as_ref();
            let mesh = mesh.map(|of| self.assign(of, &name, &mut draft));
            let plain = uses.plain.as_ref();
            let plain = plain.map(|of| self.assign(of, &format!("plain:{name}"), &mut draft));
            let used = uses.mesh.as_ref().or(uses.plain.as_ref());
            let policy = used.map(policy).unwrap_or_default();
            let of_subset = draft.subsets.entry(subset.clone()).or_default();
            of_subset.insert(*port, (Assigned { mesh, plain }, policy));
        }
        draft.finish(host, before)
    }

    /// Adds a cluster's endpoints under a name; gives the names of its tiers.
    fn assign(&self, of: &Use, name: &str, draft: &mut Draft) -> Vec<Arc<str>> {
        let endpoints = self.endpoints_of(of);
        let by_locality = of.facts.as_ref().is_some_and(|of| of.by_locality);
        let priorities: BTreeSet<u32> = endpoints
            .groups
            .iter()
            .map(|group| group.priority)
            .collect();
        let tiers: BTreeMap<u32, Arc<str>> = priorities
            .into_iter()
            .zip(0_u32..)
            .map(|(priority, tier)| match tier {
                0 => (priority, name.into()),
                _ => (priority, format!("{name}#{tier}").into()),
            })
            .collect();
        // Envoy keeps the first of several with one address.
        let mut seen = BTreeSet::new();
        for (group, host, weight) in flat(&endpoints, by_locality) {
            if !seen.insert(host.address) {
                continue;
            }
            let origin = draft.shared(Origin {
                cluster: host.cluster.as_str().into(),
                network: self.network.clone(),
                locality: group.locality.clone(),
                workload: host.workload.clone(),
            });
            let same = (host.address.ip(), weight, host.health, host.tls, origin);
            if let Some(joined) = tiers.get(&group.priority) {
                draft.add(same, joined, host.address.port());
            }
        }
        tiers.into_values().collect()
    }
}

fn policy(of: &Use) -> Policy {
    let facts = of.facts.as_ref();
    let mut policy = facts.map_or_else(Policy::default, |facts| facts.policy.clone());
    if policy.load_balancer == LoadBalancer::SourceIp && !of.by_source {
        // Envoy draws at random where nothing is hashed.
        policy.load_balancer = LoadBalancer::Random;
    }
    policy
}

/// A service in the making.
#[derive(Default)]
struct Draft {
    origins: BTreeSet<Arc<Origin>>,
    records: HashMap<Same, Vec<PortMap>>,
    subsets: BTreeMap<Arc<str>, BTreeMap<u16, (Assigned, Policy)>>,
}

impl Draft {
    fn shared(&mut self, origin: Origin) -> Arc<Origin> {
        if let Some(known) = self.origins.get(&origin) {
            return known.clone();
        }
        let origin = Arc::new(origin);
        self.origins.insert(origin.clone());
        origin
    }

    /// Joins an endpoint with a name, beside others if they say the same of it.
    fn add(&mut self, same: Same, name: &Arc<str>, port: u16) {
        let records = self.records.entry(same).or_default();
        let free = records.iter_mut().find(|ports| !ports.contains_key(name));
        match free {
            Some(ports) => {
                ports.insert(name.clone(), port);
            }
            None => records.push(PortMap::from([(name.clone(), port)])),
        }
    }

    fn finish(self, host: &Hostname, before: Option<&Arc<Service>>) -> Option<Arc<Service>> {
        let numbers: BTreeSet<u16> = self
            .subsets
            .values()
            .flat_map(|ports| ports.keys().copied())
            .collect();
        if numbers.is_empty() {
            return None;
        }
        let mut shared: BTreeSet<Arc<PortMap>> = BTreeSet::new();
        let labels = Arc::default();
        let mut endpoints = Vec::new();
        for ((address, weight, health, tls, origin), records) in self.records {
            for ports in records {
                let ports = match shared.get(&ports) {
                    Some(known) => known.clone(),
                    None => {
                        let ports = Arc::new(ports);
                        shared.insert(ports.clone());
                        ports
                    }
                };
                endpoints.push(Endpoint {
                    address,
                    weight,
                    health,
                    tls,
                    ports,
                    labels: Arc::clone(&labels),
                    origin: origin.clone(),
                });
            }
        }
        let endpoints = Chunked::from_items(endpoints);
        let ports = numbers.into_iter().map(|number| Port {
            number,
            name: number.to_string().into(),
            protocol: Protocol::Tcp,
        });
        let mut subsets: BTreeMap<Arc<str>, Subset> = self
            .subsets
            .into_iter()
            .map(|(name, ports)| (name, subset(ports)))
            .collect();
        // Without one of its own the whole service would have every port.
        let whole = subsets.entry("".into()).or_insert_with(|| Subset {
            assigned: Some(BTreeMap::new()),
            ..Subset::default()
        });
        let policy = whole.policy.take().unwrap_or_default();
        Some(Arc::new(Service {
            host: host.clone(),
            ports: ports.collect(),
            subsets,
            policy,
            endpoints: match before {
                Some(before) => endpoints.sharing_with(&before.endpoints),
                None => endpoints,
            },
        }))
    }
}

/// The first port's policy is the subset's; the others' stand beside it where they differ.
fn subset(ports: BTreeMap<u16, (Assigned, Policy)>) -> Subset {
    let mut policy: Option<Policy> = None;
    let mut assigned = BTreeMap::new();
    for (port, (names, of_port)) in ports {
        match &mut policy {
            None => policy = Some(of_port),
            Some(first) => {
                let same = Policy {
                    ports: BTreeMap::new(),
                    ..first.clone()
                };
                if same != of_port {
                    first.ports.insert(port, Arc::new(of_port));
                }
            }
        }
        assigned.insert(port, names);
    }
    Subset {
        policy: policy.map(Arc::new),
        assigned: Some(assigned),
        ..Subset::default()
    }
}
