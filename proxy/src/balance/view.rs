//! A balancer as people want to see it: tiers, their shares of the traffic, and what is known of each address. It must not
//! pick, and is never asked on the path of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use model::{Availability, Closeness, Origin, WEIGHT_SCALE};

use super::{Balancer, Class, Part, Pool, Tier, Unused};
use crate::clock::Millis;
use crate::host::{Host, State};

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
    /// What our own dials and probes say of it.
    pub state: State,
    /// It is out, and is tried when nothing else is left.
    pub last_resort: bool,
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
        let warmup = self.policy.warmup.unwrap_or_default();
        let accepted = |host: &Host| {
            if self.ignores_ejections || tier.panic {
                100
            } else {
                host.share_percent(now, warmup)
            }
        };
        let share = Class::ALL
            .map(|class| self.percent_of(at, class))
            .iter()
            .sum();
        let all: u64 = tier.pools.iter().map(Pool::weight).sum();
        let mut addresses = Vec::new();
        for (class, pool) in Class::ALL.into_iter().zip(&tier.pools) {
            let percent = match tier.panic {
                true => f64::from(share) * ratio(pool.weight(), all),
                false => f64::from(self.percent_of(at, class)),
            };
            pool.add_to(&mut addresses, class, percent, now, &accepted);
        }
        TierView {
            closeness: tier.closeness,
            share,
            availability: tier.availability,
            addresses,
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

impl Pool {
    /// Its addresses, with their part of `percent`; `accepted` says how many of a hundred draws of a host are taken.
    fn add_to(
        &self,
        addresses: &mut Vec<AddressView>,
        class: Class,
        percent: f64,
        now: Millis,
        accepted: &impl Fn(&Host) -> u64,
    ) {
        let total = self.groups.last().map_or(0, |group| group.upto);
        let mut before = 0;
        for group in &self.groups {
            let of_pool = match self.groups.len() {
                1 => 1.0,
                _ => ratio(group.upto - before, total),
            };
            before = group.upto;
            let slots = || group.parts().flat_map(Part::weighted);
            // Where all are on a ramp, what they do not take goes to other tiers.
            let all_ramp = group.ramps(now);
            let of: u64 = slots()
                .map(|(slot, weight)| weight * if all_ramp { 100 } else { accepted(&slot.host) })
                .sum();
            for (slot, weight) in slots() {
                addresses.push(AddressView {
                    address: slot.host.address(),
                    origin: slot.origin.clone(),
                    gateway: slot.host.is_of_gateway(),
                    ready: match class {
                        Class::Healthy => Readiness::Healthy,
                        Class::Degraded => Readiness::Degraded,
                        Class::Rest => Readiness::Out,
                    },
                    state: slot.host.state(),
                    last_resort: slot.host.is_last_resort(),
                    weight: ratio(weight, WEIGHT_SCALE),
                    // What a ramping address does not take is drawn again among all of its group.
                    share: percent * of_pool * ratio(weight * accepted(&slot.host), of),
                    open: slot.host.open(),
                });
            }
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}
