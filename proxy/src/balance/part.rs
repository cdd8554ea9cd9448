//! One chunk of a service's endpoints, compiled for one route: who may be picked, how close, how much. It must not know the
//! other chunks.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{
    Availability, Endpoint, EndpointKey, Health, Join, Labels, MAX_WEIGHT, Place, RemoteSum,
    RemoteSums, TlsMode, Viewpoint, WEIGHT_SCALE, is_dialable, place, remote_key,
};

use super::group::Entry;
use super::{Class, Part, Unused};
use crate::clock::Millis;
use crate::config::Role;
use crate::host::{HostRef, Hosts};
use crate::own::Own;

/// Which endpoints a route takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    pub(crate) role: Role,
    pub(crate) join: Join,
}

/// What a chunk comes to.
#[derive(Debug, Default)]
pub(crate) struct ChunkParts {
    pub(crate) local: Box<[LocalParts]>,
    pub(crate) remote: RemoteSums,
    pub(crate) unused: Unused,
    /// Hosts left out because they are ejected.
    pub(crate) excluded: Vec<EndpointKey>,
}

/// Endpoints of our own network that share a tier and a locality rule.
#[derive(Debug)]
pub(crate) struct LocalParts {
    pub(crate) place: Place,
    /// Only those that have something in them.
    pub(crate) parts: Box<[(Class, Part)]>,
    pub(crate) availability: Availability,
}

/// What compiling needs besides the endpoints.
pub(crate) struct Compiler<'a> {
    pub(crate) viewpoint: &'a Viewpoint,
    pub(crate) hosts: &'a mut Hosts,
    /// Our own listeners: dialling them would be a loop.
    pub(crate) own: &'a Own,
    pub(crate) allow_loopback: bool,
    /// Ejected hosts count as what their API server says.
    pub(crate) ignore_ejections: bool,
    /// New hosts of a service with a warmup start with it; not at the first snapshot.
    pub(crate) warm: bool,
    pub(crate) now: Millis,
}

/// By [`Class`].
pub(crate) type Entries = [Vec<Entry>; 3];

impl Compiler<'_> {
    /// Compiles one chunk for one route.
    pub(crate) fn chunk(&mut self, endpoints: &[Endpoint], selection: &Selection) -> ChunkParts {
        let mut compiled = ChunkParts::default();
        let mut local: BTreeMap<Place, (Entries, Availability)> = BTreeMap::new();
        for endpoint in endpoints {
            let join = &selection.join;
            if endpoint.health == Health::Terminating || !selects(&join.labels, &endpoint.labels) {
                continue;
            }
            let own = join.assigned || self.viewpoint.is_own(&endpoint.origin);
            if !own && selection.role != Role::Outbound {
                continue;
            }
            let mut tiers = join.port_names.iter().enumerate();
            let found = tiers.find_map(|(tier, name)| Some((tier, endpoint.dial_key(name)?)));
            let Some((tier, key)) = found else {
                // An endpoint that is assigned to other names is not missing in this one.
                compiled.unused.no_port += u32::from(!join.assigned);
                continue;
            };
            if selection.role != Role::Passthrough && endpoint.tls != TlsMode::Istio {
                compiled.unused.not_mesh += 1;
                continue;
            }
            let place = match join.assigned {
                true => Place::given(tier),
                false => place(self.viewpoint, &join.policy.locality, endpoint),
            };
            if own {
                if self.is_forbidden(key.0) {
                    compiled.unused.forbidden += 1;
                    continue;
                }
                let (entries, availability) = local.entry(place).or_default();
                let (host, class) = self.local(key, endpoint, selection, &mut compiled.excluded);
                count(availability, class);
                let weight = u64::from(endpoint.weight.clamp(1, MAX_WEIGHT)) * WEIGHT_SCALE;
                entries[class as usize].push((host, endpoint.origin.clone(), weight));
            } else {
                compiled.add_remote(endpoint, place);
            }
        }
        compiled.local = local
            .into_iter()
            .map(|(place, (entries, availability))| LocalParts {
                place,
                parts: by_class(entries),
                availability,
            })
            .collect();
        compiled
    }

    /// Whether an address is never dialled.
    pub(crate) fn is_forbidden(&self, address: SocketAddr) -> bool {
        is_forbidden(address, self.own, self.allow_loopback)
    }

    fn local(
        &mut self,
        key: EndpointKey,
        endpoint: &Endpoint,
        selection: &Selection,
        excluded: &mut Vec<EndpointKey>,
    ) -> (HostRef, Class) {
        let (host, new) = self.hosts.of(key);
        if new && self.warm && selection.join.policy.warmup.is_some() {
            host.warm_up(self.now);
        }
        let class = match endpoint.health {
            Health::Healthy | Health::Degraded if host.is_out() && !self.ignore_ejections => {
                excluded.push(key);
                Class::Rest
            }
            Health::Healthy => Class::Healthy,
            Health::Degraded => Class::Degraded,
            Health::Unhealthy | Health::Terminating => Class::Rest,
        };
        (host, class)
    }
}

/// The parts of those classes that have somebody: most have one.
pub(crate) fn by_class(entries: Entries) -> Box<[(Class, Part)]> {
    let all = Class::ALL.into_iter().zip(entries);
    let some = all.filter(|(_, entries)| !entries.is_empty());
    some.map(|(class, entries)| (class, Part::new(entries)))
        .collect()
}

/// Whether an address is never dialled (design section 5): those that nobody dials, and our own listeners.
pub(crate) fn is_forbidden(address: SocketAddr, own: &Own, allow_loopback: bool) -> bool {
    !is_dialable(address.ip(), allow_loopback) || own.leads_here(address)
}

impl ChunkParts {
    /// Whether it was compiled with a host that has been ejected since, or without one that is back.
    pub(crate) fn is_stale(&self, hosts: &Hosts) -> bool {
        let back = |key: &EndpointKey| hosts.find(*key).is_none_or(|host| !host.is_out());
        let parts = self.local.iter().flat_map(|local| &local.parts);
        let ready = parts.filter(|(class, _)| *class != Class::Rest);
        let mut slots = ready.flat_map(|(_, part)| part.slots.iter());
        self.excluded.iter().any(back) || slots.any(|slot| slot.host.is_out())
    }

    fn add_remote(&mut self, endpoint: &Endpoint, place: Place) {
        let sum = RemoteSum::of(endpoint, place);
        self.remote
            .entry(remote_key(endpoint, place))
            .and_modify(|known| known.join(&sum))
            .or_insert(sum);
    }
}

fn count(availability: &mut Availability, class: Class) {
    availability.total += 1;
    match class {
        Class::Healthy => availability.healthy += 1,
        Class::Degraded => availability.degraded += 1,
        Class::Rest => {}
    }
}

fn selects(wanted: &Labels, labels: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
