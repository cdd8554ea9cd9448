//! All chunks of a route together: tiers in order of closeness, other networks as their gateways, shares over them. It must
//! not look at single endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    Availability, Closeness, EndpointKey, GatewayState, LoadBalancer, LocalityLoad, Network,
    NetworkId, Origin, Place, Policy, RemoteSums, locality_shares, priority_loads,
    through_gateways,
};

use super::maglev::Maglev;
use super::part::{Entries, by_class};
use super::{Balancer, ChunkParts, Class, Compiler, Group, Part, Pool, Share, Tier, Unused};
use crate::host::{Host, HostRef};

/// What a route keeps from one compilation to the next.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// The route's own open-connection counts of gateways.
    pub(crate) gateways: BTreeMap<EndpointKey, HostRef>,
}

/// What does not come from the chunks.
pub(crate) struct Setting<'a> {
    pub(crate) networks: &'a BTreeMap<NetworkId, Network>,
    pub(crate) policy: &'a Arc<Policy>,
    pub(crate) zone_spill: bool,
    /// Percent, see [`model::priority_loads`].
    pub(crate) overprovisioning: u32,
}

/// One tier in the making: groups by their `distribute` entry.
#[derive(Default)]
struct Draft {
    groups: BTreeMap<(u16, u32), GroupDraft>,
}

#[derive(Default)]
struct GroupDraft {
    parts: [Vec<Part>; 3],
    availability: Availability,
}

/// Builds the balancer; the second value lists gateways that were left out because they are ejected.
pub(crate) fn assemble<'a>(
    chunks: impl IntoIterator<Item = &'a Arc<ChunkParts>>,
    setting: &Setting<'_>,
    compiler: &mut Compiler<'_>,
    assembly: &mut Assembly,
) -> (Balancer, Vec<EndpointKey>) {
    let mut drafts: BTreeMap<Closeness, Draft> = BTreeMap::new();
    let mut remote = RemoteSums::new();
    let mut unused = Unused::default();
    for chunk in chunks {
        unused.add(chunk.unused);
        for local in &chunk.local {
            let draft = drafts.entry(local.place.closeness).or_default();
            draft.add(local.place, &local.parts, local.availability);
        }
        for (key, sum) in &chunk.remote {
            remote
                .entry(key.clone())
                .and_modify(|known| known.join(sum))
                .or_insert(*sum);
        }
    }
    let mut excluded = Vec::new();
    add_gateways(
        &remote,
        setting,
        compiler,
        assembly,
        &mut drafts,
        &mut unused,
        &mut excluded,
    );

    let mut tiers: Vec<Tier> = drafts
        .into_iter()
        .map(|(closeness, draft)| draft.tier(closeness, setting.overprovisioning))
        .collect();
    if setting.policy.load_balancer == LoadBalancer::SourceIp {
        for tier in &mut tiers {
            tier.maglev = Maglev::build(tier).map(Box::new);
        }
    }
    let spills = setting.zone_spill && setting.policy.locality.failover_priority.is_empty();
    for at in 1..tiers.len() {
        let next = tiers[at].closeness;
        if spills && tiers[at - 1].closeness.is_own_zone() && next.is_own_region() {
            tiers[at - 1].spill = u8::try_from(at).ok();
        }
    }
    let shares = shares(&mut tiers, setting);
    let balancer = Balancer {
        tiers: tiers.into(),
        shares: shares.into(),
        policy: setting.policy.clone(),
        ignores_ejections: compiler.ignore_ejections,
        unused,
    };
    (balancer, excluded)
}

/// Envoy's shares over the tiers, cumulative.
fn shares(tiers: &mut [Tier], setting: &Setting<'_>) -> Vec<Share> {
    let available: Vec<_> = tiers.iter().map(|tier| tier.availability).collect();
    let rule = setting.policy.outlier_detection.unwrap_or_default();
    let loads = priority_loads(
        &available,
        setting.overprovisioning,
        rule.min_health_percent,
    );
    let mut upto = 0;
    let mut shares = Vec::new();
    for (class, loads) in [
        (Class::Healthy, &loads.healthy),
        (Class::Degraded, &loads.degraded),
    ] {
        for (tier, load) in (0..).zip(loads) {
            if *load > 0 {
                upto += load;
                shares.push(Share { upto, tier, class });
            }
        }
    }
    for (tier, panic) in tiers.iter_mut().zip(loads.panic) {
        tier.panic = panic;
        if panic {
            tier.pools.iter_mut().for_each(Pool::share_by_weight);
        }
    }
    shares
}

/// Other networks as the gateways that lead to them, by [`model::through_gateways`]; the route counts open connections of
/// each gateway by itself.
fn add_gateways(
    remote: &RemoteSums,
    setting: &Setting<'_>,
    compiler: &mut Compiler<'_>,
    assembly: &mut Assembly,
    drafts: &mut BTreeMap<Closeness, Draft>,
    unused: &mut Unused,
    excluded: &mut Vec<EndpointKey>,
) {
    let state = |address| {
        if compiler.is_forbidden(address) {
            return GatewayState::Forbidden;
        }
        let key = EndpointKey(address);
        let host = compiler.hosts.of(key).0;
        let ejected = host.is_out() && !compiler.ignore_ejections;
        assembly
            .gateways
            .entry(key)
            .or_insert_with(|| HostRef::new(Host::of_route(host)));
        if ejected {
            excluded.push(key);
            return GatewayState::Dead;
        }
        GatewayState::Live
    };
    let (groups, no_gateway) = through_gateways(remote, setting.networks, state);
    unused.no_gateway += no_gateway;
    for (place, group) in groups {
        let mut entries = Entries::default();
        for (address, load) in group.gateways {
            let host = &assembly.gateways[&EndpointKey(address)];
            let origin = Arc::new(Origin {
                cluster: load.cluster,
                network: load.network,
                ..Origin::default()
            });
            // The third is what a dead gateway would have, which stands with those that are not ready.
            for (entries, weight) in entries.iter_mut().zip(load.weight) {
                if weight > 0 {
                    entries.push((host.clone(), origin.clone(), weight));
                }
            }
        }
        let parts = by_class(entries);
        drafts
            .entry(place.closeness)
            .or_default()
            .add(place, &parts, group.availability);
    }
    // Addresses that no part refers to any more; an open connection or the balancer in force keeps its own.
    assembly.gateways.retain(|_, host| host.references() > 1);
}

impl Draft {
    fn add(&mut self, place: Place, parts: &[(Class, Part)], availability: Availability) {
        let group = self.groups.entry((place.group, place.percent)).or_default();
        for (class, part) in parts {
            group.parts[*class as usize].push(part.clone());
        }
        group.availability.add(availability);
    }

    fn tier(self, closeness: Closeness, overprovisioning: u32) -> Tier {
        // Without `distribute` the groups only tell endpoints from gateways, which a policy can put into one tier: there
        // they compete by weight, as one group.
        let distributed =
            self.groups.keys().any(|(_, percent)| *percent != 100) || self.groups.len() > 2;
        let mut availability = Availability::default();
        let mut groups: [Vec<Vec<Part>>; 3] = Default::default();
        let mut localities = Vec::new();
        for ((_, percent), group) in self.groups {
            availability.add(group.availability);
            localities.push((percent, group.availability));
            for (groups, parts) in groups.iter_mut().zip(group.parts) {
                match groups.first_mut() {
                    Some(first) if !distributed => first.extend(parts),
                    _ => groups.push(parts),
                }
            }
        }
        let mut pools: [Pool; 3] = Default::default();
        for ((pool, groups), class) in pools.iter_mut().zip(groups).zip(Class::ALL) {
            // An empty list of groups is not even looked at; where there are several, each has its locality.
            if groups.iter().any(|parts| !parts.is_empty()) {
                pool.groups = groups.into_iter().map(Group::of).collect();
                pool.share_out(class, &localities, overprovisioning);
            }
        }
        Tier {
            closeness,
            availability,
            pools,
            panic: false,
            spill: None,
            maglev: None,
        }
    }
}

impl Pool {
    /// The share of each group, by its locality's weight and by how much of it is in this pool.
    fn share_out(
        &mut self,
        class: Class,
        localities: &[(u32, Availability)],
        overprovisioning: u32,
    ) {
        let load = |(weight, there): &(u32, Availability)| LocalityLoad {
            weight: *weight,
            eligible: match class {
                Class::Healthy => there.healthy,
                Class::Degraded => there.degraded,
                Class::Rest => there.total - there.healthy - there.degraded,
            },
            total: there.total,
        };
        let loads: Vec<_> = localities.iter().map(load).collect();
        let shares = locality_shares(&loads, overprovisioning);
        // A group without anything in this pool has no share in it.
        let mut upto = 0;
        for (group, share) in self.groups.iter_mut().zip(shares) {
            upto += if group.weight() > 0 { share } else { 0 };
            group.upto = upto;
        }
    }

    /// Panic knows no localities: every endpoint by its weight (Envoy's `HostSource::AllHosts`).
    fn share_by_weight(&mut self) {
        let mut upto = 0;
        for group in &mut self.groups {
            upto += group.weight();
            group.upto = upto;
        }
    }
}
