//! Everything that a server has said, and the snapshot that follows from it. It knows no stream and no version.
//!
//! ```text
//!  listeners' chains, clusters --plan--> which names there are, and the cluster of each
//!  endpoints --service--> one service for each host, with what every name of it is assigned
//! ```
//!
//! Nothing is decided anew: exposure, subsets, tiers and weights are the server's. A plan comes into force with the last of
//! the endpoints that it asks for: until then the one before it stays, and follows the changes of its endpoints.

mod plan;
mod service;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Chunked, Hostname, NetworkId, PassthroughRoute, Service, Snapshot};
use serde::Serialize;

use self::plan::{Plan, Use};
use crate::client::facts::{Cluster, Discovery, Endpoints, Kind, Listener, Notes};

/// How much a server may say: beyond it nothing more is taken, so that no server takes the gateway's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// Clusters and listeners together.
    pub resources: usize,
    /// Endpoints of all clusters together; every port and subset of a service is a cluster.
    pub endpoints: usize,
    /// Bytes of one response.
    pub response: usize,
}

impl Default for Ceilings {
    /// Those of one cluster's API server ten times over, because a server may know many.
    fn default() -> Self {
        Self {
            resources: 2_000_000,
            endpoints: 2_000_000,
            response: 512 << 20,
        }
    }
}

/// Everything that a server has said.
#[derive(Debug, Default)]
pub struct World {
    network: NetworkId,
    ceilings: Ceilings,
    /// Endpoints in `clusters` and in `endpoints`.
    held: usize,
    clusters: BTreeMap<Arc<str>, Arc<Cluster>>,
    endpoints: BTreeMap<Arc<str>, Arc<Endpoints>>,
    listeners: BTreeMap<Arc<str>, Listener>,
    notes: BTreeMap<(Kind, Arc<str>), Notes>,
    /// Names whose endpoints the server owes and is not waited for any longer, or whose first ones cannot be read.
    overdue: BTreeSet<Arc<str>>,
    /// The plan in force.
    plan: Plan,
    /// The one that follows from what is known now, while some of its endpoints are waited for.
    next: Option<Plan>,
    /// Clusters or listeners have changed since the latest plan was made.
    stale: bool,
    /// Another plan has come into force since the last snapshot.
    replanned: bool,
    /// Hosts whose endpoints have changed since the last snapshot.
    touched: BTreeSet<Hostname>,
}

/// A resource that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What it is called; empty where not even that can be read.
    pub name: String,
    /// Why it cannot be read.
    pub why: String,
}

/// What a gateway does not take of what it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unused {
    /// Filters, extensions and settings that are passed over, because they change nothing that is decided here: how often
    /// each stands in the resources.
    pub skipped: BTreeMap<Arc<str>, u64>,
    /// Parts of resources that are not served, and why.
    pub left_out: Vec<LeftOut>,
}

/// A part of a resource that is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The kind of the resource.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// What is left out, and why.
    pub what: String,
}

impl World {
    /// A world of which nothing is known, for a gateway in this network.
    #[must_use]
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            ..Self::default()
        }
    }

    /// It takes no more than this from now on.
    pub fn limit(&mut self, ceilings: Ceilings) {
        self.ceilings = ceilings;
    }

    /// Takes over a resource, and says what it is called. One that cannot be read changes nothing: the last good one stays.
    /// `expected` is what its envelope calls it, empty where it has none.
    ///
    /// # Errors
    /// Why it cannot be read, or that there are too many.
    pub fn put(&mut self, kind: Kind, bytes: &[u8], expected: &str) -> Result<Arc<str>, Refusal> {
        let mut notes = Notes::default();
        let name = match kind {
            Kind::Clusters => {
                let (name, cluster) = checked(Cluster::read(bytes, &mut notes), expected)?;
                let known = self.clusters.get(&name).map(|known| &**known);
                let held = self.held - known.map_or(0, given) + given(&cluster);
                let is_new = known != Some(&cluster);
                self.check(&name, known.is_some(), held)?;
                self.held = held;
                if is_new {
                    self.stale = true;
                    self.clusters.insert(name.clone(), Arc::new(cluster));
                }
                name
            }
            Kind::Endpoints => {
                let read = checked(Endpoints::read(bytes, &mut notes), expected);
                let room = read.and_then(|(name, endpoints)| {
                    self.check(&name, true, self.held_with(&name, &endpoints))?;
                    Ok((name, endpoints))
                });
                let (name, endpoints) =
                    room.inspect_err(|refusal| self.cannot_have(&refusal.name))?;
                self.put_endpoints(&name, endpoints);
                name
            }
            Kind::Listeners => {
                let (name, listener) = checked(Listener::read(bytes, &mut notes), expected)?;
                self.check(&name, self.listeners.contains_key(&name), self.held)?;
                self.stale |= self.listeners.get(&name) != Some(&listener);
                self.listeners.insert(name.clone(), listener);
                name
            }
        };
        let key = (kind, name.clone());
        match notes == Notes::default() {
            true => self.notes.remove(&key),
            false => self.notes.insert(key, notes),
        };
        Ok(name)
    }

    /// A resource is gone.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.notes.remove(&(kind, name.into()));
        match kind {
            Kind::Clusters => {
                let known = self.clusters.remove(name);
                self.held -= known.as_ref().map_or(0, |known| given(known));
                self.stale |= known.is_some();
            }
            Kind::Listeners => self.stale |= self.listeners.remove(name).is_some(),
            // A cluster that has no endpoints is one of which that is known.
            Kind::Endpoints => self.put_endpoints(&name.into(), Endpoints::default()),
        }
    }

    /// The resources of a kind.
    #[must_use]
    pub fn names(&self, kind: Kind) -> BTreeSet<Arc<str>> {
        match kind {
            Kind::Clusters => self.clusters.keys().cloned().collect(),
            Kind::Endpoints => self.endpoints.keys().cloned().collect(),
            Kind::Listeners => self.listeners.keys().cloned().collect(),
        }
    }

    /// How many resources there are of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Clusters => self.clusters.len(),
            Kind::Endpoints => self.endpoints.len(),
            Kind::Listeners => self.listeners.len(),
        }
    }

    /// The endpoints to ask for: those of clusters that a chain leads to. Endpoints that nobody asks for any more are
    /// forgotten, once no name in force has them.
    pub fn wanted(&mut self) -> BTreeSet<Arc<str>> {
        self.refresh();
        let (plan, next) = (&self.plan, self.next.as_ref());
        let is_used = |name: &str| {
            let of = |plan: &Plan| plan.hosts_of(name).is_some();
            of(plan) || next.is_some_and(of)
        };
        let held = &mut self.held;
        self.endpoints.retain(|name, endpoints| {
            let kept = is_used(name);
            *held -= if kept { 0 } else { endpoints.count() };
            kept
        });
        self.overdue.retain(|name| is_used(name));
        next.unwrap_or(plan).wanted().cloned().collect()
    }

    /// The endpoints that are asked for and have not come.
    pub fn missing(&mut self) -> Vec<Arc<str>> {
        let wanted = self.wanted().into_iter();
        wanted.filter(|name| self.is_missing(name)).collect()
    }

    /// The server has had its time: what is missing is taken for not there (Envoy's `initial_fetch_timeout`).
    pub fn give_up(&mut self) {
        let missing = self.missing();
        self.overdue.extend(missing);
    }

    /// The first endpoints of this name cannot be had, so there is nothing to wait for; those that are known stay.
    pub fn cannot_have(&mut self, name: &str) {
        if !self.endpoints.contains_key(name) {
            self.overdue.insert(name.into());
        }
    }

    /// What is not taken of what was sent.
    #[must_use]
    pub fn unused(&self) -> Unused {
        let mut unused = Unused::default();
        for ((kind, name), notes) in &self.notes {
            for (what, count) in &notes.skipped {
                *unused.skipped.entry(what.clone()).or_default() += count;
            }
            let left_out = notes.left_out.iter().map(|what| LeftOut {
                kind: *kind,
                name: name.clone(),
                what: what.clone(),
            });
            unused.left_out.extend(left_out);
        }
        let latest = self.next.as_ref().unwrap_or(&self.plan);
        unused.left_out.extend(latest.left_out.iter().cloned());
        unused
    }

    /// What follows from everything that was said: the next snapshot, or the same where nothing has changed. Changes of
    /// names wait for the endpoints of all of them, as Envoy keeps a cluster until the one in its place is warm; changes of
    /// endpoints do not.
    pub fn snapshot(&mut self, before: &Arc<Snapshot>) -> Arc<Snapshot> {
        self.refresh();
        let touched = std::mem::take(&mut self.touched);
        let hosts: BTreeSet<Hostname> = match std::mem::take(&mut self.replanned) {
            false => touched,
            true => {
                let known = before.services.iter().map(|service| service.host.clone());
                known.chain(self.plan.hosts().cloned()).collect()
            }
        };
        let mut gone = Vec::new();
        let mut put = Vec::new();
        for host in &hosts {
            let old = before.service(host);
            match (self.service(host, old), old) {
                (Some(service), Some(old)) if *old == service => {}
                (Some(service), _) => put.push(service),
                (None, Some(old)) => gone.push(old.clone()),
                (None, None) => {}
            }
        }
        let passthrough: Vec<PassthroughRoute> = self.plan.routes.clone();
        let same = *before.passthrough == passthrough;
        if gone.is_empty() && put.is_empty() && same {
            return before.clone();
        }
        let services: Chunked<Arc<Service>> = before.services.edited(&gone, put);
        Arc::new(Snapshot {
            version: before.version + 1,
            networks: before.networks.clone(),
            services,
            passthrough: match same {
                true => before.passthrough.clone(),
                false => Arc::new(passthrough),
            },
        })
    }

    fn put_endpoints(&mut self, name: &Arc<str>, endpoints: Endpoints) {
        if let Some(hosts) = self.plan.hosts_of(name) {
            self.touched.extend(hosts.iter().cloned());
        }
        self.overdue.remove(name);
        self.held = self.held_with(name, &endpoints);
        self.endpoints.insert(name.clone(), Arc::new(endpoints));
    }

    /// So many endpoints there are with these in the place of those that are known.
    fn held_with(&self, name: &str, endpoints: &Endpoints) -> usize {
        let known = self.endpoints.get(name);
        self.held - known.map_or(0, |known| known.count()) + endpoints.count()
    }

    /// Whether there is room for a resource, which may be known, and for so many endpoints as there are with it.
    fn check(&self, name: &Arc<str>, known: bool, held: usize) -> Result<(), Refusal> {
        let Ceilings {
            resources,
            endpoints,
            ..
        } = self.ceilings;
        let why = if !known && self.clusters.len() + self.listeners.len() >= resources {
            format!("there are {resources} clusters and listeners already, the most that are taken")
        } else if held > endpoints && held > self.held {
            format!(
                "with it there are {held} endpoints, and {endpoints} are the most that are taken"
            )
        } else {
            return Ok(());
        };
        let name = name.to_string();
        Err(Refusal { name, why })
    }

    /// Makes a plan where the latest is stale, and puts it in force once nothing is missing in it.
    fn refresh(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.next = Some(Plan::of(&self.listeners, &self.clusters));
        }
        if let Some(next) = self.next.take() {
            let waits = next.wanted().any(|name| self.is_missing(name));
            if waits {
                self.next = Some(next);
            } else {
                self.plan = next;
                self.replanned = true;
            }
        }
    }

    fn is_missing(&self, name: &str) -> bool {
        !self.endpoints.contains_key(name) && !self.overdue.contains(name)
    }

    /// The endpoints of a cluster; none where there is nothing to wait for.
    fn endpoints_of(&self, of: &Use) -> Arc<Endpoints> {
        match of.facts.as_ref().map(|facts| &facts.discovery) {
            Some(Discovery::Asked(name)) => self.endpoints.get(name).cloned().unwrap_or_default(),
            Some(Discovery::Given(endpoints)) => endpoints.clone(),
            Some(Discovery::Nowhere(_)) | None => Arc::default(),
        }
    }
}

/// Endpoints that stand in a cluster itself.
fn given(cluster: &Cluster) -> usize {
    match &cluster.discovery {
        Discovery::Given(endpoints) => endpoints.count(),
        Discovery::Asked(_) | Discovery::Nowhere(_) => 0,
    }
}

/// A resource that was read under the name that its envelope gives it, too.
fn checked<T>(
    read: Result<(String, T), (String, String)>,
    expected: &str,
) -> Result<(Arc<str>, T), Refusal> {
    let (name, why) = match read {
        Ok((name, resource)) if expected.is_empty() || name == expected => {
            return Ok((name.into(), resource));
        }
        Ok((name, _)) => (name.clone(), format!("it calls itself '{name}'")),
        Err(refused) => refused,
    };
    let name = match expected.is_empty() {
        true => name,
        false => expected.to_owned(),
    };
    Err(Refusal { name, why })
}

#[cfg(test)]
mod tests;
