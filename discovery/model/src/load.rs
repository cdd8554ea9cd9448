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

/// Shares over tiers, closest first.
#[must_use]
pub fn priority_loads(
    tiers: &[Availability],
    overprovisioning: u32,
    panic_threshold: u32,
) -> Loads {
    let _ = (tiers, overprovisioning, panic_threshold);
    Loads::default()
}

/// Shares over the weighted localities of one tier, in proportion to each other.
#[must_use]
pub fn locality_shares(localities: &[(u32, Availability)], overprovisioning: u32) -> Vec<u64> {
    let _ = (localities, overprovisioning);
    Vec::new()
}
