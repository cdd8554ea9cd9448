//! Slots side by side in order of their cumulative weights: the slot that a weight falls on is found in a few steps, however
//! many there are. It must not know who is healthy or loaded.

use std::sync::Arc;

use model::Origin;

use crate::clock::Millis;
use crate::host::HostRef;

/// One address to pick; small, because a pick looks at two of very many.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) host: HostRef,
    pub(crate) origin: Arc<Origin>,
}

/// What becomes a slot, and its weight, scaled.
pub(crate) type Entry = (HostRef, Arc<Origin>, u64);

/// A run of slots that was compiled together.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) slots: Arc<[Slot]>,
    weights: Weights,
}

/// What the slots of a part weigh, scaled.
#[derive(Clone, Debug)]
enum Weights {
    /// Each of them.
    Equal(u64),
    /// Each of them with all before it.
    Upto(Arc<[u64]>),
}

/// Parts side by side. Their weight is counted in units: a slot's own weight where all slots weigh the same, so that the slot is
/// found without a search or a division, else 1.
#[derive(Debug, Default)]
pub(crate) struct Group {
    runs: Runs,
    /// All slots weigh the same.
    equal: bool,
    units: u64,
    /// Cumulative share among the groups of its pool; only looked at where there are several.
    pub(crate) upto: u64,
}

/// The parts of a group. Most groups have one, which stands in the group itself: one step less for a pick, and a block less.
#[derive(Debug)]
enum Runs {
    One(Part),
    /// None, or several.
    Many(Guided),
}

/// Parts side by side, and where to begin to look for a unit.
#[derive(Debug, Default)]
struct Guided {
    runs: Box<[Run]>,
    /// For each stretch of `1 << shift` units the run that its first unit falls on. There are at least as many stretches as runs,
    /// so that few of them have more than one run to look through.
    guide: Box<[u32]>,
    shift: u32,
}

/// One part, and where it ends in its group, in units.
#[derive(Debug)]
struct Run {
    end: u64,
    part: Part,
}

/// A slot that was found, and where it stands in its group, in units.
#[derive(Clone, Copy)]
pub(crate) struct Drawn<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) start: u64,
    pub(crate) units: u64,
}

impl Part {
    /// Slots from hosts and scaled weights.
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        let weights = || entries.iter().map(|(_, _, weight)| *weight);
        let first = weights().next().unwrap_or(0);
        let weights = match weights().all(|weight| weight == first) {
            true => Weights::Equal(first),
            false => {
                let sum = |sum: &mut u64, weight: u64| {
                    *sum += weight;
                    Some(*sum)
                };
                Weights::Upto(weights().scan(0, sum).collect())
            }
        };
        let slots = entries.into_iter();
        let slots = slots.map(|(host, origin, _)| Slot { host, origin });
        Self {
            slots: slots.collect(),
            weights,
        }
    }

    pub(crate) fn weight(&self) -> u64 {
        self.upto(self.slots.len())
    }

    /// Each slot and its own weight.
    pub(crate) fn weighted(&self) -> impl Iterator<Item = (&Slot, u64)> {
        let slots = self.slots.iter().enumerate();
        slots.map(|(at, slot)| (slot, self.upto(at + 1) - self.upto(at)))
    }

    /// The weight of each slot where all are equal, else 0.
    fn each(&self) -> u64 {
        match self.weights {
            Weights::Equal(each) => each,
            Weights::Upto(_) => 0,
        }
    }

    /// What so many of the slots weigh together.
    fn upto(&self, count: usize) -> u64 {
        match &self.weights {
            Weights::Equal(each) => each * count as u64,
            Weights::Upto(_) if count == 0 => 0,
            Weights::Upto(upto) => upto[count - 1],
        }
    }

    /// The slot that a weight below the part's falls on; where it starts within the part; its weight.
    fn at(&self, within: u64) -> (&Slot, u64, u64) {
        let index = match &self.weights {
            Weights::Equal(each) => usize::try_from(within / each).unwrap_or(usize::MAX),
            Weights::Upto(upto) => upto.partition_point(|upto| *upto <= within),
        };
        let start = self.upto(index);
        (&self.slots[index], start, self.upto(index + 1) - start)
    }
}

/// Slots that are looked at to see whether all are on a ramp: a network has seldom more gateways.
const LOOKED_AT: usize = 16;

impl Group {
    /// Whether all are on a ramp, or out, as far as the first ones show. Only asked where one was just seen that is.
    pub(crate) fn ramps(&self, now: Millis) -> bool {
        let slots = self.parts().flat_map(|part| part.slots.iter());
        let mut first = slots.take(LOOKED_AT);
        first.all(|slot| slot.host.is_ramping(now) || slot.host.is_out())
    }

    /// The parts in their order; those without weight are left out.
    pub(crate) fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        let parts = parts.into_iter().filter(|part| part.weight() > 0);
        let mut parts: Vec<Part> = parts.collect();
        let Some(first) = parts.first() else {
            return Self::default();
        };
        let each = first.each();
        let equal = each > 0 && parts.iter().all(|part| part.each() == each);
        let units = |part: &Part| match equal {
            true => part.slots.len() as u64,
            false => part.weight(),
        };
        let all = parts.iter().map(units).sum();
        let runs = match parts.pop() {
            Some(only) if parts.is_empty() => Runs::One(only),
            last => Runs::Many(Guided::of(parts.into_iter().chain(last), units)),
        };
        Self {
            runs,
            equal,
            units: all,
            upto: 0,
        }
    }

    /// How many units there are.
    #[inline]
    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    /// Whether all slots weigh the same: a unit is a slot.
    #[inline]
    pub(crate) fn is_equal(&self) -> bool {
        self.equal
    }

    /// What a unit weighs.
    pub(crate) fn unit(&self) -> u64 {
        match (self.equal, self.parts().next()) {
            (true, Some(part)) => part.each(),
            _ => 1,
        }
    }

    pub(crate) fn weight(&self) -> u64 {
        self.units() * self.unit()
    }

    /// The parts, in their order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        let (one, many) = match &self.runs {
            Runs::One(only) => (Some(only), None),
            Runs::Many(many) => (None, Some(many.runs.iter().map(|run| &run.part))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The slot that a unit falls on; there must be so many.
    pub(crate) fn at(&self, unit: u64) -> Drawn<'_> {
        if self.equal {
            return Drawn {
                slot: self.nth(unit),
                start: unit,
                units: 1,
            };
        }
        let (part, within) = match &self.runs {
            Runs::One(only) => (only, unit),
            Runs::Many(many) => {
                let run = many.run(unit);
                (&run.part, unit + run.part.weight() - run.end)
            }
        };
        let (slot, start, units) = part.at(within);
        Drawn {
            slot,
            start: unit - within + start,
            units,
        }
    }

    /// The same where all slots weigh the same.
    #[inline]
    pub(crate) fn nth(&self, unit: u64) -> &Slot {
        let (slots, within) = match &self.runs {
            Runs::One(only) => (&only.slots, unit),
            Runs::Many(many) => {
                let run = many.run(unit);
                (
                    &run.part.slots,
                    unit + run.part.slots.len() as u64 - run.end,
                )
            }
        };
        &slots[usize::try_from(within).unwrap_or(usize::MAX)]
    }

    /// The slot whose turn it is: exactly in turn where all weights are equal, else spread by the golden ratio, whose
    /// multiples fall evenly (each slot gets its weight's share within a few turns).
    pub(crate) fn in_turn(&self, turn: u32) -> Drawn<'_> {
        let units = self.units();
        if self.equal {
            return self.at(u64::from(turn) % units);
        }
        let spread = u64::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = (u128::from(spread) * u128::from(units)) >> 64;
        self.at(u64::try_from(at).unwrap_or(0))
    }
}

impl Guided {
    fn of(parts: impl Iterator<Item = Part>, units: impl Fn(&Part) -> u64) -> Self {
        let mut end = 0;
        let runs: Box<[Run]> = parts
            .map(|part| {
                end += units(&part);
                Run { end, part }
            })
            .collect();
        let last = end - 1;
        let enough = u64::try_from(runs.len() * 2).unwrap_or(u64::MAX);
        let shift = (0..u64::BITS - 1)
            .find(|shift| last >> shift < enough)
            .unwrap_or(u64::BITS - 1);
        let first = |stretch: u64| runs.partition_point(|run| run.end <= stretch << shift);
        let guide = (0..=last >> shift).map(|stretch| u32::try_from(first(stretch)).unwrap_or(0));
        Self {
            guide: guide.collect(),
            shift,
            runs,
        }
    }

    #[inline]
    fn run(&self, unit: u64) -> &Run {
        let stretch = usize::try_from(unit >> self.shift).unwrap_or(usize::MAX);
        let mut which = self.guide[stretch] as usize;
        while self.runs[which].end <= unit {
            which += 1;
        }
        &self.runs[which]
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self::Many(Guided::default())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use model::EndpointKey;
    use proptest::prelude::*;

    use super::*;
    use crate::host::Host;

    fn part(weights: &[u64]) -> Part {
        let key = EndpointKey(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        let entry = |weight: &u64| (HostRef::new(Host::new(key)), Arc::default(), *weight);
        Part::new(weights.iter().map(entry).collect())
    }

    proptest! {
        /// Every unit of weight falls on the slot that a plain walk over all of them finds.
        #[test]
        fn the_guide_finds_what_a_walk_finds(
            weights in prop::collection::vec(prop::collection::vec(1_u64..40, 0..6), 1..20),
            levels in prop::collection::vec(any::<bool>(), 20),
            all in any::<bool>(),
        ) {
            // Parts whose slots weigh the same, alone, beside others, or all.
            let level = |(part, is_level): (&Vec<u64>, &bool)| match all || *is_level {
                true => vec![7; part.len()],
                false => part.clone(),
            };
            let weights: Vec<_> = weights.iter().zip(&levels).map(level).collect();
            let group = Group::of(weights.iter().map(|weights| part(weights)));
            let mut start = 0;
            for (part, weights) in group.parts().zip(weights.iter().filter(|part| !part.is_empty())) {
                for (slot, weight) in part.slots.iter().zip(weights) {
                    let units = weight / group.unit();
                    for unit in start..start + units {
                        let drawn = group.at(unit);
                        prop_assert!(std::ptr::eq(drawn.slot, slot));
                        prop_assert_eq!((drawn.start, drawn.units), (start, units));
                    }
                    start += units;
                }
            }
            prop_assert_eq!((group.units(), group.weight()), (start, start * group.unit()));
            prop_assert!(!all || start == 0 || group.unit() == 7);
        }
    }
}
