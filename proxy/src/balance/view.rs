//! A balancer as people want to see it: tiers, their shares of the traffic, and what is known of each address. It must not
//! pick, and is never asked on the path of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use model::{Availability, Closeness, Origin};

use super::{Balancer, Class, Part, Pool, SCALE, Tier, Unused};
use crate::clock::Millis;
use crate::host::State;

/// A route's balancer.
#[derive(Clone, Debug)]
pub struct View {
    /// The tiers, the closest first.
    pub tiers: Vec<TierView>,
    /// Ejections are ignored, because nothing else is left.
    pub ignores_ejections: bool,
    /// Endpoints that are in no tier, and why.
    pub unused: Unused,
}

/// One tier.
#[derive(Clone, Debug)]
pub struct TierView {
    /// How close it is; smaller is closer.
    pub closeness: Closeness,
    /// Its share of the traffic, percent.
    pub share: u32,
    /// How many of its endpoints are ready.
    pub availability: Availability,
    /// Its addresses, in the order of the snapshot.
    pub addresses: Vec<AddressView>,
}

/// One address: an endpoint, or another network's gateway.
#[derive(Clone, Debug)]
pub struct AddressView {
    /// What is dialled.
    pub address: SocketAddr,
    /// Where that is.
    pub origin: Arc<Origin>,
    /// Whether it is another network's gateway.
    pub gateway: bool,
    /// What the API server says of it.
    pub ready: Readiness,
    /// What our own dials say of it.
    pub state: State,
    /// Its weight; of a gateway, its part of the weight of the endpoints behind it.
    pub weight: f64,
    /// Its share of the route's traffic now, percent, before loads are compared.
    pub share: f64,
    /// Open connections through this gateway, attempts included.
    pub open: u32,
}

/// What an API server says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Ready.
    Healthy,
    /// Ready, but only to be used when too few healthy ones are left.
    Degraded,
    /// Not ready, or ejected when this was compiled.
    Out,
}

impl Readiness {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Out => "out",
        }
    }
}

impl Balancer {
    /// Everything about it, as of `now`. Costs as much as the route has endpoints.
    #[must_use]
    pub fn view(&self, now: Millis) -> View {
        let tiers = self.tiers.iter().enumerate();
        View {
            tiers: tiers
                .map(|(at, tier)| self.tier_view(at, tier, now))
                .collect(),
            ignores_ejections: self.ignores_ejections,
            unused: self.unused,
        }
    }

    fn tier_view(&self, at: usize, tier: &Tier, now: Millis) -> TierView {
        let mut addresses = Vec::new();
        let mut share = 0;
        for (class, pool) in Class::ALL.into_iter().zip(&tier.pools) {
            let percent = self.percent_of(at, class);
            share += percent;
            pool.add_to(&mut addresses, class, f64::from(percent));
        }
        let warmup = self.policy.warmup.unwrap_or_default();
        for (address, host) in &mut addresses {
            let ramp = host.share_percent(now, warmup);
            if !self.ignores_ejections && ramp < 100 {
                address.share *= ramp as f64 / 100.0;
            }
        }
        TierView {
            closeness: tier.closeness,
            share,
            availability: tier.availability,
            addresses: addresses.into_iter().map(|(address, _)| address).collect(),
        }
    }

    /// The share of a tier's class, percent; the shares are kept as sums.
    fn percent_of(&self, tier: usize, class: Class) -> u32 {
        let mut before = 0;
        for share in &self.shares {
            if usize::from(share.tier) == tier && share.class == class {
                return share.upto - before;
            }
            before = share.upto;
        }
        0
    }
}

type Addresses<'a> = Vec<(AddressView, &'a Arc<crate::host::Host>)>;

impl Pool {
    fn add_to<'a>(&'a self, addresses: &mut Addresses<'a>, class: Class, percent: f64) {
        let total = self.upto.last().copied().unwrap_or(0);
        let mut before = 0;
        for (at, group) in self.groups.iter().enumerate() {
            let upto = self.upto.get(at).copied().unwrap_or(before);
            let of_pool = match self.groups.len() {
                1 => 1.0,
                _ => ratio(upto - before, total),
            };
            before = upto;
            for part in &group.parts {
                part.add_to(addresses, class, percent * of_pool, group.weight());
            }
        }
    }
}

impl Part {
    fn add_to<'a>(&'a self, addresses: &mut Addresses<'a>, class: Class, percent: f64, of: u64) {
        let mut before = 0;
        for slot in &self.slots {
            let weight = slot.upto - before;
            before = slot.upto;
            let view = AddressView {
                address: slot.host.address(),
                origin: slot.origin.clone(),
                gateway: slot.host.is_of_gateway(),
                ready: match class {
                    Class::Healthy => Readiness::Healthy,
                    Class::Degraded => Readiness::Degraded,
                    Class::Rest => Readiness::Out,
                },
                state: slot.host.state(),
                weight: ratio(weight, SCALE),
                share: percent * ratio(weight, of),
                open: slot.host.open(),
            };
            addresses.push((view, &slot.host));
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}
