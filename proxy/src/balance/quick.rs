//! The pick that nearly every connection gets, in few instructions. It must come to what [`Draw`](super::Draw) comes to by the same
//! chance, or to nothing.

use fastrand::Rng;
use model::LoadBalancer;

use super::draw::{SPILL_SLACK, below};
use super::{Balancer, Slot};

impl Balancer {
    /// The slot to dial and its tier, where one tier takes all, its endpoints weigh the same and both that are drawn are at their
    /// full share. Else `None`, and the chance is left as it was.
    #[inline]
    pub(crate) fn draw_quickly(&self, rng: &mut Rng) -> Option<(&Slot, u8)> {
        let [share] = &*self.shares else {
            return None;
        };
        let tier = &self.tiers[usize::from(share.tier)];
        let [group] = &*tier.pools[share.class as usize].groups else {
            return None;
        };
        let units = group.units();
        let least = matches!(self.policy.load_balancer, LoadBalancer::LeastRequest);
        if !least || tier.panic || !group.is_equal() || units < 2 {
            return None;
        }
        let mut chance = rng.clone();
        let first = below(&mut chance, units);
        let other = below(&mut chance, units - 1);
        let second = other + u64::from(other >= first);
        let (first, second) = (group.nth(first), group.nth(second));
        let steady = first.host.is_steady() && second.host.is_steady();
        if !steady || first.host.is_same(&second.host) {
            return None;
        }
        let (open, other) = (first.host.open(), second.host.open());
        let (slot, open) = match other < open {
            true => (second, other),
            false => (first, open),
        };
        if tier.spill.is_some() && u64::from(open) > SPILL_SLACK {
            return None;
        }
        *rng = chance;
        Some((slot, share.tier))
    }
}
