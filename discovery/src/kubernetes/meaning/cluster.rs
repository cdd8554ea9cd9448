//! One cluster's facts, small, and which services a change of them touches. It must not derive anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use model::NetworkId;

use super::families::other_addresses;
use super::filter::Filter;
use super::pool::Pool;
use super::touched::{MANY, Touch};
use super::traits::{Traits, traits};
use crate::kubernetes::facts::{
    Fact, Key, Kind, NamespaceFact, NodeFact, PodFact, ServiceFact, ServiceGateway, SliceEndpoint,
    SliceFact,
};

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterFacts {
    services: BTreeMap<Key, Named>,
    /// The Services that declare a network's gateway.
    gateways: BTreeSet<Key>,
    /// The Service that each slice was counted for.
    owners: HashMap<Key, Arc<str>>,
    pods: HashMap<Key, Arc<Traits>>,
    nodes: HashMap<Arc<str>, NodeFact>,
    namespaces: HashMap<Arc<str>, NamespaceFact>,
    /// How many Pods bear each network's label.
    pod_networks: BTreeMap<NetworkId, usize>,
}

/// What is known under a Service's name.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// The Service; `None`: only slices that name it.
    pub(super) service: Option<ServiceFact>,
    pub(super) slices: BTreeMap<Arc<str>, Slice>,
}

/// A slice that names a Service.
#[derive(Debug)]
pub(super) struct Slice {
    /// Its endpoints are sorted by address.
    pub(super) fact: SliceFact,
    pub(super) filter: Filter,
}

impl Named {
    /// The addresses whose endpoints may differ between two versions of a slice.
    fn differing(&self, before: Option<&SliceFact>, after: Option<&SliceFact>) -> Vec<IpAddr> {
        let mut addresses = differing(before, after);
        addresses.sort_unstable();
        addresses.dedup();
        let has_both = (self.service.as_ref()).is_some_and(|service| service.family.is_some());
        // More are as good as all in any case.
        if !has_both || addresses.is_empty() || addresses.len() > MANY {
            return addresses;
        }
        for slice in [before, after].into_iter().flatten() {
            let touched = slice.endpoints.iter();
            let touched = touched.filter(|endpoint| addresses.contains(&endpoint.address));
            let touched: Vec<&SliceEndpoint> = touched.collect();
            addresses.extend(other_addresses(
                self.slices.values(),
                slice.family,
                touched.into_iter(),
            ));
        }
        addresses
    }
}

impl ClusterFacts {
    pub(super) fn named(&self, key: &Key) -> Option<&Named> {
        self.services.get(key)
    }

    pub(super) fn service(&self, key: &Key) -> Option<&ServiceFact> {
        self.services.get(key)?.service.as_ref()
    }

    /// The Services that declare a network's gateway.
    pub(super) fn gateways(&self) -> impl Iterator<Item = (&Key, &ServiceGateway)> {
        self.gateways.iter().filter_map(|key| {
            let gateway = self.service(key)?.gateway.as_deref()?;
            Some((key, gateway))
        })
    }

    pub(super) fn services(&self) -> impl Iterator<Item = (&Key, &Named)> {
        self.services.iter()
    }

    pub(super) fn pod(&self, key: &Key) -> Option<&Arc<Traits>> {
        self.pods.get(key)
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = (&Key, &Arc<Traits>)> {
        self.pods.iter()
    }

    pub(super) fn node(&self, name: &str) -> Option<&NodeFact> {
        self.nodes.get(name)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeFact> {
        self.nodes.values()
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&NamespaceFact> {
        self.namespaces.get(name)
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &NamespaceFact> {
        self.namespaces.values()
    }

    /// Networks that Pods of this cluster name, with their number.
    pub(super) fn pod_networks(&self) -> &BTreeMap<NetworkId, usize> {
        &self.pod_networks
    }

    /// The keys of all objects of a kind.
    pub(super) fn keys(&self, kind: Kind) -> Vec<Key> {
        let outside = |name: &Arc<str>| Key {
            namespace: Arc::default(),
            name: name.clone(),
        };
        match kind {
            Kind::Service => {
                let services = self.services.iter();
                let real = services.filter(|(_, named)| named.service.is_some());
                real.map(|(key, _)| key.clone()).collect()
            }
            Kind::Slice => self.owners.keys().cloned().collect(),
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Node => self.nodes.keys().map(outside).collect(),
            Kind::Namespace => self.namespaces.keys().map(outside).collect(),
            Kind::Gateway | Kind::DestinationRule | Kind::ServiceEntry | Kind::VirtualService => {
                Vec::new()
            }
        }
    }

    pub(super) fn put(
        &mut self,
        fact: Fact,
        system_namespace: &str,
        pool: &mut Pool,
        touch: &mut Touch,
    ) {
        match fact {
            Fact::Service(fact) => self.put_service(fact, pool, touch),
            Fact::Slice(fact) => self.put_slice(fact, pool, touch),
            Fact::Pod(fact) => self.put_pod(&fact, pool, touch),
            Fact::Node(fact) => {
                let name = pool.strings.share(fact.key.name.clone());
                self.set_node(&name, Some(fact), touch);
            }
            Fact::Namespace(fact) => {
                let name = fact.key.name.clone();
                self.set_namespace(&name, Some(fact), system_namespace, touch);
            }
            // Istio's resources are no cluster's; `World` keeps them.
            Fact::Gateway(_)
            | Fact::DestinationRule(_)
            | Fact::ServiceEntry(_)
            | Fact::VirtualService(_) => {}
        }
    }

    pub(super) fn delete(
        &mut self,
        kind: Kind,
        key: &Key,
        system_namespace: &str,
        touch: &mut Touch,
    ) {
        match kind {
            Kind::Service => self.delete_service(key, touch),
            Kind::Slice => self.delete_slice(key, touch),
            Kind::Pod => self.set_pod(key, None, touch),
            Kind::Node => self.set_node(&key.name, None, touch),
            Kind::Namespace => self.set_namespace(&key.name, None, system_namespace, touch),
            Kind::Gateway | Kind::DestinationRule | Kind::ServiceEntry | Kind::VirtualService => {}
        }
    }

    fn put_service(&mut self, mut fact: ServiceFact, pool: &mut Pool, touch: &mut Touch) {
        let key = shared_key(&fact.key, pool);
        fact.key = key.clone();
        for port in &mut fact.ports {
            port.name = pool.strings.share(port.name.clone());
        }
        let named = self.services.entry(key.clone()).or_default();
        let before = named.service.as_ref();
        if before == Some(&fact) {
            return;
        }
        let gateway = |fact: &ServiceFact| fact.gateway.clone();
        if before.and_then(gateway) != fact.gateway {
            touch.networks();
        }
        touch.all_endpoints(&key);
        match fact.gateway {
            Some(_) => self.gateways.insert(key),
            None => self.gateways.remove(&key),
        };
        named.service = Some(fact);
    }

    fn delete_service(&mut self, key: &Key, touch: &mut Touch) {
        let Some(named) = self.services.get_mut(key) else {
            return;
        };
        if let Some(gone) = named.service.take() {
            touch.all_endpoints(key);
            if gone.gateway.is_some() {
                self.gateways.remove(key);
                touch.networks();
            }
        }
        if named.slices.is_empty() {
            self.services.remove(key);
        }
    }

    fn put_slice(&mut self, mut fact: SliceFact, pool: &mut Pool, touch: &mut Touch) {
        let key = shared_key(&fact.key, pool);
        let owner = self.owners.get(&key);
        if owner.is_some() && owner != fact.service.as_ref() {
            self.delete_slice(&key, touch);
        }
        let Some(service) = fact.service.take() else {
            return;
        };
        let service = pool.strings.share(service);
        fact.key = key.clone();
        fact.service = Some(service.clone());
        fact.ports = share_ports(&fact, pool);
        // So that one of them is found without a look at the others.
        fact.endpoints.sort_by_key(|endpoint| endpoint.address);
        self.owners.insert(key.clone(), service.clone());
        let service = Key {
            namespace: key.namespace.clone(),
            name: service,
        };
        let named = self.services.entry(service.clone()).or_default();
        let before = named.slices.get(&key.name).map(|before| &before.fact);
        for (at, endpoint) in fact.endpoints.iter_mut().enumerate() {
            // Most endpoints of a slice stay where they are, and their strings are shared already.
            let known = before.and_then(|before| before.endpoints.get(at));
            let known = known.map(|known| (&known.pod, &known.node));
            let mut share = |text: &mut Arc<str>, known: Option<&Arc<str>>| {
                *text = match known.filter(|known| known == &text) {
                    Some(known) => known.clone(),
                    None => pool.strings.share(text.clone()),
                };
            };
            share(&mut endpoint.pod, known.map(|(pod, _)| pod));
            share(&mut endpoint.node, known.map(|(_, node)| node));
        }
        fact.endpoints.shrink_to_fit();
        touch.endpoints(&service, &named.differing(before, Some(&fact)));
        let filter = Filter::of(&fact.endpoints);
        named.slices.insert(key.name, Slice { fact, filter });
    }

    fn delete_slice(&mut self, key: &Key, touch: &mut Touch) {
        let Some(owner) = self.owners.remove(key) else {
            return;
        };
        let service = Key {
            namespace: key.namespace.clone(),
            name: owner,
        };
        let Some(named) = self.services.get_mut(&service) else {
            return;
        };
        let gone = named.slices.remove(&key.name).map(|gone| gone.fact);
        touch.endpoints(&service, &named.differing(gone.as_ref(), None));
        if named.slices.is_empty() && named.service.is_none() {
            self.services.remove(&service);
        }
    }

    fn put_pod(&mut self, fact: &PodFact, pool: &mut Pool, touch: &mut Touch) {
        let key = shared_key(&fact.key, pool);
        let traits = traits(fact, pool);
        self.set_pod(&key, Some(traits), touch);
    }

    /// `key` of a Pod that is new is shared, so that its name and those in slices are one string.
    fn set_pod(&mut self, key: &Key, traits: Option<Arc<Traits>>, touch: &mut Touch) {
        let name = match self.pods.get_key_value(key) {
            Some((known, before)) => {
                if traits.as_ref().is_some_and(|new| Arc::ptr_eq(new, before)) {
                    return;
                }
                known.name.clone()
            }
            None if traits.is_none() => return,
            None => key.name.clone(),
        };
        self.touch_where(Some(&key.namespace), touch, |endpoint| {
            Arc::ptr_eq(&endpoint.pod, &name)
        });
        if let Some(new) = &traits
            && !new.network.is_empty()
        {
            let count = self.pod_networks.entry(new.network.clone()).or_default();
            *count += 1;
            if *count == 1 {
                touch.networks();
            }
        }
        let gone = match traits {
            Some(new) => self.pods.insert(key.clone(), new),
            None => self.pods.remove(key),
        };
        if let Some(gone) = gone
            && let Some(count) = self.pod_networks.get_mut(&gone.network)
        {
            *count -= 1;
            if *count == 0 {
                self.pod_networks.remove(&gone.network);
                touch.networks();
            }
        }
    }

    fn set_node(&mut self, name: &Arc<str>, fact: Option<NodeFact>, touch: &mut Touch) {
        let before = self.nodes.get_key_value(name);
        let place = |fact: &NodeFact| (fact.locality.clone(), fact.hostname.clone());
        if before.map(|(_, before)| place(before)) != fact.as_ref().map(place) {
            let name = before.map_or(name, |(name, _)| name).clone();
            self.touch_where(None, touch, |endpoint| Arc::ptr_eq(&endpoint.node, &name));
        }
        let before = match fact {
            Some(fact) => {
                if fact.details.is_some() {
                    touch.networks();
                }
                self.nodes.insert(name.clone(), fact)
            }
            None => self.nodes.remove(name),
        };
        if before.is_some_and(|before| before.details.is_some()) {
            touch.networks();
        }
    }

    fn set_namespace(
        &mut self,
        name: &Arc<str>,
        fact: Option<NamespaceFact>,
        system_namespace: &str,
        touch: &mut Touch,
    ) {
        let before = self.namespaces.get(name);
        let network = |fact: &NamespaceFact| fact.network.clone();
        let moved = before.map(network).unwrap_or_default()
            != fact.as_ref().map(network).unwrap_or_default();
        if moved && **name == *system_namespace {
            for key in self.services.keys() {
                touch.all_endpoints(key);
            }
            touch.networks();
        }
        let distribution = |fact: &NamespaceFact| fact.traffic_distribution;
        if before.and_then(distribution) != fact.as_ref().and_then(distribution) {
            for (key, _) in self.of_namespace(name) {
                touch.settings(key);
            }
        }
        match fact {
            Some(fact) => self.namespaces.insert(name.clone(), fact),
            None => self.namespaces.remove(name),
        };
    }

    fn of_namespace<'a>(
        &'a self,
        namespace: &'a Arc<str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Named)> {
        let start = Key {
            namespace: namespace.clone(),
            name: Arc::default(),
        };
        let from = self.services.range(start..);
        from.take_while(move |(key, _)| key.namespace == *namespace)
    }

    /// Touches the endpoints that a test picks. A pass over them all, of pointers only, costs less than an index would in
    /// memory.
    fn touch_where(
        &self,
        namespace: Option<&Arc<str>>,
        touch: &mut Touch,
        test: impl Fn(&SliceEndpoint) -> bool,
    ) {
        if !touch.may_pass() {
            return;
        }
        let touch_one = |(key, named): (&Key, &Named)| {
            let slices = named.slices.values();
            let endpoints = slices.flat_map(|slice| &slice.fact.endpoints);
            let addresses: Vec<IpAddr> = endpoints
                .filter(|endpoint| test(endpoint))
                .map(|endpoint| endpoint.address)
                .collect();
            touch.endpoints(key, &addresses);
        };
        match namespace {
            Some(namespace) => self.of_namespace(namespace).for_each(touch_one),
            None => self.services.iter().for_each(touch_one),
        }
    }
}

fn shared_key(key: &Key, pool: &mut Pool) -> Key {
    Key {
        namespace: pool.strings.share(key.namespace.clone()),
        name: pool.strings.share(key.name.clone()),
    }
}

fn share_ports(fact: &SliceFact, pool: &mut Pool) -> Arc<model::PortMap> {
    let ports = fact.ports.iter();
    let ports = ports.map(|(name, port)| (pool.strings.share(name.clone()), *port));
    let ports = ports.collect();
    pool.ports.share(Arc::new(ports))
}

/// The addresses whose endpoints differ between two versions of a slice.
fn differing(before: Option<&SliceFact>, after: Option<&SliceFact>) -> Vec<IpAddr> {
    let alike = match (before, after) {
        (Some(before), Some(after)) => before.ports == after.ports && before.family == after.family,
        _ => false,
    };
    let (before, after) = (endpoints(before), endpoints(after));
    if alike {
        let gone = before.iter().filter(|endpoint| !has(after, endpoint));
        let new = after.iter().filter(|endpoint| !has(before, endpoint));
        gone.chain(new).map(|endpoint| endpoint.address).collect()
    } else {
        let all = before.iter().chain(after);
        all.map(|endpoint| endpoint.address).collect()
    }
}

fn endpoints(slice: Option<&SliceFact>) -> &[SliceEndpoint] {
    slice.map_or(&[], |slice| &slice.endpoints)
}

/// Whether an endpoint is among these, which are sorted by address.
fn has(sorted: &[SliceEndpoint], endpoint: &SliceEndpoint) -> bool {
    let start = sorted.partition_point(|other| other.address < endpoint.address);
    let same_address = sorted[start..]
        .iter()
        .take_while(|other| other.address == endpoint.address);
    same_address.into_iter().any(|other| other == endpoint)
}
