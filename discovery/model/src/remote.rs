//! Other networks as their gateways: what stands behind a gateway, and what that weighs. A pure rule: the balancer and the
//! xDS server both use it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::{
    Availability, Closeness, ClusterId, Endpoint, Gateway, Health, Network, NetworkId, Place,
};

/// Weights are multiplied by this, so that a network's weight is split exactly over up to 16 gateways: lcm(1..=16).
pub const WEIGHT_SCALE: u64 = 720_720;

/// The largest weight of one endpoint: a million endpoints of it, scaled, stay below 2^60.
pub const MAX_WEIGHT: u32 = 1 << 20;

/// What the endpoints of another network are summed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteKey {
    /// Their network.
    pub network: NetworkId,
    /// Their cluster: gateways may serve some clusters only.
    pub cluster: ClusterId,
    /// See [`Place::group`].
    pub group: u16,
    /// See [`Place::percent`].
    pub percent: u32,
}

/// The endpoints of another network, summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteSum {
    /// That of the closest.
    pub closeness: Closeness,
    /// Weight of the healthy and of the degraded ones, not scaled.
    pub weight: [u64; 2],
    /// How many there are.
    pub availability: Availability,
}

/// Endpoints of other networks, added up.
pub type RemoteSums = BTreeMap<RemoteKey, RemoteSum>;

/// Whether a gateway's address can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayState {
    /// It serves.
    Live,
    /// It is ejected, or probes find it dead: it counts in the total but gets nothing.
    Dead,
    /// It is never dialled: as if it were not there.
    Forbidden,
}

/// What one gateway address gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayLoad {
    /// The network behind it.
    pub network: NetworkId,
    /// The cluster behind it, if it serves just one.
    pub cluster: ClusterId,
    /// Scaled weight of the healthy endpoints behind it, of the degraded ones, and of those it would have if it were live.
    pub weight: [u64; 3],
}

/// Gateways that share a place, with what stands behind all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayGroup {
    /// By address.
    pub gateways: BTreeMap<SocketAddr, GatewayLoad>,
    /// The endpoints behind them: a network counts with its ready and its total endpoints, and with none that are ready
    /// while none of its gateways is live.
    pub availability: Availability,
}

impl RemoteSum {
    /// One endpoint, which must not be terminating.
    #[must_use]
    pub fn of(endpoint: &Endpoint, place: Place) -> Self {
        let mut sum = Self {
            closeness: place.closeness,
            weight: [0; 2],
            availability: Availability {
                total: 1,
                ..Availability::default()
            },
        };
        let weight = u64::from(endpoint.weight.clamp(1, MAX_WEIGHT));
        match endpoint.health {
            Health::Healthy => {
                sum.weight[0] = weight;
                sum.availability.healthy = 1;
            }
            Health::Degraded => {
                sum.weight[1] = weight;
                sum.availability.degraded = 1;
            }
            Health::Unhealthy | Health::Terminating => {}
        }
        sum
    }

    /// This sum and another one.
    pub fn join(&mut self, other: &Self) {
        self.closeness = self.closeness.min(other.closeness);
        self.weight[0] += other.weight[0];
        self.weight[1] += other.weight[1];
        self.availability.add(other.availability);
    }
}

/// The key under which an endpoint of another network is added up.
#[must_use]
pub fn remote_key(endpoint: &Endpoint, place: Place) -> RemoteKey {
    RemoteKey {
        network: endpoint.origin.network.clone(),
        cluster: endpoint.origin.cluster.clone(),
        group: place.group,
        percent: place.percent,
    }
}

/// Other networks, each in the tier of its closest endpoints, so that a gateway appears once in a service; its weight is that
/// of the ready endpoints behind it, for the clusters that it serves, split evenly where several live gateways serve one.
/// The second value counts the endpoints that no gateway leads to.
#[must_use]
pub fn through_gateways(
    remote: &RemoteSums,
    networks: &BTreeMap<NetworkId, Network>,
    mut state: impl FnMut(SocketAddr) -> GatewayState,
) -> (BTreeMap<Place, GatewayGroup>, u32) {
    let mut closest: BTreeMap<&NetworkId, Closeness> = BTreeMap::new();
    for (key, sum) in remote {
        let known = closest.entry(&key.network).or_insert(sum.closeness);
        *known = (*known).min(sum.closeness);
    }
    let mut groups: BTreeMap<Place, GatewayGroup> = BTreeMap::new();
    let mut unreachable = 0;
    for (key, sum) in remote {
        let gateways = networks
            .get(&key.network)
            .map_or(&[][..], |network| &network.gateways);
        let serving: Vec<(&Gateway, bool)> = gateways
            .iter()
            .filter(|gateway| gateway.serves(&key.cluster))
            .filter_map(|gateway| match state(gateway.address) {
                GatewayState::Forbidden => None,
                state => Some((gateway, state == GatewayState::Live)),
            })
            .collect();
        if serving.is_empty() {
            unreachable += sum.availability.total;
            continue;
        }
        let group = groups
            .entry(Place {
                closeness: closest[&key.network],
                group: key.group,
                percent: key.percent,
            })
            .or_default();
        let all = count(serving.len());
        let live = count(serving.iter().filter(|(_, live)| *live).count());
        for (gateway, is_live) in serving {
            let load = group.gateways.entry(gateway.address).or_insert_with(|| {
                let cluster = match gateway.clusters.as_slice() {
                    [only] => only.clone(),
                    _ => ClusterId::default(),
                };
                GatewayLoad {
                    network: key.network.clone(),
                    cluster,
                    weight: [0; 3],
                }
            });
            if is_live {
                load.weight[0] += sum.weight[0] * WEIGHT_SCALE / live;
                load.weight[1] += sum.weight[1] * WEIGHT_SCALE / live;
            } else {
                load.weight[2] += (sum.weight[0] + sum.weight[1]) * WEIGHT_SCALE / all;
            }
        }
        let mut counted = sum.availability;
        if live == 0 {
            (counted.healthy, counted.degraded) = (0, 0);
        }
        group.availability.add(counted);
    }
    (groups, unreachable)
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
