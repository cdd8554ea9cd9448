//! Who serves a port and subset, seen from one client: tiers, weights, other networks as their gateways. It knows no
//! protobuf; closeness and weights are the model's, and so the same as the outbound listener's.

mod tiers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use model::{
    Closeness, Endpoint, GatewayState, Health, Join, Locality, MAX_WEIGHT, Network, NetworkId,
    Place, Policy, RemoteSum, RemoteSums, Service, TlsMode, Viewpoint, WEIGHT_SCALE,
    distribute_share, is_dialable, place, remote_key, through_gateways,
};

use self::tiers::tiers;

/// The hosts of a cluster, the closest tier first; an address stands in it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The tiers; none is empty.
    pub tiers: Vec<Tier>,
    /// Whether a rule of `distribute` gives the groups of a tier fixed shares; it may be one rule for all.
    pub distributed: bool,
    /// What is not in them.
    pub left_out: LeftOut,
}

/// Hosts of equal closeness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    /// How close.
    pub closeness: Closeness,
    /// By locality rule and its percent; without `distribute` the hosts of all groups compete by weight.
    pub groups: BTreeMap<(u16, u32), Vec<Host>>,
}

/// One address to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where.
    pub address: SocketAddr,
    /// Whether it may be picked.
    pub state: HostState,
    /// Weight, scaled by [`WEIGHT_SCALE`]: a gateway's is that of the ready endpoints behind it.
    pub weight: u64,
    /// Whether to speak the mesh's mutual TLS to it.
    pub mesh: bool,
    /// Where it stands; of a gateway, the region that all endpoints behind it share.
    pub locality: Locality,
    /// Whether it is another network's gateway.
    pub gateway: bool,
}

/// What is known of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostState {
    /// Ready.
    Healthy,
    /// For when too few healthy ones are left.
    Degraded,
    /// Not ready; only counted.
    Unhealthy,
}

/// Endpoints that a client is not told of, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// In a network that no gateway leads to.
    pub no_gateway: u32,
    /// In another network, without the mesh's mutual TLS: no gateway can tell where to.
    pub not_mesh: u32,
    /// At an address that nobody may dial.
    pub forbidden: u32,
    /// In another network, and the client cannot go through its gateway: gRPC, or an Envoy without the mesh's certificates.
    pub behind_gateway: u32,
}

/// Everything an assignment depends on beside the service.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The client.
    pub from: &'a Viewpoint,
    /// How networks are entered.
    pub networks: &'a BTreeMap<NetworkId, Network>,
    /// Gateways that probes find dead.
    pub dead: &'a BTreeSet<SocketAddr>,
    /// Whether loopback addresses may be dialled.
    pub allow_loopback: bool,
    /// Whether the client can go through gateways.
    pub through_gateways: bool,
}

impl LeftOut {
    /// These and others.
    pub fn add(&mut self, other: Self) {
        self.no_gateway += other.no_gateway;
        self.not_mesh += other.not_mesh;
        self.forbidden += other.forbidden;
        self.behind_gateway += other.behind_gateway;
    }
}

impl Assignment {
    /// Who serves `join` of `service`. Gateways that are dead are told as unhealthy, unless nothing else is left: better one that
    /// did not answer than none at all (as the balancer ignores ejections then).
    #[must_use]
    pub fn of(service: &Service, join: &Join, around: &Surroundings<'_>) -> Self {
        let all = Self::with_dead(service, join, around);
        if all.has_ready() || around.dead.is_empty() {
            return all;
        }
        let around = Surroundings {
            dead: &BTreeSet::new(),
            ..*around
        };
        Self::with_dead(service, join, &around)
    }

    fn has_ready(&self) -> bool {
        let hosts = self.tiers.iter().flat_map(|tier| tier.groups.values());
        hosts
            .flatten()
            .any(|host| host.state != HostState::Unhealthy)
    }

    fn with_dead(service: &Service, join: &Join, around: &Surroundings<'_>) -> Self {
        let mut left_out = LeftOut::default();
        let mut places: BTreeMap<Place, Vec<Host>> = BTreeMap::new();
        let mut remote = RemoteSums::new();
        let mut regions: BTreeMap<&NetworkId, Option<&Arc<str>>> = BTreeMap::new();
        for endpoint in service.endpoints.iter() {
            let selected =
                (join.labels.iter()).all(|(key, value)| endpoint.labels.get(key) == Some(value));
            if endpoint.health == Health::Terminating || !selected {
                continue;
            }
            let mut tiers = join.port_names.iter().enumerate();
            let found = tiers.find_map(|(tier, name)| Some((tier, endpoint.dial_key(name)?)));
            let Some((tier, key)) = found else { continue };
            let own = around.from.is_own(&endpoint.origin);
            let at = match join.assigned && own {
                true => Place::given(tier),
                false => place(around.from, &join.policy.locality, endpoint),
            };
            if own {
                if is_dialable(key.0.ip(), around.allow_loopback) {
                    places.entry(at).or_default().push(direct(key.0, endpoint));
                } else {
                    left_out.forbidden += 1;
                }
                continue;
            }
            if endpoint.tls != TlsMode::Istio {
                left_out.not_mesh += 1;
                continue;
            }
            if !around.through_gateways {
                left_out.behind_gateway += 1;
                continue;
            }
            let region = &endpoint.origin.locality.region;
            regions
                .entry(&endpoint.origin.network)
                .and_modify(|known| *known = known.filter(|known| *known == region))
                .or_insert(Some(region));
            let sum = RemoteSum::of(endpoint, at);
            remote
                .entry(remote_key(endpoint, at))
                .and_modify(|known| known.join(&sum))
                .or_insert(sum);
        }
        let state = |address: SocketAddr| {
            if !is_dialable(address.ip(), around.allow_loopback) {
                GatewayState::Forbidden
            } else if around.dead.contains(&address) {
                GatewayState::Dead
            } else {
                GatewayState::Live
            }
        };
        let (groups, no_gateway) = through_gateways(&remote, around.networks, state);
        left_out.no_gateway += no_gateway;
        for (at, group) in groups {
            let hosts = places.entry(at).or_default();
            for (address, load) in group.gateways {
                let region = regions.get(&load.network).copied().flatten();
                hosts.push(gateway(address, load.weight, region));
            }
        }
        let distributed = is_distributed(around.from, &join.policy);
        Self {
            tiers: tiers(places, distributed),
            distributed,
            left_out,
        }
    }
}

/// Whether a rule of `distribute` holds for this client.
pub(super) fn is_distributed(from: &Viewpoint, policy: &Policy) -> bool {
    distribute_share(from, &policy.locality, &Locality::default()).is_some()
}

fn direct(address: SocketAddr, endpoint: &Endpoint) -> Host {
    Host {
        address,
        state: match endpoint.health {
            Health::Healthy => HostState::Healthy,
            Health::Degraded => HostState::Degraded,
            Health::Unhealthy | Health::Terminating => HostState::Unhealthy,
        },
        weight: u64::from(endpoint.weight.clamp(1, MAX_WEIGHT)) * WEIGHT_SCALE,
        mesh: endpoint.tls == TlsMode::Istio,
        locality: endpoint.origin.locality.clone(),
        gateway: false,
    }
}

/// A gateway with healthy and degraded endpoints behind it counts with the healthy ones.
fn gateway(address: SocketAddr, weight: [u64; 3], region: Option<&Arc<str>>) -> Host {
    let (state, weight) = match weight {
        [healthy, _, _] if healthy > 0 => (HostState::Healthy, healthy),
        [_, degraded, _] if degraded > 0 => (HostState::Degraded, degraded),
        [.., dead] => (HostState::Unhealthy, dead.max(WEIGHT_SCALE)),
    };
    Host {
        address,
        state,
        weight,
        mesh: true,
        locality: Locality {
            region: region.cloned().unwrap_or_default(),
            ..Locality::default()
        },
        gateway: true,
    }
}

#[cfg(test)]
mod tests;
