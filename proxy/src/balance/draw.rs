//! The first pick of a connection: a tier by its share, two distinct candidates by weight, the less loaded one. No lock,
//! no allocation.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fastrand::Rng;
use model::LoadBalancer;

use super::group::Drawn;
use super::{Balancer, Class, Group, Maglev, Pool, Share, Slot, Tier};
use crate::clock::Millis;
use crate::host::State;
use crate::table::Route;

/// Draws before the pick gives up on chance and scans: enough that a ramp's floor of 10 % is honoured.
const DRAWS: usize = 8;

/// Open connections that a zone may have beyond twice the other's before it spills (design section 6.4).
pub(super) const SPILL_SLACK: u64 = 4;

/// One drawing: from what, for whom, and the chance it goes by.
pub(crate) struct Draw<'a, 'r> {
    pub(crate) balancer: &'a Balancer,
    pub(crate) route: &'r Arc<Route>,
    pub(crate) source: IpAddr,
    pub(crate) now: Millis,
    pub(crate) rng: &'r mut Rng,
}

impl<'a> Draw<'a, '_> {
    /// The slot to dial and its tier; `None` when chance found none that may be picked now.
    #[inline(never)]
    pub(crate) fn draw(&mut self) -> Option<(&'a Slot, u8)> {
        let balancer = self.balancer;
        let by_source = matches!(balancer.policy.load_balancer, LoadBalancer::SourceIp);
        let hash = if by_source { hash_of(self.source) } else { 0 };
        let share = match &*balancer.shares {
            [all] => all,
            shares => {
                let percent = if by_source {
                    hash % 100
                } else {
                    self.rng.u64(0..100)
                };
                let is_in = |share: &&Share| percent < u64::from(share.upto);
                shares.iter().find(is_in)?
            }
        };
        let tier = &balancer.tiers[usize::from(share.tier)];
        if let Some(maglev) = tier
            .maglev
            .as_ref()
            .filter(|_| share.class == Class::Healthy && !tier.panic)
        {
            let slot = self.by_hash(maglev, tier, hash)?;
            return Some((slot, share.tier));
        }
        let pool = tier.pool(share.class, self.rng);
        let group = pool.group(self.rng)?;
        if tier.panic {
            // Who is ejected or not ready is drawn like anybody else.
            let drawn = group.at(below(self.rng, group.units()));
            return Some((drawn.slot, share.tier));
        }
        let drawn = match balancer.policy.load_balancer {
            LoadBalancer::LeastRequest => self.better_of_two(group)?,
            LoadBalancer::RoundRobin => self.next_in_turn(group)?,
            LoadBalancer::Random | LoadBalancer::SourceIp => self.acceptable(group)?,
        };
        match tier.spill {
            Some(next) => Some(self.spill(drawn, group, share.tier, next)),
            None => Some((drawn.slot, share.tier)),
        }
    }

    #[inline]
    fn better_of_two(&mut self, group: &'a Group) -> Option<Drawn<'a>> {
        let first = self.acceptable(group)?;
        if group.units() == first.units {
            return Some(first);
        }
        let mut second = self.beside(group, &first);
        if is_same(&first, &second) || !second.slot.host.is_steady() {
            match self.insist_beside(group, &first, second) {
                Some(other) => second = other,
                None => return Some(first),
            }
        }
        let (a, b) = (first.slot.host.open(), second.slot.host.open());
        let second_is_better =
            u128::from(b) * u128::from(first.units) < u128::from(a) * u128::from(second.units);
        Some(if second_is_better { second } else { first })
    }

    #[inline]
    fn acceptable(&mut self, group: &'a Group) -> Option<Drawn<'a>> {
        let drawn = group.at(below(self.rng, group.units()));
        match drawn.slot.host.is_steady() {
            true => Some(drawn),
            false => self.insist(group, drawn),
        }
    }

    /// One that is not simply taken is looked at, then others.
    #[cold]
    fn insist(&mut self, group: &'a Group, mut drawn: Drawn<'a>) -> Option<Drawn<'a>> {
        for _ in 0..DRAWS {
            if self.accepts(drawn.slot) {
                return Some(drawn);
            }
            // Where all are on their way back, as the gateways of a network are, drawing again would take them at their full
            // share at once.
            if group.ramps(self.now) {
                break;
            }
            drawn = group.at(below(self.rng, group.units()));
        }
        None
    }

    /// Another one: the first candidate's own weight is left out.
    #[inline]
    fn beside(&mut self, group: &'a Group, first: &Drawn<'a>) -> Drawn<'a> {
        let at = below(self.rng, group.units() - first.units);
        let skipped = if at < first.start { 0 } else { first.units };
        group.at(at + skipped)
    }

    /// The same beside a first candidate.
    #[cold]
    fn insist_beside(
        &mut self,
        group: &'a Group,
        first: &Drawn<'a>,
        mut drawn: Drawn<'a>,
    ) -> Option<Drawn<'a>> {
        for _ in 0..DRAWS {
            if !is_same(first, &drawn) && self.accepts(drawn.slot) {
                return Some(drawn);
            }
            drawn = self.beside(group, first);
        }
        None
    }

    fn next_in_turn(&mut self, group: &'a Group) -> Option<Drawn<'a>> {
        for _ in 0..DRAWS {
            let drawn = group.in_turn(self.route.turn.fetch_add(1, Relaxed));
            if self.accepts(drawn.slot) {
                return Some(drawn);
            }
            // As in `insist`, and below.
            if group.ramps(self.now) {
                break;
            }
        }
        None
    }

    fn by_hash(&mut self, maglev: &Maglev, tier: &'a Tier, hash: u64) -> Option<&'a Slot> {
        let groups = &tier.pools[Class::Healthy as usize].groups;
        for attempt in 0..DRAWS {
            let slot = maglev.slot(tier, hash, attempt)?;
            if self.accepts(slot) {
                return Some(slot);
            }
            if groups.iter().all(|group| group.ramps(self.now)) {
                break;
            }
        }
        None
    }

    /// Whether a candidate may be taken now: one that is out is not, a ramping one with the probability of its share.
    fn accepts(&mut self, slot: &Slot) -> bool {
        if slot.host.is_steady() || self.balancer.ignores_ejections {
            return true;
        }
        if matches!(slot.host.state(), State::Ejected(_)) {
            self.route.mark_dirty();
            return false;
        }
        let warmup = self.balancer.policy.warmup.unwrap_or_default();
        let percent = slot.host.share_percent(self.now, warmup);
        percent >= 100 || self.rng.u64(0..100) < percent
    }

    /// The candidate of our own zone, unless one drawn in the next zone is much less loaded.
    fn spill(&mut self, own: Drawn<'a>, from: &Group, tier: u8, next: u8) -> (&'a Slot, u8) {
        let stay = (own.slot, tier);
        let open = u64::from(own.slot.host.open());
        if open <= SPILL_SLACK {
            return stay;
        }
        let pool = &self.balancer.tiers[usize::from(next)].pools[Class::Healthy as usize];
        let Some(group) = pool.group(self.rng) else {
            return stay;
        };
        let Some(other) = self.acceptable(group) else {
            return stay;
        };
        let other_open = u128::from(other.slot.host.open());
        let own_weight = u128::from(own.units * from.unit());
        let other_weight = u128::from(other.units * group.unit());
        let hurts = u128::from(open - SPILL_SLACK) * other_weight > 2 * other_open * own_weight;
        if hurts && !other.slot.host.is_of_gateway() {
            (other.slot, next)
        } else {
            stay
        }
    }
}

impl Tier {
    /// The pool to draw from: that of the class, or in panic any, by weight.
    #[inline]
    fn pool(&self, class: Class, rng: &mut Rng) -> &Pool {
        match self.panic {
            false => &self.pools[class as usize],
            true => self.any_pool(class, rng),
        }
    }

    #[cold]
    fn any_pool(&self, class: Class, rng: &mut Rng) -> &Pool {
        let mut at = rng.u64(0..self.pools.iter().map(Pool::weight).sum::<u64>().max(1));
        for pool in &self.pools {
            match at.checked_sub(pool.weight()) {
                Some(rest) => at = rest,
                None => return pool,
            }
        }
        &self.pools[class as usize]
    }
}

impl Pool {
    /// One of its groups, by its share; `None` when there is nothing to draw.
    #[inline]
    fn group(&self, rng: &mut Rng) -> Option<&Group> {
        if let [only] = &*self.groups {
            return (only.units() > 0).then_some(only);
        }
        let total = self
            .groups
            .last()
            .map(|group| group.upto)
            .filter(|total| *total > 0)?;
        let at = below(rng, total);
        let group = &self.groups[self.groups.partition_point(|group| group.upto <= at)];
        (group.units() > 0).then_some(group)
    }
}

/// One address can stand in two slots, where two clusters list it.
#[inline]
fn is_same(one: &Drawn<'_>, other: &Drawn<'_>) -> bool {
    one.slot.host.is_same(&other.slot.host)
}

/// A number below `limit`. Those that the limit does not divide evenly are favoured by one in 2^64 over it, which nobody can
/// count; to draw again instead costs more than the rest of a draw.
#[inline]
pub(super) fn below(rng: &mut Rng, limit: u64) -> u64 {
    let product = u128::from(rng.u64(..)) * u128::from(limit);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// Equal in every worker and after every restart, so that a client keeps its endpoint.
fn hash_of(source: IpAddr) -> u64 {
    foldhash::quality::FixedState::with_seed(0).hash_one(source.to_canonical())
}
