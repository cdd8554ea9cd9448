//! One route's endpoints, compiled for picking: tiers, shares over them, slots and their weights. It is immutable;
//! whatever changes by itself is in the hosts that the slots refer to.
//!
//! ```text
//! Balancer -> Tier (one closeness) -> Pool (healthy | degraded | rest) -> Group (one locality rule) -> Part -> Slot
//! ```
//!
//! A part comes from one chunk of the snapshot's list, so that one endpoint's change compiles one part anew and the
//! sums over the parts.

mod assemble;
mod choice;
mod draw;
mod group;
mod maglev;
mod part;
mod quick;
mod recent;
mod retry;
mod view;

use std::sync::Arc;
use std::time::Duration;

use model::{Availability, Closeness, Keepalive, OutlierDetection, Policy};

pub(crate) use self::assemble::{Assembly, Setting, assemble};
pub use self::choice::{Choice, Tried};
pub(crate) use self::draw::Draw;
use self::group::{Group, Part, Slot};
use self::maglev::Maglev;
pub(crate) use self::part::{ChunkParts, Compiler, Selection, is_forbidden};
pub use self::recent::Recent;
pub use self::view::{AddressView, Readiness, TierView, View};

/// Envoy's overprovisioning factor, percent: a tier takes all the traffic until less than 1/1.4 of it is ready.
pub const OVERPROVISIONING: u32 = 140;

/// Attempts in one tier while another usable tier is left (design section 5).
pub const ATTEMPTS_PER_TIER: usize = 3;

/// Attempts of one connection (design section 5).
pub const ATTEMPTS: usize = 8;

/// One route's endpoints, compiled.
#[derive(Debug, Default)]
pub struct Balancer {
    pub(crate) tiers: Box<[Tier]>,
    /// Percent of the traffic, cumulative up to 100; empty when nothing may be picked.
    pub(crate) shares: Box<[Share]>,
    pub(crate) policy: Arc<Policy>,
    /// Ejected hosts are in the pools and may be picked, because nothing else is left.
    pub(crate) ignores_ejections: bool,
    /// Endpoints that are not in any tier, and why.
    pub(crate) unused: Unused,
}

/// Endpoints that a view leaves out, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// Their address is one that is never dialled.
    pub forbidden: u32,
    /// No gateway leads to their network for their cluster.
    pub no_gateway: u32,
    /// They have no port of the route's port name.
    pub no_port: u32,
    /// They do not speak the mesh's mutual TLS.
    pub not_mesh: u32,
}

/// What part of the traffic goes where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Cumulative percent.
    pub(crate) upto: u32,
    pub(crate) tier: u8,
    pub(crate) class: Class,
}

/// Which of a tier's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Healthy = 0,
    Degraded = 1,
    /// Not ready, or ejected: picked only in panic.
    Rest = 2,
}

impl Class {
    /// Every class, in the order of a tier's pools.
    pub(crate) const ALL: [Self; 3] = [Self::Healthy, Self::Degraded, Self::Rest];
}

/// Endpoints of equal closeness.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) closeness: Closeness,
    pub(crate) availability: Availability,
    /// By [`Class`].
    pub(crate) pools: [Pool; 3],
    /// All its endpoints are picked from, healthy or not.
    pub(crate) panic: bool,
    /// The tier that takes over while this one, our own zone, is overloaded.
    pub(crate) spill: Option<u8>,
    /// Only for consistent hashing; over the healthy ones.
    pub(crate) maglev: Option<Box<Maglev>>,
}

/// Endpoints of one tier and class. Those that one locality rule treats alike are a group; without rules there is one, and
/// none where nobody is of the class.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) groups: Box<[Group]>,
}

impl Balancer {
    /// Limit of one connection attempt; `None`: the gateway's own.
    #[must_use]
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.policy.connect_timeout
    }

    /// Open connections that the service may have; `None`: no limit.
    #[must_use]
    pub fn max_connections(&self) -> Option<u32> {
        self.policy.max_connections
    }

    /// Keepalive towards its endpoints; `None`: the gateway's own.
    #[must_use]
    pub fn keepalive(&self) -> Option<Keepalive> {
        self.policy.keepalive
    }

    /// The numbers that eject.
    #[must_use]
    pub fn outlier(&self) -> OutlierDetection {
        self.policy.outlier_detection.unwrap_or_default()
    }

    /// Endpoints that are in no tier, and why.
    #[must_use]
    pub fn unused(&self) -> Unused {
        self.unused
    }

    /// Whether something may be picked that is not thought dead.
    pub(crate) fn has_usable(&self) -> bool {
        !self.shares.is_empty() && !self.ignores_ejections
    }

    /// Whether everything is sent to tiers that are closer than this.
    pub(crate) fn sends_all_closer_than(&self, closeness: Closeness) -> bool {
        let closer = |share: &Share| self.tiers[usize::from(share.tier)].closeness < closeness;
        !self.shares.is_empty() && self.shares.iter().all(closer)
    }

    /// How many tiers there are.
    #[must_use]
    pub fn tier_count(&self) -> usize {
        self.tiers.len()
    }
}

impl Unused {
    pub(crate) fn add(&mut self, other: Self) {
        self.forbidden += other.forbidden;
        self.no_gateway += other.no_gateway;
        self.no_port += other.no_port;
        self.not_mesh += other.not_mesh;
    }
}

impl Pool {
    pub(crate) fn weight(&self) -> u64 {
        self.groups.iter().map(Group::weight).sum()
    }
}

#[cfg(test)]
mod tests;
