//! Consistent hashing (Maglev, NSDI 2016 section 3.4): the same client gets the same endpoint, and few clients move when
//! the endpoints change. It is built only where a policy asks for it.

use std::hash::BuildHasher;

use super::{Class, Group, Slot, Tier};

/// Table sizes: primes; the first is Envoy's default, the last its maximum. At least 100 entries for each slot keep the
/// shares within about 1 %.
const SIZES: [usize; 5] = [65_537, 131_101, 655_373, 1_310_743, 5_000_011];

/// A lookup table over the healthy slots of one tier.
#[derive(Debug)]
pub(crate) struct Maglev {
    /// Index of the part among all parts of the pool, and of the slot in it.
    entries: Box<[(u16, u16)]>,
}

impl Maglev {
    /// A table by weight; `None` when there is nothing to choose from.
    pub(crate) fn build(tier: &Tier) -> Option<Self> {
        let mut slots = Vec::new();
        let pool = &tier.pools[Class::Healthy as usize];
        let parts = pool.groups.iter().flat_map(Group::parts);
        for (p, part) in parts.enumerate() {
            let p = u16::try_from(p).ok()?;
            for (s, (slot, weight)) in part.weighted().enumerate() {
                slots.push((p, u16::try_from(s).ok()?, slot, weight));
            }
        }
        let heaviest = slots
            .iter()
            .map(|(.., weight)| *weight)
            .max()
            .filter(|weight| *weight > 0)?;
        let fits = SIZES
            .iter()
            .find(|size| **size >= slots.len().saturating_mul(100));
        let size = *fits.unwrap_or(&SIZES[SIZES.len() - 1]);
        let state = foldhash::quality::FixedState::with_seed(1);
        let mut walks: Vec<(usize, usize, u64)> = slots
            .iter()
            .map(|(_, _, slot, _)| {
                let hash = state.hash_one(slot.host.key());
                let offset = low(hash) % size;
                (offset, low(hash >> 32) % (size - 1) + 1, 0)
            })
            .collect();
        let mut entries = vec![None; size];
        let mut filled = 0;
        while filled < size {
            for (walk, (part, slot, _, weight)) in walks.iter_mut().zip(&slots) {
                // A lighter slot sits out rounds in proportion to the heaviest.
                walk.2 += weight;
                if walk.2 < heaviest {
                    continue;
                }
                walk.2 -= heaviest;
                while entries[walk.0].is_some() {
                    walk.0 = (walk.0 + walk.1) % size;
                }
                entries[walk.0] = Some((*part, *slot));
                filled += 1;
                if filled == size {
                    break;
                }
            }
        }
        let entries = entries.into_iter().flatten().collect();
        Some(Self { entries })
    }

    /// The slot for a hash; further attempts look elsewhere, always at the same places.
    pub(crate) fn slot<'a>(&self, tier: &'a Tier, hash: u64, attempt: usize) -> Option<&'a Slot> {
        let at =
            low(hash.rotate_left(u32::try_from(attempt * 8).unwrap_or(0))) % self.entries.len();
        let (part, slot) = self.entries[at];
        let pool = &tier.pools[Class::Healthy as usize];
        let mut parts = pool.groups.iter().flat_map(Group::parts);
        parts.nth(usize::from(part))?.slots.get(usize::from(slot))
    }
}

/// The lower 32 bits, which is more than any table has entries.
fn low(hash: u64) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0)
}
