//! Snapshot -> routes, doing again only what has changed. It must not know connections.

mod names;
mod services;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use model::{
    Assigned, Audience, Chunked, Destination, Endpoint, EndpointKey, Network, NetworkId, Port,
    Protocol, Service, Snapshot, Viewpoint, diff,
};
use tokio::sync::mpsc;

use self::services::Services;
use super::Event;
use crate::balance::{
    Assembly, ChunkParts, Compiler, OVERPROVISIONING, Selection, Setting, assemble,
};
use crate::clock::Millis;
use crate::config::{Config, Role};
use crate::host::Hosts;
use crate::own::Own;
use crate::table::{Passthrough, Route, RouteTable, Tables};

/// All routes, with what is needed to compile them again.
#[derive(Debug)]
pub(super) struct Routes {
    viewpoint: Viewpoint,
    own: Own,
    allow_loopback: bool,
    zone_spill: bool,
    mesh_roles: Vec<Role>,
    passthrough: bool,
    tables: Arc<Tables>,
    events: mpsc::UnboundedSender<Event>,
    snapshot: Arc<Snapshot>,
    services: Services,
    plain: BTreeMap<Destination, Entry>,
    applied: bool,
}

/// One route and what it was compiled from.
#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    selection: Selection,
    /// `None` where there is nothing to keep, as with most services.
    kept: Option<Box<Kept>>,
}

/// What the next compilation of a route begins with.
#[derive(Debug, Default)]
struct Kept {
    chunks: Chunks,
    assembly: Assembly,
    /// Addresses that were left out because they are ejected.
    excluded: Box<[EndpointKey]>,
}

/// What decides about the names of a service.
type Shape<'a> = (&'a [Port], Vec<(&'a str, Option<&'a AssignedPorts>)>);

/// What a route's chunks were compiled into.
type Chunks = Box<[(Arc<[Endpoint]>, Arc<ChunkParts>)]>;

type AssignedPorts = BTreeMap<u16, Assigned>;

impl Routes {
    pub(super) fn new(
        config: &Config,
        own: Vec<SocketAddr>,
        tables: Arc<Tables>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let has = |role| {
            config
                .listeners
                .iter()
                .any(|listener| listener.role == role)
                || (role == Role::Outbound && config.advises)
        };
        let mesh = [Role::Inbound, Role::Outbound];
        Self {
            viewpoint: config.viewpoint.clone(),
            own: Own::new(&own),
            allow_loopback: config.allow_loopback,
            zone_spill: config.zone_spill,
            mesh_roles: mesh.into_iter().filter(|role| has(*role)).collect(),
            passthrough: has(Role::Passthrough),
            tables,
            events,
            snapshot: Arc::default(),
            services: Services::default(),
            plain: BTreeMap::new(),
            applied: false,
        }
    }

    /// Brings a snapshot into force.
    pub(super) fn apply(&mut self, snapshot: &Arc<Snapshot>, hosts: &mut Hosts, now: Millis) {
        self.own.look_again(now);
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let changes = diff(&before, snapshot);
        let mut names_changed = !self.applied || changes.passthrough || !changes.removed.is_empty();
        let count =
            |service: Option<&Arc<Service>>| service.map_or(0, |known| known.endpoints.len());
        for host in &changes.removed {
            self.services.take(host);
            hosts.count_out(count(before.service(host)), now);
        }
        self.services.make_room(changes.changed.len());
        for host in &changes.changed {
            let Some(service) = snapshot.service(host) else {
                continue;
            };
            let old = before.service(host);
            hosts.count_out(count(old).saturating_sub(service.endpoints.len()), now);
            names_changed |= !old.is_some_and(|old| shape(old) == shape(service));
            let entries = self.services.take(host);
            let mut entries = self.fit(service, entries);
            for entry in &mut entries {
                self.compile(entry, service, hosts, now);
            }
            self.services.put(entries);
        }
        if changes.networks {
            self.compile_outbound(hosts, now);
        }
        if self.passthrough {
            self.compile_plain(hosts, now);
        }
        if names_changed {
            self.tables.store(self.table());
        }
        self.applied = true;
    }

    /// Compiles a route again because of an ejection.
    pub(super) fn recompile(&mut self, route: &Arc<Route>, hosts: &mut Hosts, now: Millis) {
        route.clear_dirty();
        self.recompile_where(|entry| Arc::ptr_eq(&entry.route, route), hosts, now);
    }

    /// Compiles the routes again that had left an address out.
    pub(super) fn recompile_excluding(&mut self, key: EndpointKey, hosts: &mut Hosts, now: Millis) {
        let excludes = |kept: &Kept| kept.excluded.contains(&key);
        self.recompile_where(|entry| entry.keeps(excludes), hosts, now);
    }

    /// Compiles the routes again that lead through one of these gateways.
    pub(super) fn recompile_through(
        &mut self,
        gateways: &BTreeSet<EndpointKey>,
        hosts: &mut Hosts,
        now: Millis,
    ) {
        let through = |kept: &Kept| {
            let known = &kept.assembly.gateways;
            gateways.iter().any(|key| known.contains_key(key))
        };
        self.recompile_where(|entry| entry.keeps(through), hosts, now);
    }

    fn recompile_where(&mut self, wanted: impl Fn(&Entry) -> bool, hosts: &mut Hosts, now: Millis) {
        let snapshot = self.snapshot.clone();
        let mut services = std::mem::take(&mut self.services);
        let mut plain = std::mem::take(&mut self.plain);
        let entries = services.entries_mut().chain(plain.values_mut());
        for entry in entries.filter(|entry| wanted(entry)) {
            if let Some(service) = snapshot.service(&entry.route.service) {
                if let Some(kept) = &mut entry.kept {
                    let mut known = std::mem::take(&mut kept.chunks).into_vec();
                    known.retain(|(_, parts)| !parts.is_stale(hosts));
                    kept.chunks = known.into();
                }
                self.compile(entry, service, hosts, now);
            }
        }
        (self.services, self.plain) = (services, plain);
    }

    /// The gateways of a network have changed: the endpoints need no second look, their sums do.
    fn compile_outbound(&mut self, hosts: &mut Hosts, now: Millis) {
        let snapshot = self.snapshot.clone();
        let mut services = std::mem::take(&mut self.services);
        for entry in services.entries_mut() {
            if entry.route.role == Role::Outbound
                && let Some(service) = snapshot.service(&entry.route.service)
            {
                self.compile(entry, service, hosts, now);
            }
        }
        self.services = services;
    }

    /// Routes of passthrough listeners; few, so they are compiled with every snapshot (from cached chunks).
    fn compile_plain(&mut self, hosts: &mut Hosts, now: Millis) {
        let snapshot = self.snapshot.clone();
        let mut before = std::mem::take(&mut self.plain);
        for to in snapshot.passthrough.iter().flat_map(|rule| &rule.to) {
            let key = Destination {
                weight: 0,
                ..to.clone()
            };
            // Several rules may lead to one destination; it has one route.
            if self.plain.contains_key(&key) {
                continue;
            }
            let Some(service) = snapshot.service(&to.host) else {
                continue;
            };
            let Some(selection) = selection(service, to.port, &to.subset, Role::Passthrough) else {
                continue;
            };
            let mut entry = match before.remove(&key) {
                Some(entry) => entry.keep_or_renew(selection),
                None => self.entry(service, to.port, &to.subset, selection),
            };
            self.compile(&mut entry, service, hosts, now);
            self.plain.insert(key, entry);
        }
    }

    /// The entries that a service needs now; those it had are kept.
    fn fit(&self, service: &Service, before: Box<[Entry]>) -> Box<[Entry]> {
        let mut before: HashMap<(Role, u16, Arc<str>), Entry> = before
            .into_iter()
            .map(|entry| {
                (
                    (
                        entry.route.role,
                        entry.route.port,
                        entry.route.subset.clone(),
                    ),
                    entry,
                )
            })
            .collect();
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        let streams = service
            .ports
            .iter()
            .filter(|port| port.protocol != Protocol::Udp);
        for port in streams.filter(|port| seen.insert(port.number)) {
            for subset in service.subset_names() {
                // The empty one is shared by all that have it.
                let subset: Arc<str> = match subset {
                    "" => Arc::default(),
                    named => named.into(),
                };
                for role in &self.mesh_roles {
                    let Some(selection) = selection(service, port.number, &subset, *role) else {
                        continue;
                    };
                    let key = (*role, port.number, subset.clone());
                    entries.push(match before.remove(&key) {
                        Some(entry) => entry.keep_or_renew(selection),
                        None => self.entry(service, port.number, &subset, selection),
                    });
                }
            }
        }
        entries.into()
    }

    fn entry(
        &self,
        service: &Service,
        port: u16,
        subset: &Arc<str>,
        selection: Selection,
    ) -> Entry {
        let host = service.host.clone();
        let route = Route::new(
            host,
            port,
            subset.clone(),
            selection.role,
            self.events.clone(),
        );
        Entry {
            route: Arc::new(route),
            selection,
            kept: None,
        }
    }

    fn compile(&self, entry: &mut Entry, service: &Service, hosts: &mut Hosts, now: Millis) {
        let mut compiler = Compiler {
            viewpoint: &self.viewpoint,
            hosts,
            own: &self.own,
            allow_loopback: self.allow_loopback,
            ignore_ejections: false,
            warm: self.applied,
            now,
        };
        entry.compile(
            &service.endpoints,
            &self.snapshot.networks,
            self.zone_spill,
            &mut compiler,
        );
    }

    /// The table of all names. On a conflict (two subsets that differ in case only) the first keeps the name.
    fn table(&self) -> RouteTable {
        // Those of one view; the other's have the same names.
        let names = self.services.entries().count() / self.mesh_roles.len().max(1);
        let services = self.snapshot.services.iter();
        let mut table = RouteTable::of(services.map(|service| service.host.clone()), names);
        for Entry { route, .. } in self.services.entries() {
            if !table.add(route) {
                tracing::warn!(name = %route.name(), "two routes have this name; the first keeps it");
            }
        }
        for rule in self
            .snapshot
            .passthrough
            .iter()
            .filter(|_| self.passthrough)
        {
            let mut upto = 0;
            let mut to = Vec::new();
            for destination in &rule.to {
                let key = Destination {
                    weight: 0,
                    ..destination.clone()
                };
                if let Some(entry) = self.plain.get(&key).filter(|_| destination.weight > 0) {
                    upto += u64::from(destination.weight);
                    to.push((upto, entry.route.clone()));
                }
            }
            for host in &rule.hosts {
                let rules = table
                    .passthrough
                    .entry(host.to_ascii_lowercase().into())
                    .or_default();
                rules.push(Passthrough {
                    port: rule.port,
                    to: to.clone(),
                });
            }
        }
        table
    }
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.assembly.gateways.is_empty() && self.excluded.is_empty()
    }
}

impl Entry {
    fn keeps(&self, what: impl Fn(&Kept) -> bool) -> bool {
        self.kept.as_deref().is_some_and(what)
    }

    /// The same route under a selection that may have changed: then nothing compiled before holds.
    fn keep_or_renew(mut self, selection: Selection) -> Self {
        if self.selection != selection {
            self.selection = selection;
            if let Some(kept) = &mut self.kept {
                kept.chunks = Chunks::default();
            }
        }
        self
    }

    fn compile(
        &mut self,
        endpoints: &Chunked<Endpoint>,
        networks: &BTreeMap<NetworkId, Network>,
        zone_spill: bool,
        compiler: &mut Compiler<'_>,
    ) {
        let setting = Setting {
            networks,
            policy: &self.selection.join.policy,
            zone_spill,
            overprovisioning: OVERPROVISIONING,
        };
        let mut kept = self.kept.take().map_or_else(Kept::default, |kept| *kept);
        kept.chunks = reuse(kept.chunks, endpoints, |chunk| {
            Arc::new(compiler.chunk(chunk, &self.selection))
        });
        let parts = kept.chunks.iter().map(|(_, parts)| parts);
        let (mut balancer, mut excluded) =
            assemble(parts.clone(), &setting, compiler, &mut kept.assembly);
        excluded.extend(parts.flat_map(|parts| &parts.excluded));
        if balancer.shares.is_empty() && !excluded.is_empty() {
            // Better an endpoint that failed than none at all. Not cached: the next compilation asks again.
            compiler.ignore_ejections = true;
            let all = endpoints.chunks().iter();
            let parts: Vec<_> = all
                .map(|chunk| Arc::new(compiler.chunk(chunk, &self.selection)))
                .collect();
            (balancer, _) = assemble(&parts, &setting, compiler, &mut kept.assembly);
            compiler.ignore_ejections = false;
        }
        if let [(_, only)] = &*kept.chunks
            && only.remote.is_empty()
        {
            // A small service compiles in microseconds, and there may be ten thousand: nothing is kept for the next time.
            kept.chunks = Chunks::default();
        }
        kept.excluded = excluded.into();
        self.kept = (!kept.is_empty()).then(|| Box::new(kept));
        self.route.publish(balancer);
    }
}

/// Brings the compiled parts of a route's chunks up to those of its list. Chunks that stand where they stood, counted from
/// either end, cost a comparison of pointers; only what is between is looked up, or compiled.
fn reuse(
    known: Chunks,
    endpoints: &Chunked<Endpoint>,
    mut compile: impl FnMut(&[Endpoint]) -> Arc<ChunkParts>,
) -> Chunks {
    let mut known = known.into_vec();
    let chunks = endpoints.chunks();
    let same =
        |(known, chunk): &(&(Arc<[Endpoint]>, _), &Arc<[Endpoint]>)| Arc::ptr_eq(&known.0, chunk);
    let head = known.iter().zip(chunks).take_while(same).count();
    let ends = known[head..].iter().rev().zip(chunks[head..].iter().rev());
    let tail = ends.take_while(same).count();
    let (old, new) = (head..known.len() - tail, head..chunks.len() - tail);
    // `known` keeps the old chunks alive until the end, so an equal address is the same chunk.
    let moved: HashMap<*const Endpoint, Arc<ChunkParts>> = known[old.clone()]
        .iter()
        .map(|(chunk, parts)| (chunk.as_ptr(), parts.clone()))
        .collect();
    let between: Vec<_> = chunks[new]
        .iter()
        .map(|chunk| {
            let parts = moved.get(&chunk.as_ptr()).cloned();
            (chunk.clone(), parts.unwrap_or_else(|| compile(chunk)))
        })
        .collect();
    known.splice(old, between);
    known.into()
}

fn selection(service: &Service, port: u16, subset: &str, role: Role) -> Option<Selection> {
    let audience = match role {
        Role::Inbound | Role::Outbound => Audience::Mesh,
        Role::Passthrough => Audience::Plain,
    };
    let join = service.join(port, subset, audience)?;
    Some(Selection { role, join })
}

fn shape(service: &Service) -> Shape<'_> {
    let subsets = service.subsets.iter();
    let subsets = subsets.map(|(name, subset)| (&**name, subset.assigned.as_ref()));
    (&service.ports, subsets.collect())
}
