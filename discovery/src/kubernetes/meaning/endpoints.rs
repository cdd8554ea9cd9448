//! The endpoints of one service in one cluster: slices, Pods and Nodes -> the model's endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    ClusterId, Endpoint, Health, Keyed, Labels, Locality, NetworkId, Origin, TlsMode, Workload,
};

use super::cluster::{ClusterFacts, Slice};
use super::families::{leads, of_other_family_alone};
use super::policy::HOSTNAME;
use super::pool::Pool;
use super::touched::Which;
use super::traits::Traits;
use super::{Me, Mtls, Rules};
use crate::kubernetes::facts::{Key, SliceEndpoint, SliceFact};

/// A cluster, as its endpoints look at it.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    pub(super) me: &'a Me,
    pub(super) rules: &'a Rules,
    pub(super) cluster: &'a ClusterId,
    pub(super) facts: &'a ClusterFacts,
    /// Of what says nothing itself; empty: not known.
    pub(super) network: NetworkId,
}

/// What a service asks of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// Whether mesh names may lead to them at all.
    pub(super) mesh: bool,
    /// Pod labels that they keep.
    pub(super) labels: BTreeSet<Arc<str>>,
    /// Only those of our own Node.
    pub(super) node_local: bool,
}

/// Where an endpoint is, and whether we may use it.
pub(super) struct Placed {
    pub(super) network: NetworkId,
    /// In our own network: we dial it.
    pub(super) own: bool,
}

impl<'a> View<'a> {
    /// The network of our own cluster is ours; of another what its system namespace's label says, then what configuration
    /// does.
    pub(super) fn new(
        me: &'a Me,
        rules: &'a Rules,
        cluster: &'a ClusterId,
        facts: &'a ClusterFacts,
    ) -> Self {
        let own = (*cluster == me.cluster).then_some(&me.network);
        let labelled = facts.namespace(&rules.system_namespace);
        let labelled = labelled.map(|namespace| &namespace.network);
        let configured = rules.clusters.get(cluster).map(|rule| &rule.network);
        let mut named = [own, labelled, configured].into_iter().flatten();
        let network = named.find(|name| !name.is_empty());
        Self {
            me,
            rules,
            cluster,
            facts,
            network: network.cloned().unwrap_or_default(),
        }
    }

    pub(super) fn is_own(&self) -> bool {
        *self.cluster == self.me.cluster
    }

    /// Whether it may claim our network, and gateways of networks not its own.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_own() || self.rules.same_network.contains(self.cluster)
    }

    /// How many of its Pods claim our network by their own label.
    pub(super) fn pod_claims(&self) -> usize {
        let claims = self.facts.pod_networks().get(&self.me.network);
        claims.copied().unwrap_or_default()
    }

    /// Where an endpoint is whose own label names this network (empty: it has none). `None`: it cannot be used, because
    /// its cluster has no network, or claims ours without being named in `sameNetwork`.
    pub(super) fn place(&self, label: &NetworkId) -> Option<Placed> {
        let network = match label.is_empty() {
            true => self.network.clone(),
            false => label.clone(),
        };
        if network.is_empty() && !self.is_own() {
            return self.rules.assume_flat.then(|| Placed {
                network: self.me.network.clone(),
                own: true,
            });
        }
        let own = network == self.me.network;
        (!own || self.is_trusted()).then_some(Placed { network, own })
    }

    /// The endpoints of a service, each once, sorted; of two slices that both have one, the healthier view counts.
    pub(super) fn endpoints(
        &self,
        key: &Key,
        demand: &Demand,
        which: &Which,
        pool: &mut Pool,
    ) -> Vec<Endpoint> {
        let Some(named) = self.facts.named(key) else {
            return Vec::new();
        };
        let Some(service) = &named.service else {
            return Vec::new();
        };
        if service.external
            || !service
                .export_to
                .is_visible(&key.namespace, &self.me.namespace)
        {
            return Vec::new();
        }
        let mut found = Vec::new();
        for Slice {
            fact: slice,
            filter,
        } in named.slices.values()
        {
            if !which.may_be_in(filter) {
                continue;
            }
            let counts = service.family.is_none_or(|one| slice.family == Some(one));
            if !leads(slice) || !counts {
                continue;
            }
            for endpoint in which.among(&slice.endpoints) {
                found.extend(self.endpoint(slice, endpoint, demand, pool));
            }
        }
        if let Some(first) = service.family {
            for (slice, endpoint) in of_other_family_alone(named.slices.values(), first, which) {
                found.extend(self.endpoint(slice, endpoint, demand, pool));
            }
        }
        unique(&mut found);
        found
    }

    fn endpoint(
        &self,
        slice: &SliceFact,
        endpoint: &SliceEndpoint,
        demand: &Demand,
        pool: &mut Pool,
    ) -> Option<Endpoint> {
        if demand.node_local && !(self.is_own() && endpoint.node == self.me.node) {
            return None;
        }
        let pod = Key {
            namespace: slice.key.namespace.clone(),
            name: endpoint.pod.clone(),
        };
        let traits = match pod.name.is_empty() {
            true => None,
            false => self.facts.pod(&pod),
        };
        let placed = match traits {
            Some(traits) => self.place(&traits.network)?,
            None => self.place(&NetworkId::default())?,
        };
        let trusts_all = !placed.own || self.rules.mtls == Mtls::All;
        if traits.is_none() && !pod.name.is_empty() && !trusts_all {
            // Its Pod decides, and is not known yet (or any more).
            return None;
        }
        let mutual_tls = trusts_all || traits.is_some_and(|traits| traits.mutual_tls);
        let node = self.facts.node(&endpoint.node);
        let empty = Traits::default();
        let health = match traits {
            Some(traits) if traits.draining => Health::Terminating,
            _ => endpoint.health,
        };
        let origin = Origin {
            cluster: self.cluster.clone(),
            network: placed.network,
            locality: self.locality(
                traits.map_or(&empty, |traits| traits),
                node.map(|node| &node.locality),
            ),
            workload: traits.map_or_else(Workload::default, |traits| traits.workload.clone()),
        };
        let hostname = node.map(|node| &node.hostname);
        Some(Endpoint {
            address: endpoint.address,
            weight: 1,
            health,
            tls: tls(demand.mesh && mutual_tls),
            ports: slice.ports.clone(),
            labels: kept(demand, traits.map(|traits| &*traits.labels), hostname, pool),
            origin: pool.origins.share(Arc::new(origin)),
        })
    }

    /// By the Pod's label, else by its Node's, else by configuration.
    pub(super) fn locality(&self, traits: &Traits, node: Option<&Locality>) -> Locality {
        if let Some(locality) = &traits.locality {
            return locality.clone();
        }
        let configured = || {
            self.rules
                .clusters
                .get(self.cluster)
                .map(|rule| &rule.locality)
        };
        let node = node.filter(|locality| **locality != Locality::default());
        node.or_else(configured).cloned().unwrap_or_default()
    }
}

pub(super) fn tls(mutual: bool) -> TlsMode {
    match mutual {
        true => TlsMode::Istio,
        false => TlsMode::Disabled,
    }
}

/// The labels that subsets and closeness look at, and no others, so that most endpoints share one map.
pub(super) fn kept(
    demand: &Demand,
    labels: Option<&Labels>,
    hostname: Option<&Arc<str>>,
    pool: &mut Pool,
) -> Arc<Labels> {
    let mut kept = Labels::new();
    for name in &demand.labels {
        let own = labels.and_then(|labels| labels.get(name));
        let value = own.or_else(|| hostname.filter(|_| **name == *HOSTNAME));
        if let Some(value) = value {
            kept.insert(name.clone(), value.clone());
        }
    }
    pool.label_map(&kept)
}

/// Sorts; of endpoints with one key the healthiest stays.
pub(super) fn unique(endpoints: &mut Vec<Endpoint>) {
    endpoints.sort_by(|a, b| a.cmp_key(b).then(a.health.cmp(&b.health)));
    endpoints.dedup_by(|later, kept| later.cmp_key(kept).is_eq());
}
