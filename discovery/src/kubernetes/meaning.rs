//! Facts of all clusters in, one `Snapshot` out: every rule of discovery stands here. No IO, no clock.
//!
//! ```text
//!  Change --apply--> World (facts by cluster; what was touched) --publish--> Arc<Snapshot>
//! ```
//!
//! Only what was touched since the last publication is derived again; the rest is shared with the snapshot before.

mod cluster;
mod endpoints;
mod entries;
mod export;
mod exposure;
mod families;
mod filter;
mod findings;
mod hosts;
mod networks;
mod passthrough;
mod patch;
mod policy;
mod pool;
mod ports;
mod publish;
mod selection;
mod service;
mod tally;
mod touched;
mod traits;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{ClusterId, Labels, Locality, NetworkId};

pub use self::findings::{Finding, FindingKind};
pub use self::world::World;

/// Who this gateway is, as far as meaning depends on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Me {
    /// Our cluster.
    pub cluster: ClusterId,
    /// Our network.
    pub network: NetworkId,
    /// Our Pod's labels: Gateways and DestinationRules select by them.
    pub labels: Labels,
    /// Our namespace: `exportTo` looks at it.
    pub namespace: Arc<str>,
    /// The Node we run on; empty: not known. Only Services with `internalTrafficPolicy: Local` look at it.
    pub node: Arc<str>,
}

/// The settings that meaning depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// `discovery.mtls`.
    pub mtls: Mtls,
    /// `discovery.sameNetwork`: clusters that may claim addresses in our network, and gateways of networks not their own.
    pub same_network: BTreeSet<ClusterId>,
    /// `discovery.assumeFlat`: remote clusters without a network are in ours, as Istio has it.
    pub assume_flat: bool,
    /// `discovery.clusters`.
    pub clusters: BTreeMap<ClusterId, ClusterRule>,
    /// Istio's namespace: its label names a cluster's network, and its DestinationRules hold for all (the root namespace).
    pub system_namespace: Arc<str>,
    /// The clusters' DNS domain.
    pub domain: Arc<str>,
}

/// Which endpoints of our own network speak the mesh's mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mtls {
    /// Those whose Pod bears `security.istio.io/tlsMode: istio`, which the sidecar's injection sets.
    #[default]
    Label,
    /// All.
    All,
}

/// What configuration says of one cluster; each holds only where the cluster itself says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterRule {
    /// Of endpoints that neither Pod nor Node gives a locality.
    pub locality: Locality,
    /// Of endpoints that neither Pod nor system namespace gives a network.
    pub network: NetworkId,
}

/// What is to be read of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Pods, as metadata. Of clusters of other networks they matter only where a subset selects by their labels.
    pub pods: bool,
    /// Nodes in full, not as metadata alone: a NodePort gateway is declared.
    pub whole_nodes: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            mtls: Mtls::Label,
            same_network: BTreeSet::new(),
            assume_flat: false,
            clusters: BTreeMap::new(),
            system_namespace: "istio-system".into(),
            domain: "cluster.local".into(),
        }
    }
}

#[cfg(test)]
mod tests;
