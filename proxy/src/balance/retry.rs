//! Every pick after the first, and a first one that chance did not settle: it may scan, never returns a host that was
//! tried, and leaves a tier after three attempts while another usable one is left.

use fastrand::Rng;

use super::{ATTEMPTS, ATTEMPTS_PER_TIER, Balancer, Class, Group, Part, Slot, Tried};
use crate::clock::Millis;
use crate::host::Host;

/// Attempts in a tier, and who may be tried.
type Pass = (usize, fn(&Host, Millis) -> bool);

/// In their order. Who is back on a ramp has its share from the draw, so that the rest of the
/// traffic stays where it went in the meantime; and an address that another route ejected, and that this route was compiled
/// with, comes last: better than none.
const PASSES: [Pass; 4] = [
    (ATTEMPTS_PER_TIER, |host, now| {
        !host.is_out() && !host.is_ramping(now)
    }),
    (ATTEMPTS_PER_TIER, |host, _| !host.is_out()),
    (ATTEMPTS, |host, _| !host.is_out()),
    (ATTEMPTS, |_, _| true),
];

impl Balancer {
    /// The slot to dial next and its tier; `None` when all that may be picked is used up.
    pub(crate) fn next(&self, tried: &Tried, now: Millis, rng: &mut Rng) -> Option<(&Slot, u8)> {
        if tried.len() >= ATTEMPTS || self.shares.is_empty() {
            return None;
        }
        let first = tried.last_tier().unwrap_or(self.shares[0].tier);
        let count = self.tiers.len();
        // Onwards from the tier of the last attempt, then around; healthy ones anywhere before degraded ones.
        let order = || (0..count).map(|step| (usize::from(first) + step) % count);
        for (limit, usable) in PASSES {
            for class in [Class::Healthy, Class::Degraded, Class::Rest] {
                for tier in order().filter(|tier| tried.in_tier(*tier) < limit) {
                    if class == Class::Rest && !self.tiers[tier].panic {
                        continue;
                    }
                    let ignores = self.ignores_ejections || class == Class::Rest;
                    let usable = |host: &Host| ignores || usable(host, now);
                    if let Some(slot) = self.untried(tier, class, usable, tried, rng) {
                        return Some((slot, u8::try_from(tier).unwrap_or(u8::MAX)));
                    }
                }
            }
        }
        order().find_map(|tier| {
            let slot = self.untried(tier, Class::Rest, Host::is_last_resort, tried, rng)?;
            Some((slot, u8::try_from(tier).unwrap_or(u8::MAX)))
        })
    }

    /// Any slot of the pool that is usable and was not tried, by weight.
    fn untried(
        &self,
        tier: usize,
        class: Class,
        usable: impl Fn(&Host) -> bool,
        tried: &Tried,
        rng: &mut Rng,
    ) -> Option<&Slot> {
        let pool = &self.tiers[tier].pools[class as usize];
        let mut seen = 0;
        let mut chosen = None;
        let parts = pool.groups.iter().flat_map(Group::parts);
        for (slot, weight) in parts.flat_map(Part::weighted) {
            if weight == 0 || !usable(&slot.host) || tried.contains(&slot.host) {
                continue;
            }
            // Weighted reservoir of one: each slot ends up chosen with the share of its weight.
            seen += weight;
            if rng.u64(0..seen) < weight {
                chosen = Some(slot);
            }
        }
        chosen
    }
}
