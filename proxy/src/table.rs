//! Server name -> route. It must not choose endpoints, and no match never falls through to anything.

use std::hash::BuildHasher;
use std::hint::cold_path;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32};

use arc_swap::{ArcSwap, Guard};
use fastrand::Rng;
use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
use model::Hostname;
use tokio::sync::mpsc;

use crate::balance::{Balancer, Choice, Draw, Tried};
use crate::clock::Millis;
use crate::close::Reason;
use crate::config::Role;
use crate::control::Event;
use crate::flows::Flows;
use crate::host::Host;
use crate::sni::{MeshName, parse_mesh_name};

/// One name's way to endpoints. It lives as long as the name exists; a change of endpoints swaps its balancer and nothing
/// else.
#[derive(Debug)]
pub struct Route {
    /// The service it leads to.
    pub service: Hostname,
    /// The service port.
    pub port: u16,
    /// The subset; empty for all endpoints.
    pub subset: Arc<str>,
    /// The view it belongs to.
    pub role: Role,
    /// Its connections and bytes, by who served them.
    pub flows: Flows,
    balancer: ArcSwap<Balancer>,
    edition: AtomicU32,
    /// Where workers keep its balancer at hand: see [`Recent`](crate::balance::Recent).
    pub(crate) place: u8,
    pub(crate) open: AtomicU32,
    pub(crate) turn: AtomicU32,
    dirty: AtomicBool,
    events: mpsc::UnboundedSender<Event>,
}

/// Every name that is routed. Immutable; replaced when the set of names changes.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// By the names of their routes, which are spelled out only when they are asked for: a table has one for every name, and each
    /// would be as long as all the rest of an entry.
    names: HashTable<Views>,
    hasher: RandomState,
    /// Every service's, sorted.
    hosts: Box<[Hostname]>,
    pub(crate) passthrough: HashMap<Box<str>, Vec<Passthrough>, RandomState>,
}

/// The routes of one mesh name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Views {
    pub(crate) inbound: Option<Arc<Route>>,
    pub(crate) outbound: Option<Arc<Route>>,
}

/// One passthrough rule of a name; a name that begins with `*.` is kept as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Passthrough {
    /// The listener's port; `None` for any.
    pub(crate) port: Option<u16>,
    /// Cumulative weights; each fits into 32 bits, their sum may not.
    pub(crate) to: Vec<(u64, Arc<Route>)>,
}

/// The table in force, shared by all workers.
#[derive(Debug, Default)]
pub struct Tables {
    current: ArcSwap<RouteTable>,
}

impl Tables {
    /// The table in force. No lock.
    pub fn load(&self) -> Guard<Arc<RouteTable>> {
        self.current.load()
    }

    pub(crate) fn store(&self, table: RouteTable) {
        self.current.store(Arc::new(table));
    }
}

impl RouteTable {
    /// The route of a server name (normalised: lower case, no trailing dot) on a listener.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn find(&self, role: Role, port: u16, name: &str) -> Result<&Arc<Route>, Reason> {
        let found = match role {
            Role::Inbound => self.views(name).and_then(|views| views.inbound.as_ref()),
            Role::Outbound => self.views(name).and_then(|views| views.outbound.as_ref()),
            Role::Passthrough => return self.find_plain(port, name),
        };
        found.ok_or_else(|| self.why_not(name))
    }

    /// A table without routes, of these services, which are sorted; with room for so many mesh names.
    pub(crate) fn of(services: impl Iterator<Item = Hostname>, names: usize) -> Self {
        Self {
            names: HashTable::with_capacity(names),
            hosts: services.collect(),
            ..Self::default()
        }
    }

    /// Adds a mesh route under its name; whether no other route of the same view has that name, which then keeps it.
    pub(crate) fn add(&mut self, route: &Arc<Route>) -> bool {
        let name = route.name();
        let hasher = &self.hasher;
        let hash = hasher.hash_one(name.as_str());
        let same = |views: &Views| views.are_of(&name);
        let again = |views: &Views| hasher.hash_one(views.name().as_str());
        let views = match self.names.entry(hash, same, again) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(Views::default()).into_mut(),
        };
        let view = match route.role {
            Role::Inbound => &mut views.inbound,
            Role::Outbound | Role::Passthrough => &mut views.outbound,
        };
        let free = view.is_none();
        view.get_or_insert_with(|| route.clone());
        free
    }

    fn views(&self, name: &str) -> Option<&Views> {
        let hash = self.hasher.hash_one(name);
        self.names.find(hash, |views| views.are_of(name))
    }

    /// Every route, in no particular order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let views = self.names.iter();
        let mesh = views.flat_map(|views| views.inbound.iter().chain(&views.outbound));
        let rules = self.passthrough.values().flatten();
        mesh.chain(rules.flat_map(|rule| rule.to.iter().map(|(_, route)| route)))
    }

    /// The exact name, then the longest suffix, then a rule for every name.
    fn find_plain(&self, port: u16, name: &str) -> Result<&Arc<Route>, Reason> {
        let rule = |name: &str| {
            let rules = self.passthrough.get(name)?.iter();
            rules
                .clone()
                .find(|rule| rule.port.is_none_or(|wanted| wanted == port))
        };
        if let Some(rule) = rule(name) {
            return rule.choose().ok_or(Reason::NoEndpoint);
        }
        let mut wildcard = [0_u8; 256];
        wildcard[0] = b'*';
        for (dot, _) in name.match_indices('.') {
            let suffix = &name.as_bytes()[dot..];
            let Some(space) = wildcard.get_mut(1..=suffix.len()) else {
                continue;
            };
            space.copy_from_slice(suffix);
            let pattern = std::str::from_utf8(&wildcard[..=suffix.len()]).unwrap_or_default();
            if let Some(rule) = rule(pattern) {
                return rule.choose().ok_or(Reason::NoEndpoint);
            }
        }
        if let Some(rule) = rule("*") {
            return rule.choose().ok_or(Reason::NoEndpoint);
        }
        Err(Reason::UnknownService)
    }

    /// Worked out only when a name was not found.
    fn why_not(&self, name: &str) -> Reason {
        let Some(mesh) = parse_mesh_name(name) else {
            return Reason::NotMeshName;
        };
        let known = |host: &Hostname| host.as_str().cmp(mesh.host);
        if self.hosts.binary_search_by(known).is_err() {
            return Reason::UnknownService;
        }
        let whole = mesh_name(mesh.port, "", mesh.host);
        if self.views(&whole).is_some() {
            Reason::UnknownSubset
        } else {
            Reason::UnknownPort
        }
    }
}

impl Views {
    fn any(&self) -> Option<&Arc<Route>> {
        self.inbound.as_ref().or(self.outbound.as_ref())
    }

    fn are_of(&self, name: &str) -> bool {
        self.any()
            .is_some_and(|route| route.parts().is_spelled(name))
    }

    fn name(&self) -> String {
        self.any().map(|route| route.name()).unwrap_or_default()
    }
}

impl Passthrough {
    fn choose(&self) -> Option<&Arc<Route>> {
        let (total, _) = self.to.last()?;
        if *total == 0 {
            return None;
        }
        let at = fastrand::u64(0..*total);
        let index = self.to.partition_point(|(upto, _)| *upto <= at);
        self.to.get(index).map(|(_, route)| route)
    }
}

impl Route {
    pub(crate) fn new(
        service: Hostname,
        port: u16,
        subset: Arc<str>,
        role: Role,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            service,
            port,
            subset,
            role,
            flows: Flows::default(),
            balancer: ArcSwap::default(),
            edition: AtomicU32::new(next_edition()),
            place: next_place(),
            open: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            dirty: AtomicBool::new(false),
            events,
        }
    }

    /// Its name, as a mesh name (`outbound_.5000_._.hello.default.svc.cluster.local`).
    #[must_use]
    pub fn name(&self) -> String {
        mesh_name(self.port, &self.subset, self.service.as_str())
    }

    fn parts(&self) -> MeshName<'_> {
        MeshName {
            port: self.port,
            subset: &self.subset,
            host: self.service.as_str(),
        }
    }

    /// One connection more; [`Route::leave`] has to follow, also after an error.
    ///
    /// # Errors
    /// `Overloaded` beyond the service's own limit.
    pub(crate) fn enter(&self) -> Result<(), Reason> {
        let before = self.open.fetch_add(1, Relaxed);
        match self.balancer.load().policy.max_connections {
            Some(limit) if before >= limit => Err(Reason::Overloaded),
            _ => Ok(()),
        }
    }

    /// One connection less.
    pub(crate) fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// A dial to this host failed; the policy decides whether that ejects it.
    pub(crate) fn blame(self: &Arc<Self>, host: &Host, now: Millis) {
        let rule = self.balancer.load().outlier();
        if let Some(until) = host.dial_failed(&rule, now) {
            // Nobody listens any more only when the data path is stopping.
            let _ = self.events.send(Event::Ejected {
                key: host.key(),
                until,
                rule,
            });
            self.mark_dirty();
        }
    }

    /// An endpoint or gateway to dial that is not among those tried. No lock and, at the first attempt, no allocation.
    ///
    /// # Errors
    /// `NoEndpoint` when nothing usable is left.
    pub fn pick(
        self: &Arc<Self>,
        source: IpAddr,
        now: Millis,
        tried: &Tried,
    ) -> Result<Choice, Reason> {
        let balancer = self.balancer.load();
        self.pick_from(&balancer, &mut Rng::new(), source, now, tried)
    }

    /// The same with a balancer of this route and chance that the caller has at hand: see
    /// [`Recent`](crate::balance::Recent).
    ///
    /// # Errors
    /// `NoEndpoint` when nothing usable is left.
    pub fn pick_from(
        self: &Arc<Self>,
        balancer: &Balancer,
        rng: &mut Rng,
        source: IpAddr,
        now: Millis,
        tried: &Tried,
    ) -> Result<Choice, Reason> {
        let first = tried.is_empty();
        let quickly = first.then(|| balancer.draw_quickly(rng)).flatten();
        let (slot, tier) = match quickly {
            Some(drawn) => drawn,
            None => {
                cold_path();
                let drawn = first.then(|| {
                    let mut draw = Draw {
                        balancer,
                        route: self,
                        source,
                        now,
                        rng: &mut *rng,
                    };
                    draw.draw()
                });
                drawn
                    .flatten()
                    .or_else(|| balancer.next(tried, now, rng))
                    .ok_or(Reason::NoEndpoint)?
            }
        };
        let closeness = balancer.tiers[usize::from(tier)].closeness;
        Ok(Choice::take(&slot.host, &slot.origin, tier, closeness))
    }

    /// Open connections.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// What it picks from at present.
    pub fn balancer(&self) -> Guard<Arc<Balancer>> {
        self.balancer.load()
    }

    /// What it picks from, to keep.
    pub(crate) fn balancer_arc(&self) -> Arc<Balancer> {
        self.balancer.load_full()
    }

    /// Which balancer is in force: no two of the last four billion, of whichever routes, have the same number, and none has 0.
    /// Who has seen it finds that balancer or a newer one.
    #[inline]
    pub(crate) fn edition(&self) -> u32 {
        self.edition.load(Acquire)
    }

    /// Picks from this one from now on.
    pub(crate) fn publish(&self, balancer: Balancer) {
        self.balancer.store(Arc::new(balancer));
        self.edition.store(next_edition(), Release);
    }

    /// Has the control task compile it again, because a host was ejected; told once until that is done.
    pub(crate) fn mark_dirty(self: &Arc<Self>) {
        if !self.dirty.swap(true, Relaxed) {
            // Nobody listens any more only when the data path is stopping.
            let _ = self.events.send(Event::Dirty(self.clone()));
        }
    }

    pub(crate) fn clear_dirty(&self) {
        self.dirty.store(false, Relaxed);
    }
}

/// In turn, so that few routes share one.
fn next_place() -> u8 {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    NEXT.fetch_add(1, Relaxed)
}

fn next_edition() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    match NEXT.fetch_add(1, Relaxed) {
        0 => NEXT.fetch_add(1, Relaxed),
        edition => edition,
    }
}

/// The name as it stands in a server name, lower case as Envoy compares it.
fn mesh_name(port: u16, subset: &str, host: &str) -> String {
    let mut name = MeshName { port, subset, host }.to_string();
    name.make_ascii_lowercase();
    name
}
