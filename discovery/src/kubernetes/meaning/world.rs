//! The facts of all clusters, changed one at a time. What they mean is worked out in `publish`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{ClusterId, Hostname, Snapshot};

use super::cluster::ClusterFacts;
use super::endpoints::{Demand, View};
use super::entries::Resolved;
use super::exposure::Exposure;
use super::pool::Pool;
use super::ports::Mismatch;
use super::selection::rule_host;
use super::tally::Tally;
use super::touched::{MANY_PASSES, Touched};
use super::{Finding, Me, Rules, Wants, entries, findings, hosts, networks};
use crate::kubernetes::facts::{
    Change, DestinationRuleFact, Fact, GatewayFact, Key, Kind, ServiceEntryFact, Unreadable,
    VirtualServiceFact,
};

/// Everything that is known, and the snapshot that it comes to.
#[derive(Debug)]
pub struct World {
    pub(super) me: Me,
    pub(super) rules: Rules,
    pub(super) clusters: BTreeMap<ClusterId, ClusterFacts>,
    pub(super) istio: Istio,
    pub(super) resolved: Resolved,
    pub(super) unreadable: BTreeMap<(ClusterId, Kind, Key), Unreadable>,
    pub(super) pool: Pool,
    pub(super) touched: Touched,
    /// What each service of the snapshot asked of its endpoints: with another demand they are all derived again.
    pub(super) demands: HashMap<Hostname, Demand>,
    /// Services whose ports clusters call differently.
    pub(super) mismatches: BTreeMap<Hostname, Vec<Mismatch>>,
    pub(super) tally: Tally,
    pub(super) exposure: Exposure,
    pub(super) snapshot: Arc<Snapshot>,
}

/// Istio's resources, of our own cluster.
#[derive(Debug, Default)]
pub(super) struct Istio {
    pub(super) gateways: BTreeMap<Key, GatewayFact>,
    pub(super) rules: BTreeMap<Key, DestinationRuleFact>,
    /// How many of the rules select Pods by label.
    select_by_label: usize,
    pub(super) entries: BTreeMap<Key, ServiceEntryFact>,
    pub(super) virtual_services: BTreeMap<Key, VirtualServiceFact>,
}

impl World {
    /// A world of our own cluster, of which nothing is known yet.
    #[must_use]
    pub fn new(me: Me, rules: Rules) -> Self {
        Self {
            clusters: BTreeMap::from([(me.cluster.clone(), ClusterFacts::default())]),
            me,
            rules,
            istio: Istio::default(),
            resolved: Resolved::new(),
            unreadable: BTreeMap::new(),
            pool: Pool::default(),
            touched: Touched {
                networks: true,
                ..Touched::default()
            },
            demands: HashMap::new(),
            mismatches: BTreeMap::new(),
            tally: Tally::default(),
            exposure: Exposure::default(),
            snapshot: Arc::default(),
        }
    }

    /// Takes note of what happened in a cluster, which is known from then on until it is removed. Istio's resources count
    /// in our own cluster alone.
    pub fn apply(&mut self, cluster: &ClusterId, change: Change) {
        if !self.clusters.contains_key(cluster) {
            self.clusters
                .insert(cluster.clone(), ClusterFacts::default());
            self.touched.networks = true;
        }
        match change {
            Change::Put(fact) => self.put(cluster, fact),
            Change::Delete(kind, key) => self.delete(cluster, kind, &key),
            Change::Unreadable(unreadable) => self.report(cluster, unreadable),
            Change::Reset(kind, facts) => self.reset(cluster, kind, facts),
        }
    }

    /// Forgets a cluster and its endpoints.
    pub fn remove(&mut self, cluster: &ClusterId) {
        self.unreadable.retain(|(of, ..), _| of != cluster);
        if let Some(facts) = self.clusters.remove(cluster) {
            let mut touch = self.touched.by(cluster, &self.rules.domain);
            for (key, _) in facts.services() {
                touch.all_endpoints(key);
            }
            touch.networks();
        }
        if *cluster == self.me.cluster {
            self.clusters
                .insert(cluster.clone(), ClusterFacts::default());
            for kind in Kind::ISTIO {
                for key in self.istio.keys(kind) {
                    self.delete(cluster, kind, &key);
                }
            }
        }
    }

    /// Takes note of a name's addresses. Keeping the last good ones where there is no answer is the resolver's business.
    pub fn resolved(&mut self, name: &Hostname, mut addresses: Vec<IpAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        if self.resolved.get(name) == Some(&addresses) {
            return;
        }
        self.resolved.insert(name.clone(), addresses);
        self.touched.networks = true;
        for entry in self.istio.entries.values() {
            if entries::names(entry).contains(&name) {
                for host in &entry.hosts {
                    self.touched.all_endpoints(host.clone(), &self.me.cluster);
                }
            }
        }
    }

    /// The names whose addresses are needed, sorted.
    #[must_use]
    pub fn names_to_resolve(&self) -> Vec<Hostname> {
        let mut names = networks::names(&self.views());
        for entry in self.istio.entries.values() {
            names.extend(entries::names(entry).into_iter().cloned());
        }
        names.into_iter().collect()
    }

    /// What has to be read of a cluster; may change with anything that is applied.
    #[must_use]
    pub fn wants(&self, cluster: &ClusterId) -> Wants {
        let empty = ClusterFacts::default();
        let facts = self.clusters.get(cluster).unwrap_or(&empty);
        let view = View::new(&self.me, &self.rules, cluster, facts);
        let elsewhere =
            !view.is_own() && !view.network.is_empty() && view.network != self.me.network;
        Wants {
            pods: !elsewhere || self.istio.select_by_label > 0,
            whole_nodes: networks::needs_nodes(&view),
        }
    }

    /// What people should know of, sorted; of the snapshot last published.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        findings::findings(self)
    }

    /// All clusters, our own first.
    pub(super) fn views(&self) -> Vec<View<'_>> {
        let all = self.clusters.iter();
        let mut views: Vec<View> = all
            .map(|(cluster, facts)| View::new(&self.me, &self.rules, cluster, facts))
            .collect();
        views.sort_by_key(|view| !view.is_own());
        views
    }

    fn put(&mut self, cluster: &ClusterId, fact: Fact) {
        let (kind, key) = (fact.kind(), fact.key().clone());
        self.unreadable.remove(&(cluster.clone(), kind, key));
        if Kind::ISTIO.contains(&kind) {
            if *cluster == self.me.cluster {
                self.put_istio(fact);
            }
            return;
        }
        let mut touch = self.touched.by(cluster, &self.rules.domain);
        let facts = self.clusters.entry(cluster.clone()).or_default();
        facts.put(
            fact,
            &self.rules.system_namespace,
            &mut self.pool,
            &mut touch,
        );
    }

    fn delete(&mut self, cluster: &ClusterId, kind: Kind, key: &Key) {
        self.unreadable
            .remove(&(cluster.clone(), kind, key.clone()));
        if Kind::ISTIO.contains(&kind) {
            if *cluster == self.me.cluster {
                self.delete_istio(kind, key);
            }
            return;
        }
        if let Some(facts) = self.clusters.get_mut(cluster) {
            let mut touch = self.touched.by(cluster, &self.rules.domain);
            facts.delete(kind, key, &self.rules.system_namespace, &mut touch);
        }
    }

    fn report(&mut self, cluster: &ClusterId, unreadable: Unreadable) {
        let key = (cluster.clone(), unreadable.kind, unreadable.key.clone());
        self.unreadable.insert(key, unreadable);
    }

    fn reset(&mut self, cluster: &ClusterId, kind: Kind, facts: Vec<Result<Fact, Unreadable>>) {
        self.unreadable
            .retain(|(of, other, _), _| (of, *other) != (cluster, kind));
        let known = match self.clusters.get(cluster) {
            _ if Kind::ISTIO.contains(&kind) => self.istio.keys(kind),
            Some(facts) => facts.keys(kind),
            None => Vec::new(),
        };
        self.touched.passes = Some(0);
        let mut gone: HashSet<Key> = known.into_iter().collect();
        for fact in facts {
            match fact {
                Ok(fact) => {
                    gone.remove(fact.key());
                    self.put(cluster, fact);
                }
                Err(unreadable) => {
                    gone.remove(&unreadable.key);
                    self.report(cluster, unreadable);
                }
            }
        }
        for key in gone {
            self.delete(cluster, kind, &key);
        }
        let many = self
            .touched
            .passes
            .take()
            .is_some_and(|passes| passes > MANY_PASSES);
        if let Some(facts) = self.clusters.get(cluster).filter(|_| many) {
            let mut touch = self.touched.by(cluster, &self.rules.domain);
            for (key, _) in facts.services() {
                touch.all_endpoints(key);
            }
        }
    }

    fn put_istio(&mut self, fact: Fact) {
        match fact {
            Fact::Gateway(fact) => {
                self.touched.exposure |=
                    put(&mut self.istio.gateways, fact.key.clone(), fact).is_some();
            }
            Fact::VirtualService(fact) => {
                let changed = put(&mut self.istio.virtual_services, fact.key.clone(), fact);
                self.touched.exposure |= changed.is_some();
            }
            Fact::DestinationRule(fact) => {
                let host = rule_host(&fact, &self.rules);
                let selects = usize::from(selects_by_label(&fact));
                if let Some(before) = put(&mut self.istio.rules, fact.key.clone(), fact) {
                    let selected = before.as_ref().is_some_and(selects_by_label);
                    self.istio.select_by_label += selects;
                    self.istio.select_by_label -= usize::from(selected);
                    let before = before.map(|before| rule_host(&before, &self.rules));
                    for host in before.into_iter().chain([host]) {
                        self.touch_covered(&host);
                    }
                }
            }
            Fact::ServiceEntry(fact) => {
                let hosts = fact.hosts.clone();
                if let Some(before) = put(&mut self.istio.entries, fact.key.clone(), fact) {
                    let before = before.map_or_else(Vec::new, |before| before.hosts);
                    for host in before.into_iter().chain(hosts) {
                        self.touched.all_endpoints(host, &self.me.cluster);
                    }
                }
            }
            Fact::Service(_)
            | Fact::Slice(_)
            | Fact::Pod(_)
            | Fact::Node(_)
            | Fact::Namespace(_) => {}
        }
    }

    fn delete_istio(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::Gateway => self.touched.exposure |= self.istio.gateways.remove(key).is_some(),
            Kind::VirtualService => {
                self.touched.exposure |= self.istio.virtual_services.remove(key).is_some();
            }
            Kind::DestinationRule => {
                if let Some(gone) = self.istio.rules.remove(key) {
                    self.istio.select_by_label -= usize::from(selects_by_label(&gone));
                    self.touch_covered(&rule_host(&gone, &self.rules));
                }
            }
            Kind::ServiceEntry => {
                if let Some(gone) = self.istio.entries.remove(key) {
                    for host in gone.hosts {
                        self.touched.all_endpoints(host, &self.me.cluster);
                    }
                }
            }
            Kind::Service | Kind::Slice | Kind::Pod | Kind::Node | Kind::Namespace => {}
        }
    }

    /// Touches the services whose host a rule's host covers.
    fn touch_covered(&mut self, pattern: &str) {
        for host in self.hosts() {
            if hosts::covers(pattern, host.as_str()) {
                self.touched.settings(host);
            }
        }
    }

    /// The hosts of all Services and ServiceEntries.
    pub(super) fn hosts(&self) -> HashSet<Hostname> {
        let services = self.clusters.values().flat_map(ClusterFacts::services);
        let real = services.filter(|(_, named)| named.service.is_some());
        let of_services = real.filter_map(|(key, _)| hosts::host_of(key, &self.rules.domain));
        let of_entries = self
            .istio
            .entries
            .values()
            .flat_map(|entry| entry.hosts.iter().cloned());
        of_services.chain(of_entries).collect()
    }
}

impl Istio {
    fn keys(&self, kind: Kind) -> Vec<Key> {
        match kind {
            Kind::Gateway => self.gateways.keys().cloned().collect(),
            Kind::DestinationRule => self.rules.keys().cloned().collect(),
            Kind::ServiceEntry => self.entries.keys().cloned().collect(),
            Kind::VirtualService => self.virtual_services.keys().cloned().collect(),
            Kind::Service | Kind::Slice | Kind::Pod | Kind::Node | Kind::Namespace => Vec::new(),
        }
    }
}

/// Whether a rule has subsets that select Pods by label.
fn selects_by_label(rule: &DestinationRuleFact) -> bool {
    rule.subsets.iter().any(|subset| !subset.labels.is_empty())
}

/// Puts a fact; `None` if it is the one that was there, else the one before, if any.
fn put<T: PartialEq>(facts: &mut BTreeMap<Key, T>, key: Key, fact: T) -> Option<Option<T>> {
    if facts.get(&key) == Some(&fact) {
        return None;
    }
    Some(facts.insert(key, fact))
}
