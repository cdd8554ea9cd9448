//! How close an endpoint is to the gateway. A pure rule: the balancer and the xDS server both use it.

use std::sync::Arc;

use crate::{ClusterId, Labels, Locality, LocalityPolicy, NetworkId, Origin, TrafficDistribution};

/// Where traffic comes from: the gateway itself, or a client it answers for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewpoint {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its network.
    pub network: NetworkId,
    /// Its region, zone and subzone.
    pub locality: Locality,
    /// Its labels, for `failoverPriority`.
    pub labels: Labels,
    /// Order of the regions; those not named share the last place.
    pub regions: Vec<Arc<str>>,
}

/// A rank: less is closer, equal ranks share a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Closeness(pub u32);

/// Ranks within one region: same node, same subzone, same zone, other zone.
const WITHIN_REGION: u32 = 4;

/// Ranks within one network: room for every region that a configuration can name.
const WITHIN_NETWORK: u32 = 1 << 16;

/// Ranks of one place in `failoverPriority`. All of them are counted from here on, so that none is taken for a zone of the
/// usual order.
const BY_LABELS: u32 = 1 << 17;

/// Label of the node, which `PreferSameNode` compares.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Label that stands for the network in `failoverPriority`.
const NETWORK: &str = "topology.istio.io/network";

impl Closeness {
    /// The rank of a tier that another control plane has given, the first being 0. None but the first is taken for a zone
    /// or region of the usual order.
    #[must_use]
    pub fn given(tier: usize) -> Self {
        let tier = u32::try_from(tier).unwrap_or(u32::MAX);
        Self(tier.saturating_mul(WITHIN_NETWORK))
    }

    /// Our own zone, by the usual order.
    #[must_use]
    pub const fn is_own_zone(self) -> bool {
        self.0 < WITHIN_REGION - 1
    }

    /// Our own region and network, by the usual order.
    #[must_use]
    pub const fn is_own_region(self) -> bool {
        self.0 < WITHIN_REGION
    }
}

impl Viewpoint {
    /// Whether something is in our own network, so that it can be dialled directly. What has no network is ours only if
    /// its cluster is (or if it has none either, as in a file that knows of no clusters).
    #[must_use]
    pub fn is_own(&self, origin: &Origin) -> bool {
        if origin.network.is_empty() {
            return origin.cluster.is_empty() || origin.cluster == self.cluster;
        }
        origin.network == self.network
    }

    /// 0 for our own region; then the one that the first rule of `failover` for ours names; then those of `regions`, in
    /// that order; then all others.
    fn region_rank(&self, policy: &LocalityPolicy, region: &Arc<str>) -> u32 {
        let ours = &self.locality.region;
        if region == ours {
            return 0;
        }
        let rule = policy.failover.iter().find(|rule| rule.from == *ours);
        if rule.is_some_and(|rule| rule.to == *region) {
            return 1;
        }
        let place = self.regions.iter().position(|named| named == region);
        let place = place.unwrap_or(self.regions.len());
        u32::try_from(2 + place).unwrap_or(u32::MAX).min(10_000)
    }
}

/// How close something at `origin` with these labels is.
///
/// Compared in order: network, region, zone, subzone; of another network only the region counts, because it is entered
/// through a gateway. A DestinationRule's `failoverPriority` and `failover` go before a Service's `trafficDistribution`, as
/// in Istio; where both of the former are given, `failover` breaks the ties of `failoverPriority`.
#[must_use]
pub fn closeness(
    from: &Viewpoint,
    policy: &LocalityPolicy,
    origin: &Origin,
    labels: &Labels,
) -> Closeness {
    use TrafficDistribution::{Any, Default, PreferClose, PreferSameNode};
    let place = Place {
        from,
        origin,
        labels,
        own: from.is_own(origin),
    };
    let ruled = !policy.failover_priority.is_empty() || !policy.failover.is_empty();
    let depth = match policy.traffic_distribution {
        _ if policy.disabled => return Closeness(0),
        _ if ruled => Depth::Subzone,
        Any => return Closeness(0),
        Default => Depth::Subzone,
        PreferClose => Depth::Zone,
        PreferSameNode => Depth::Node,
    };
    if policy.failover_priority.is_empty() {
        let network = if place.own { 0 } else { WITHIN_NETWORK };
        return Closeness(network + place.within_network(policy, depth));
    }
    let tie = match policy.failover.is_empty() {
        true => 0,
        false => place.within_network(policy, depth),
    };
    Closeness(place.by_labels(&policy.failover_priority) + tie)
}

/// The last part that is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Zone,
    Subzone,
    Node,
}

/// What is ranked, and from where.
struct Place<'a> {
    from: &'a Viewpoint,
    origin: &'a Origin,
    labels: &'a Labels,
    own: bool,
}

impl Place<'_> {
    /// Region and, in our own network and region, zone and further; less than [`WITHIN_NETWORK`].
    fn within_network(&self, policy: &LocalityPolicy, depth: Depth) -> u32 {
        let (ours, theirs) = (&self.from.locality, &self.origin.locality);
        let region = self.from.region_rank(policy, &theirs.region) * WITHIN_REGION;
        let node = |labels| value_of(labels, HOSTNAME);
        let zone = if !self.own || region > 0 {
            0
        } else if ours.zone != theirs.zone {
            3
        } else if depth >= Depth::Subzone && ours.subzone != theirs.subzone {
            2
        } else {
            u32::from(depth == Depth::Node && node(&self.from.labels) != node(self.labels))
        };
        region + zone
    }

    /// Istio's `failoverPriority`: how many labels there are from the first that differs on. Where the first entry is the
    /// bare network, Istio adds the length of the list for another network and goes on comparing, so that all of our own
    /// come before all others.
    fn by_labels(&self, order: &[Arc<str>]) -> u32 {
        /// So many entries are told apart; ranks then stay within 32 bits.
        const MOST: usize = 1 << 12;
        let order = &order[..order.len().min(MOST)];
        let (added, rest) = match order.split_first() {
            Some((first, rest)) if **first == *NETWORK && !self.own => (order.len(), rest),
            _ => (0, order),
        };
        let agreed = rest.iter().take_while(|entry| self.agrees(entry)).count();
        let rank = 1 + added + rest.len() - agreed;
        u32::try_from(rank).unwrap_or(u32::MAX >> 17) * BY_LABELS
    }

    /// Whether an entry of `failoverPriority` is met: `key` compares with our own value, `key=value` with that one; a
    /// label that is missing is empty. Behind another network's gateway we can choose neither zone nor label, so there
    /// only network, cluster and region can agree (the stand-ins that Istio sends bear no such labels either).
    fn agrees(&self, entry: &str) -> bool {
        let (key, wanted) = match entry.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (entry, None),
        };
        let (from, origin) = (self.from, self.origin);
        let (ours, theirs) = match key {
            NETWORK if wanted.is_none() => return self.own,
            NETWORK if self.own => ("", from.network.as_str()),
            NETWORK => ("", origin.network.as_str()),
            "topology.istio.io/cluster" => (from.cluster.as_str(), origin.cluster.as_str()),
            "topology.kubernetes.io/region" => (&*from.locality.region, &*origin.locality.region),
            _ if !self.own => return false,
            "topology.kubernetes.io/zone" => (&*from.locality.zone, &*origin.locality.zone),
            "topology.istio.io/subzone" => (&*from.locality.subzone, &*origin.locality.subzone),
            _ => (value_of(&from.labels, key), value_of(self.labels, key)),
        };
        wanted.unwrap_or(ours) == theirs
    }
}

fn value_of<'a>(labels: &'a Labels, key: &str) -> &'a str {
    labels.get(key).map_or("", |value| value)
}

#[cfg(test)]
mod tests;
