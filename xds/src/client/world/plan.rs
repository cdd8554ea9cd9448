//! Which names there are, and which cluster each leads to. It looks at no endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Destination, Hostname, PassthroughRoute};

use super::LeftOut;
use crate::client::facts::{Cluster, Discovery, Gate, Kind, Listener};
use crate::client::name::{ClusterName, ServicePort};

/// Which names there are.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By host and then by port and subset.
    names: BTreeMap<Hostname, BTreeMap<(u16, Arc<str>), Uses>>,
    /// Routes of plain names.
    pub(super) routes: Vec<PassthroughRoute>,
    /// Names under which endpoints are asked for, and the hosts that have them.
    asked: BTreeMap<Arc<str>, BTreeSet<Hostname>>,
    /// Names and endpoints that cannot be served, and why.
    pub(super) left_out: Vec<LeftOut>,
}

/// What leads to a port under a subset.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    /// From the mesh name.
    pub(super) mesh: Option<Use>,
    /// From plain names.
    pub(super) plain: Option<Use>,
}

/// A cluster that something leads to.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// Its name.
    pub(super) cluster: Arc<str>,
    /// What it said when the plan was made, which holds as long as the plan does; `None`: it was not known.
    pub(super) facts: Option<Arc<Cluster>>,
    /// Its hash is the client's address.
    pub(super) by_source: bool,
}

impl Plan {
    /// The union of all listeners, as for Gateways of our own discovery; of two chains for one name the first holds.
    pub(super) fn of(
        listeners: &BTreeMap<Arc<str>, Listener>,
        clusters: &BTreeMap<Arc<str>, Arc<Cluster>>,
    ) -> Self {
        let mut plan = Self::default();
        for (name, listener) in listeners {
            for chain in &listener.chains {
                let found = chain.to.iter().map(|(cluster, weight)| {
                    let found = Use {
                        cluster: cluster.clone(),
                        facts: clusters.get(cluster).cloned(),
                        by_source: chain.by_source,
                    };
                    (found, *weight)
                });
                match &chain.gate {
                    Gate::Mesh(ports) => plan.add_mesh(name, ports, found),
                    Gate::Plain(names) => plan.add_plain(name, listener.port, names, found),
                }
            }
        }
        plan.find_asked();
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
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Arc<str>> {
        self.asked.keys()
    }

    /// The hosts that have the endpoints of this name.
    pub(super) fn hosts_of(&self, asked: &str) -> Option<&BTreeSet<Hostname>> {
        self.asked.get(asked)
    }

    fn add_mesh(
        &mut self,
        listener: &Arc<str>,
        ports: &[ServicePort],
        mut to: impl Iterator<Item = (Use, u32)>,
    ) {
        let Some((new, _)) = to.next() else {
            return;
        };
        for of in ports {
            let uses = self.uses_mut(of);
            match &uses.mesh {
                Some(known) if known.cluster != new.cluster => {
                    let what = format!(
                        "a second cluster, '{}', for port {} of {}",
                        new.cluster, of.port, of.host
                    );
                    self.leave_out(Kind::Listeners, listener, what);
                }
                Some(_) => {}
                None => uses.mesh = Some(new.clone()),
            }
        }
    }

    fn add_plain(
        &mut self,
        listener: &Arc<str>,
        port: u16,
        names: &[Arc<str>],
        found: impl Iterator<Item = (Use, u32)>,
    ) {
        let mut to = Vec::new();
        for (new, weight) in found {
            let cluster = new.cluster.clone();
            let Some(of) = destination(&cluster) else {
                let what = format!(
                    "the target '{cluster}' of {}: its name is no host name",
                    names.join(", ")
                );
                self.leave_out(Kind::Listeners, listener, what);
                continue;
            };
            let uses = self.uses_mut(&of);
            let known = uses.plain.get_or_insert(new);
            if known.cluster != cluster {
                let what = format!(
                    "the target '{cluster}' of {}: '{}' is known by the same name",
                    names.join(", "),
                    known.cluster
                );
                self.leave_out(Kind::Listeners, listener, what);
                continue;
            }
            to.push(Destination {
                host: of.host,
                port: of.port,
                subset: of.subset,
                weight,
            });
        }
        self.routes.push(PassthroughRoute {
            hosts: names.to_vec(),
            port: Some(port),
            to,
        });
    }

    fn uses_mut(&mut self, of: &ServicePort) -> &mut Uses {
        let names = self.names.entry(of.host.clone()).or_default();
        names.entry((of.port, of.subset.clone())).or_default()
    }

    fn find_asked(&mut self) {
        let mut nowhere = BTreeMap::new();
        for (host, names) in &self.names {
            let uses = names.values().flat_map(|uses| [&uses.mesh, &uses.plain]);
            for of in uses.flatten() {
                match of.facts.as_ref().map(|facts| &facts.discovery) {
                    Some(Discovery::Asked(name)) => {
                        let hosts = self.asked.entry(name.clone()).or_default();
                        hosts.insert(host.clone());
                    }
                    Some(Discovery::Nowhere(why)) => {
                        nowhere.insert(of.cluster.clone(), why.clone());
                    }
                    Some(Discovery::Given(_)) | None => {}
                }
            }
        }
        for (cluster, why) in nowhere {
            self.leave_out(Kind::Clusters, &cluster, format!("every endpoint: {why}"));
        }
    }

    fn leave_out(&mut self, kind: Kind, name: &Arc<str>, what: String) {
        let name = name.clone();
        self.left_out.push(LeftOut { kind, name, what });
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
