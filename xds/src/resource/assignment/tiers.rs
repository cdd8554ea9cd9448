//! Places as the tiers of an assignment: an address stands in them once, because clients know it once. It must not know endpoints.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use model::Place;

use super::{Host, HostState, Tier};

/// In what parts of a percent the hosts of several rules are weighed against each other.
const SHARE: u128 = 1 << 32;

/// Hosts by locality rule and its percent.
type Groups = BTreeMap<(u16, u32), Vec<Host>>;

/// The tiers. An address that stands in several places stays in the closest tier (Envoy keeps only the first). Where it stands
/// under several rules of `distribute` there, those become one group with their percents together, in which each host has the
/// sum of its shares; without `distribute` its weights are added up in the first group.
pub(super) fn tiers(places: BTreeMap<Place, Vec<Host>>, distributed: bool) -> Vec<Tier> {
    let mut closest = HashMap::new();
    let mut tiers: Vec<Tier> = Vec::new();
    for (at, mut hosts) in places {
        hosts.retain(|host| *closest.entry(host.address).or_insert(at.closeness) == at.closeness);
        if hosts.is_empty() {
            continue;
        }
        let group = ((at.group, at.percent), once(hosts));
        match tiers.last_mut() {
            Some(tier) if tier.closeness == at.closeness => tier.groups.extend([group]),
            _ => tiers.push(Tier {
                closeness: at.closeness,
                groups: [group].into(),
            }),
        }
    }
    for tier in &mut tiers {
        let groups = std::mem::take(&mut tier.groups);
        tier.groups = match distributed {
            true => united(groups),
            false => in_the_first(groups),
        };
    }
    tiers
}

/// Hosts with each address once: weights are summed, those of the better state alone.
fn once(hosts: Vec<Host>) -> Vec<Host> {
    let mut at = HashMap::new();
    let mut kept: Vec<Host> = Vec::with_capacity(hosts.len());
    for host in hosts {
        let index = *at.entry(host.address).or_insert(kept.len());
        match kept.get_mut(index) {
            None => kept.push(host),
            Some(known) if known.state == host.state => known.weight += host.weight,
            Some(known) if host.state < known.state => *known = host,
            Some(_) => {}
        }
    }
    kept
}

fn in_the_first(groups: Groups) -> Groups {
    let mut first = HashMap::new();
    let mut kept = Groups::new();
    for (group, hosts) in groups {
        for host in hosts {
            let group = *first.entry(host.address).or_insert(group);
            kept.entry(group).or_default().push(host);
        }
    }
    kept.values_mut()
        .for_each(|hosts| *hosts = once(std::mem::take(hosts)));
    kept
}

/// Groups that share an address as one. What gets nothing does not come to anything by that: there, only others' addresses go.
fn united(groups: Groups) -> Groups {
    let (nothing, groups): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|((_, percent), _)| *percent == 0);
    // For each group the first one that it belongs with.
    let mut with: Vec<usize> = (0..groups.len()).collect();
    let mut first = HashMap::new();
    for (at, (_, hosts)) in groups.iter().enumerate() {
        for host in hosts {
            let known = *first.entry(host.address).or_insert(at);
            let (one, other) = (with[known].min(with[at]), with[known].max(with[at]));
            with.iter_mut()
                .filter(|with| **with == other)
                .for_each(|with| *with = one);
        }
    }
    let addresses: HashSet<SocketAddr> = first.into_keys().collect();
    let mut together: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for (with, group) in with.into_iter().zip(groups) {
        together.entry(with).or_default().push(group);
    }
    let mut kept: Groups = together.into_values().flat_map(one).collect();
    for (group, mut hosts) in nothing {
        hosts.retain(|host| !addresses.contains(&host.address));
        if !hosts.is_empty() {
            kept.insert(group, hosts);
        }
    }
    kept
}

/// Several groups as one. A group in which nobody is as ready as the readiest of all has no part in the percent, as it has none
/// where groups stand alone.
fn one(groups: Vec<((u16, u32), Vec<Host>)>) -> Option<((u16, u32), Vec<Host>)> {
    if groups.len() < 2 {
        return groups.into_iter().next();
    }
    let best = |hosts: &[Host]| hosts.iter().map(|host| host.state).min();
    let of_all = groups.iter().filter_map(|(_, hosts)| best(hosts)).min();
    let mut percents = 0;
    let mut rule = u16::MAX;
    let mut all = Vec::new();
    for ((number, percent), mut hosts) in groups {
        rule = rule.min(number);
        if best(&hosts) == of_all {
            percents += percent;
        }
        let mut whole: BTreeMap<HostState, u128> = BTreeMap::new();
        for host in &hosts {
            *whole.entry(host.state).or_default() += u128::from(host.weight);
        }
        for host in &mut hosts {
            let part = u128::from(host.weight) * u128::from(percent) * SHARE;
            let share = part / whole[&host.state].max(1);
            host.weight = u64::try_from(share).unwrap_or(u64::MAX).max(1);
        }
        all.extend(hosts);
    }
    Some(((rule, percents), once(all)))
}
