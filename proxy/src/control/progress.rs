//! What the control task tells others: counts, and what it thinks of the gateways of other networks. It must not decide
//! anything, and nobody waits for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use model::NetworkId;
use parking_lot::Mutex;

use super::{NetworkHealth, ProbeState};
use crate::clock::Millis;
use crate::probe::Outcome;

/// What the control task has done so far; for metrics and answers.
#[derive(Debug, Default)]
pub struct Progress {
    /// Version of the snapshot in force.
    pub snapshot: AtomicU64,
    /// Ejections so far.
    pub ejections: AtomicU64,
    /// Addresses ejected now.
    pub ejected: AtomicU64,
    /// Probes so far, by what they found; in the order of [`Outcome::ALL`].
    pub probes: [AtomicU64; Outcome::ALL.len()],
    /// What is thought of every address that is probed.
    pub gateways: Mutex<BTreeMap<SocketAddr, GatewayHealth>>,
    /// What is thought of every other network that is entered through gateways.
    pub networks: Mutex<BTreeMap<NetworkId, NetworkHealth>>,
}

/// What probes have found at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayHealth {
    /// The networks that are entered there.
    pub networks: Vec<NetworkId>,
    /// What is thought of it.
    pub state: ProbeState,
    /// Since when.
    pub since: Millis,
    /// The latest answer, and when it came.
    pub last: Option<(Outcome, Millis)>,
}
