//! The first pick of a connection: a tier by its share, two distinct candidates by weight, the less loaded one. No lock,
//! no allocation.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fastrand::Rng;
use model::LoadBalancer;

use super::{Balancer, Class, Group, Pool, Share, Slot, Tier};
use crate::clock::Millis;
use crate::host::State;
use crate::table::Route;

/// Draws before the pick gives up on chance and scans: enough that a ramp's floor of 10 % is honoured.
const DRAWS: usize = 8;

/// Open connections that a zone may have beyond twice the other's before it spills (design section 6.4).
const SPILL_SLACK: u64 = 4;

/// A slot that was drawn, and where it stands in its group, in units of weight.
#[derive(Clone, Copy)]
pub(crate) struct Drawn<'a> {
    pub(crate) slot: &'a Slot,
    start: u64,
    weight: u64,
}

impl Balancer {
    /// The slot to dial and its tier; `None` when chance found none that may be picked now.
    pub(crate) fn draw(
        &self,
        route: &Arc<Route>,
        source: IpAddr,
        now: Millis,
        rng: &mut Rng,
    ) -> Option<(&Slot, u8)> {
        let by_source = matches!(self.policy.load_balancer, LoadBalancer::SourceIp);
        let hash = if by_source { hash_of(source) } else { 0 };
        let share = match self.shares.as_slice() {
            [all] => all,
            shares => {
                let percent = if by_source {
                    hash % 100
                } else {
                    rng.u64(0..100)
                };
                let is_in = |share: &&Share| percent < u64::from(share.upto);
                shares.iter().find(is_in)?
            }
        };
        let tier = &self.tiers[usize::from(share.tier)];
        if let Some(maglev) = tier
            .maglev
            .as_ref()
            .filter(|_| share.class == Class::Healthy)
        {
            return (0..DRAWS)
                .filter_map(|attempt| maglev.slot(tier, hash, attempt))
                .find(|slot| self.accepts(route, slot, now, rng))
                .map(|slot| (slot, share.tier));
        }
        let pool = tier.pool(share.class, rng);
        let group = pool.group(rng)?;
        let drawn = match self.policy.load_balancer {
            LoadBalancer::LeastRequest => self.better_of_two(route, group, now, rng)?,
            LoadBalancer::RoundRobin => self.next_in_turn(route, group, now, rng)?,
            LoadBalancer::Random | LoadBalancer::SourceIp => {
                self.acceptable(route, group, now, rng)?
            }
        };
        match tier.spill {
            Some(next) => Some(self.spill(route, drawn, share.tier, next, now, rng)),
            None => Some((drawn.slot, share.tier)),
        }
    }

    fn better_of_two<'a>(
        &self,
        route: &Arc<Route>,
        group: &'a Group,
        now: Millis,
        rng: &mut Rng,
    ) -> Option<Drawn<'a>> {
        let first = self.acceptable(route, group, now, rng)?;
        let rest = group.weight() - first.weight;
        if rest == 0 {
            return Some(first);
        }
        for _ in 0..DRAWS {
            let at = rng.u64(0..rest);
            // The first candidate's own weight is left out, so the second is another one.
            let second = group.at(if at < first.start {
                at
            } else {
                at + first.weight
            });
            // One address can stand in two slots, where two clusters list it.
            let is_same = Arc::ptr_eq(&first.slot.host, &second.slot.host);
            if is_same || !self.accepts(route, second.slot, now, rng) {
                continue;
            }
            let (a, b) = (first.slot.host.open(), second.slot.host.open());
            let second_is_better = u128::from(b) * u128::from(first.weight)
                < u128::from(a) * u128::from(second.weight);
            return Some(if second_is_better { second } else { first });
        }
        Some(first)
    }

    fn acceptable<'a>(
        &self,
        route: &Arc<Route>,
        group: &'a Group,
        now: Millis,
        rng: &mut Rng,
    ) -> Option<Drawn<'a>> {
        let total = group.weight();
        for _ in 0..DRAWS {
            let drawn = group.at(rng.u64(0..total));
            if self.accepts(route, drawn.slot, now, rng) {
                return Some(drawn);
            }
        }
        None
    }

    fn next_in_turn<'a>(
        &self,
        route: &Arc<Route>,
        group: &'a Group,
        now: Millis,
        rng: &mut Rng,
    ) -> Option<Drawn<'a>> {
        (0..DRAWS)
            .map(|_| group.in_turn(route.turn.fetch_add(1, Relaxed)))
            .find(|drawn| self.accepts(route, drawn.slot, now, rng))
    }

    /// Whether a candidate may be taken now: an ejected one is not, a ramping one with the probability of its share.
    fn accepts(&self, route: &Arc<Route>, slot: &Slot, now: Millis, rng: &mut Rng) -> bool {
        let state = slot.host.state();
        if state == State::Steady || self.ignores_ejections {
            return true;
        }
        if matches!(state, State::Ejected(_)) {
            route.mark_dirty();
            return false;
        }
        let warmup = self.policy.warmup.unwrap_or_default();
        let percent = slot.host.share_percent(now, warmup);
        percent >= 100 || rng.u64(0..100) < percent
    }

    /// The candidate of our own zone, unless one drawn in the next zone is much less loaded.
    fn spill<'a>(
        &'a self,
        route: &Arc<Route>,
        own: Drawn<'a>,
        tier: u8,
        next: u8,
        now: Millis,
        rng: &mut Rng,
    ) -> (&'a Slot, u8) {
        let stay = (own.slot, tier);
        let open = u64::from(own.slot.host.open());
        if open <= SPILL_SLACK {
            return stay;
        }
        let Some(group) = self.tiers[usize::from(next)].pools[Class::Healthy as usize].group(rng)
        else {
            return stay;
        };
        let Some(other) = self.acceptable(route, group, now, rng) else {
            return stay;
        };
        let other_open = u128::from(other.slot.host.open());
        let hurts = u128::from(open - SPILL_SLACK) * u128::from(other.weight)
            > 2 * other_open * u128::from(own.weight);
        if hurts && !other.slot.host.is_of_gateway() {
            (other.slot, next)
        } else {
            stay
        }
    }
}

impl Tier {
    /// The pool to draw from: that of the class, or in panic any, by weight.
    fn pool(&self, class: Class, rng: &mut Rng) -> &Pool {
        if !self.panic {
            return &self.pools[class as usize];
        }
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
    fn group(&self, rng: &mut Rng) -> Option<&Group> {
        if let [only] = self.groups.as_slice() {
            return (only.weight() > 0).then_some(only);
        }
        let total = self.upto.last().copied().filter(|total| *total > 0)?;
        let at = rng.u64(0..total);
        let group = &self.groups[self.upto.partition_point(|upto| *upto <= at)];
        (group.weight() > 0).then_some(group)
    }
}

impl Group {
    /// The slot that a weight below the group's falls on.
    fn at(&self, at: u64) -> Drawn<'_> {
        let which = if self.upto.len() == 1 {
            0
        } else {
            self.upto.partition_point(|upto| *upto <= at)
        };
        let before = if which == 0 { 0 } else { self.upto[which - 1] };
        let part = &self.parts[which];
        let within = at - before;
        let index = match usize::try_from(within.checked_div(part.each).unwrap_or(u64::MAX)) {
            Ok(index) if part.each > 0 => index,
            _ => part.slots.partition_point(|slot| slot.upto <= within),
        };
        let start = if index == 0 {
            0
        } else {
            part.slots[index - 1].upto
        };
        let slot = &part.slots[index];
        Drawn {
            slot,
            start: before + start,
            weight: slot.upto - start,
        }
    }

    /// The slot whose turn it is: exactly in turn where all weights are equal, else spread by the golden ratio, whose
    /// multiples fall evenly (each slot gets its weight's share within a few turns).
    fn in_turn(&self, turn: u32) -> Drawn<'_> {
        let total = self.weight();
        let each = self.parts[0].each;
        if each > 0 && self.parts.iter().all(|part| part.each == each) {
            return self.at(u64::from(turn) % (total / each) * each);
        }
        let spread = u64::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = (u128::from(spread) * u128::from(total)) >> 64;
        self.at(u64::try_from(at).unwrap_or(0))
    }
}

/// Equal in every worker and after every restart, so that a client keeps its endpoint.
fn hash_of(source: IpAddr) -> u64 {
    foldhash::quality::FixedState::with_seed(0).hash_one(source.to_canonical())
}
