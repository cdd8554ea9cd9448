//! How traffic is shared over tiers and over localities: Envoy's integer arithmetic.

/// What is there in one tier, counted in endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Availability {
    /// Ready and not ejected.
    pub healthy: u32,
    /// Usable when too few healthy ones are left.
    pub degraded: u32,
    /// All, but those that are shutting down.
    pub total: u32,
}

impl Availability {
    /// These and others.
    pub fn add(&mut self, other: Self) {
        self.healthy += other.healthy;
        self.degraded += other.degraded;
        self.total += other.total;
    }
}

/// Percent of the traffic for each tier; all of them sum to 100, or to 0 when nothing may be picked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Percent for the healthy endpoints of each tier.
    pub healthy: Vec<u32>,
    /// Percent for the degraded endpoints of each tier.
    pub degraded: Vec<u32>,
    /// Whether a tier is in panic: all its endpoints are picked from, healthy or not.
    pub panic: Vec<bool>,
}

/// Shares over tiers, closest first: Envoy's algorithm, with its integer floors (its documentation on priority levels and
/// on the panic threshold; `load_balancer_impl.cc`). `overprovisioning` is in percent (Envoy's default is 140): a tier
/// takes all of its traffic while `healthy / total` times this reaches 100. `panic_threshold` is in percent; 0 turns panic
/// off, and then nothing that is not usable is ever picked.
#[must_use]
pub fn priority_loads(
    tiers: &[Availability],
    overprovisioning: u32,
    panic_threshold: u32,
) -> Loads {
    let capacity = |count: u32, total: u32| match total {
        0 => 0,
        _ => (overprovisioning.saturating_mul(count) / total).min(100),
    };
    let healthy: Vec<u32> = tiers.iter().map(|t| capacity(t.healthy, t.total)).collect();
    let degraded: Vec<u32> = tiers
        .iter()
        .map(|t| capacity(t.degraded, t.total))
        .collect();
    let sum = healthy.iter().chain(&degraded).sum::<u32>().min(100);

    let in_panic = |tier: &Availability| {
        let usable = u64::from(tier.healthy) + u64::from(tier.degraded);
        let threshold = u64::from(panic_threshold) * u64::from(tier.total);
        sum < 100 && tier.total > 0 && usable * 100 < threshold
    };
    let panic: Vec<bool> = tiers.iter().map(in_panic).collect();
    let inhabited = tiers.iter().filter(|tier| tier.total > 0).count();
    if inhabited > 0 && panic.iter().filter(|panic| **panic).count() == inhabited {
        return all_in_panic(tiers, panic);
    }

    let mut loads = Loads {
        healthy: vec![0; tiers.len()],
        degraded: vec![0; tiers.len()],
        panic,
    };
    if sum == 0 {
        return loads;
    }
    let mut left = 100;
    for (load, capacity) in loads.healthy.iter_mut().zip(&healthy) {
        *load = left.min(capacity * 100 / sum);
        left -= *load;
    }
    for (load, capacity) in loads.degraded.iter_mut().zip(&degraded) {
        *load = left.min(capacity * 100 / sum);
        left -= *load;
    }
    if let Some(first) = healthy.iter().position(|capacity| *capacity > 0) {
        loads.healthy[first] += left;
    } else if let Some(first) = degraded.iter().position(|capacity| *capacity > 0) {
        loads.degraded[first] += left;
    }
    loads
}

/// Every tier in panic: by the number of endpoints, the remainder to the first tier that has any.
fn all_in_panic(tiers: &[Availability], panic: Vec<bool>) -> Loads {
    let hosts: u64 = tiers.iter().map(|tier| u64::from(tier.total)).sum();
    let share = |tier: &Availability| 100 * u64::from(tier.total) / hosts;
    let mut healthy: Vec<u32> = tiers
        .iter()
        .map(|tier| u32::try_from(share(tier)).unwrap_or(100))
        .collect();
    let left = 100 - healthy.iter().sum::<u32>();
    if let Some(first) = tiers.iter().position(|tier| tier.total > 0) {
        healthy[first] += left;
    }
    Loads {
        degraded: vec![0; tiers.len()],
        healthy,
        panic,
    }
}

/// One weighted locality of a tier, for one of its schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalityLoad {
    /// Its weight; one of 0 gets nothing.
    pub weight: u32,
    /// Its endpoints of the class that is drawn from: the healthy ones, or the degraded ones. Envoy keeps a schedule for
    /// each (`EdfLocalityScheduler`'s eligible hosts).
    pub eligible: u32,
    /// All its endpoints.
    pub total: u32,
}

/// Shares over the weighted localities of one tier, in proportion to each other: `weight * min(100, overprovisioning *
/// eligible / total)`, in thousandths of a percent.
#[must_use]
pub fn locality_shares(localities: &[LocalityLoad], overprovisioning: u32) -> Vec<u64> {
    let share = |locality: &LocalityLoad| {
        let eligible = u64::from(overprovisioning) * u64::from(locality.eligible) * 1_000;
        let capacity = match locality.total {
            0 => 0,
            total => (eligible / u64::from(total)).min(100_000),
        };
        u64::from(locality.weight) * capacity
    };
    localities.iter().map(share).collect()
}

#[cfg(test)]
mod tests;
