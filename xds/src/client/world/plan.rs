//! Which names there are, and which cluster each leads to. It looks at no endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Destination, Hostname, PassthroughRoute};

use crate::client::facts::{Chain, Cluster, Discovery, Gate, Listener};
use crate::client::name::{ClusterName, ServicePort};

/// Which names there are.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By host and then by port and subset.
    names: BTreeMap<Hostname, BTreeMap<(u16, Arc<str>), Uses>>,
    /// Routes of plain names, each with the clusters that it leads to.
    pub(super) routes: Vec<(PassthroughRoute, Vec<Arc<str>>)>,
    /// Names under which endpoints are asked for, and the hosts that have them.
    asked: BTreeMap<Arc<str>, BTreeSet<Hostname>>,
    /// Names that cannot be served, by listener, and why.
    pub(super) left_out: Vec<(Arc<str>, String)>,
}

/// What leads to a port under a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// From the mesh name.
    pub(super) mesh: Option<Use>,
    /// From plain names.
    pub(super) plain: Option<Use>,
}

/// A cluster that something leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// Its name.
    pub(super) cluster: Arc<str>,
    /// Its hash is the client's address.
    pub(super) by_source: bool,
}

impl Plan {
    /// The union of all listeners, as for Gateways of our own discovery; of two chains for one name the first holds.
    pub(super) fn of(
        listeners: &BTreeMap<Arc<str>, Listener>,
        clusters: &BTreeMap<Arc<str>, Cluster>,
    ) -> Self {
        let mut plan = Self::default();
        for (name, listener) in listeners {
            for chain in &listener.chains {
                match &chain.gate {
                    Gate::Mesh(ports) => plan.add_mesh(name, ports, chain),
                    Gate::Plain(names) => plan.add_plain(name, listener.port, names, chain),
                }
            }
        }
        plan.find_asked(clusters);
        plan
    }

    /// The hosts that there are.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        self.names.keys()
    }

    /// What leads to a host.
    pub(super) fn uses(&self, host: &Hostname) -> Option<&BTreeMap<(u16, Arc<str>), Uses>> {
        self.names.get(host)
    }

    /// The names under which endpoints are asked for.
    pub(super) fn wanted(&self) -> BTreeSet<Arc<str>> {
        self.asked.keys().cloned().collect()
    }

    /// The hosts that have the endpoints of this name.
    pub(super) fn hosts_of(&self, asked: &str) -> Option<&BTreeSet<Hostname>> {
        self.asked.get(asked)
    }

    fn add_mesh(&mut self, listener: &Arc<str>, ports: &[ServicePort], chain: &Chain) {
        let Some((cluster, _)) = chain.to.first() else {
            return;
        };
        for of in ports {
            let uses = self.uses_mut(of);
            let new = Use {
                cluster: cluster.clone(),
                by_source: chain.by_source,
            };
            match &uses.mesh {
                Some(known) if known.cluster != new.cluster => {
                    let what = format!(
                        "a second cluster, '{cluster}', for port {} of {}",
                        of.port, of.host
                    );
                    self.left_out.push((listener.clone(), what));
                }
                Some(_) => {}
                None => uses.mesh = Some(new),
            }
        }
    }

    fn add_plain(&mut self, listener: &Arc<str>, port: u16, names: &[Arc<str>], chain: &Chain) {
        let mut to = Vec::with_capacity(chain.to.len());
        let mut clusters = Vec::with_capacity(chain.to.len());
        for (cluster, weight) in &chain.to {
            let Some(of) = destination(cluster) else {
                let what = format!(
                    "the target '{cluster}' of {}: its name is no host name",
                    names.join(", ")
                );
                self.left_out.push((listener.clone(), what));
                continue;
            };
            let uses = self.uses_mut(&of);
            let new = Use {
                cluster: cluster.clone(),
                by_source: chain.by_source,
            };
            let known = uses.plain.get_or_insert_with(|| new.clone());
            if known.cluster != new.cluster {
                let what = format!(
                    "the target '{cluster}' of {}: '{}' is known by the same name",
                    names.join(", "),
                    known.cluster
                );
                self.left_out.push((listener.clone(), what));
                continue;
            }
            clusters.push(cluster.clone());
            to.push(Destination {
                host: of.host,
                port: of.port,
                subset: of.subset,
                weight: *weight,
            });
        }
        let route = PassthroughRoute {
            hosts: names.to_vec(),
            port: Some(port),
            to,
        };
        self.routes.push((route, clusters));
    }

    fn uses_mut(&mut self, of: &ServicePort) -> &mut Uses {
        let names = self.names.entry(of.host.clone()).or_default();
        names.entry((of.port, of.subset.clone())).or_default()
    }

    fn find_asked(&mut self, clusters: &BTreeMap<Arc<str>, Cluster>) {
        for (host, names) in &self.names {
            let uses = names.values().flat_map(|uses| [&uses.mesh, &uses.plain]);
            for cluster in uses.flatten().map(|of| &of.cluster) {
                if let Some(Discovery::Asked(name)) = clusters.get(cluster).map(|of| &of.discovery)
                {
                    let hosts = self.asked.entry(name.clone()).or_default();
                    hosts.insert(host.clone());
                }
            }
        }
    }
}

/// The service port that a cluster stands for: what its name says, else its name is the host, and the port is 0, which no
/// mesh name can have.
fn destination(cluster: &str) -> Option<ServicePort> {
    let named = ClusterName::parse(cluster).ok()?.service_port();
    named.or_else(|| {
        Some(ServicePort {
            host: Hostname::parse(cluster).ok()?,
            port: 0,
            subset: "".into(),
        })
    })
}
