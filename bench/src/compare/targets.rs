//! What Causeway is to hold against its peers, as ratios of figures of the same run. It must not be loosened to fit a
//! measurement: where a target cannot be held, `bench/README.md` says why.

use super::workload::Workload;
use crate::peers::Peer;

/// Our figure is to be at most so many times theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) workload: Workload,
    /// Which of ours.
    pub(crate) ours: Peer,
    /// Whose; of several, those of the one that did best.
    pub(crate) against: &'static [Peer],
    pub(crate) at_most: f64,
}

/// HAProxy with the settings that serve a workload best.
const HAPROXY_AT_BEST: &[Peer] = &[Peer::Haproxy, Peer::HaproxySplice];

/// What a user of each has who sets nothing.
const DEFAULTS: &[Peer] = &[Peer::Causeway, Peer::Haproxy, Peer::Nginx, Peer::Envoy];

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    target(Workload::Connections, HAPROXY_AT_BEST, 0.95),
    target(Workload::Connections, &[Peer::Envoy], 0.55),
    target(Workload::RoundTrips, HAPROXY_AT_BEST, 0.92),
    target(Workload::RoundTrips, &[Peer::Envoy], 0.62),
    target(Workload::BulkDown, &[Peer::HaproxySplice], 1.05),
    target(Workload::BulkDown, &[Peer::Haproxy], 0.33),
    target(Workload::BulkDown, &[Peer::Envoy], 0.50),
    target(Workload::BulkUp, &[Peer::HaproxySplice], 1.05),
    target(Workload::BulkUp, &[Peer::Haproxy], 0.33),
    target(Workload::BulkUp, &[Peer::Envoy], 0.50),
    Target {
        ours: Peer::CausewayPolling,
        ..target(Workload::Lone, DEFAULTS, 0.50)
    },
    target(Workload::BesideBulk, &[Peer::HaproxySplice], 1.00),
];

const fn target(workload: Workload, against: &'static [Peer], at_most: f64) -> Target {
    Target {
        workload,
        ours: Peer::Causeway,
        against,
        at_most,
    }
}
