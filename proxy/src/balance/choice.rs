//! What a pick gives, and what a connection remembers of earlier ones. Neither decides anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Closeness, Origin};

use super::ATTEMPTS;
use crate::clock::Millis;
use crate::host::{Host, HostRef};
use crate::table::Route;

/// A host to dial.
#[derive(Debug)]
pub struct Choice {
    /// What to dial. This is an open connection of the host until it is dropped: see [`HostRef`].
    pub host: Arc<Host>,
    /// Where that is; of a gateway: its network, and its cluster if it serves just one.
    pub origin: Arc<Origin>,
    /// The tier it stands in, 0 is the closest.
    pub tier: u8,
    /// How close that tier was.
    pub closeness: Closeness,
    /// Whether it is another network's gateway rather than an endpoint.
    pub gateway: bool,
}

/// The hosts that one connection has tried; empty at first, and it never allocates.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Fingerprints of their addresses: small, and no host has to be kept for it.
    hosts: [u32; ATTEMPTS],
    tiers: [u8; ATTEMPTS],
    len: u8,
}

impl Choice {
    /// Counts the connection in.
    pub(crate) fn take(
        host: &HostRef,
        origin: &Arc<Origin>,
        tier: u8,
        closeness: Closeness,
    ) -> Self {
        Self {
            gateway: host.is_of_gateway(),
            host: host.opened(),
            origin: Arc::clone(origin),
            tier,
            closeness,
        }
    }

    /// The dial failed; the policy of the route that it was picked for decides whether that ejects the host.
    pub fn dial_failed(&self, route: &Arc<Route>, now: Millis) {
        route.blame(&self.host, now);
    }

    /// The connect has taken so long.
    pub fn connected(&self, took: Duration) {
        self.host.connected(took);
    }

    /// The dial succeeded.
    pub fn succeeded(&self, now: Millis) {
        self.host.succeeded(now);
    }

    /// Where to dial.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// Its usual connect time, smoothed; zero if it is not known.
    #[must_use]
    pub fn usual_connect(&self) -> Duration {
        self.host.usual_connect()
    }
}

impl Tried {
    /// Remembers a choice. More than [`ATTEMPTS`] are not made, so more are not kept.
    pub fn add(&mut self, choice: &Choice) {
        let at = usize::from(self.len);
        if at < ATTEMPTS {
            self.hosts[at] = choice.host.fingerprint();
            self.tiers[at] = choice.tier;
            self.len += 1;
        }
    }

    /// How many were tried.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether none was tried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, host: &Host) -> bool {
        self.hosts[..self.len()].contains(&host.fingerprint())
    }

    /// The tier of the latest attempt.
    pub(crate) fn last_tier(&self) -> Option<u8> {
        self.tiers[..self.len()].last().copied()
    }

    pub(crate) fn in_tier(&self, tier: usize) -> usize {
        self.tiers[..self.len()]
            .iter()
            .filter(|tried| usize::from(**tried) == tier)
            .count()
    }
}
