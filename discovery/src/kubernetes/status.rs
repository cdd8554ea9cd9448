//! How discovery goes, for people and metrics: plain values, without a credential in them. Times are seconds since 1970.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use model::ClusterId;
use serde::Serialize;

use super::meaning::Finding;
use super::owners::{SecretName, Shadowed};
use super::whoami::WhoAmI;

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether what is known is enough to serve: our own cluster has synced, and each remote one has, or had 30 s.
    pub ready: bool,
    /// What the gateway takes itself for.
    pub me: WhoAmI,
    /// Every cluster, by id.
    pub clusters: BTreeMap<ClusterId, ClusterStatus>,
    /// Every namespace whose Secrets are read.
    pub secrets: BTreeMap<String, SecretsStatus>,
    /// Clusters that several Secrets name.
    pub shadowed: Vec<Shadowed>,
    /// What makes endpoints or networks unusable.
    pub findings: Vec<Finding>,
}

/// How one cluster goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// What can be said in a word.
    pub state: State,
    /// Whether it is our own.
    pub own: bool,
    /// The Secret that says how it is reached.
    pub secret: Option<SecretName>,
    /// Where its API is.
    pub server: String,
    /// How often the way to it has changed.
    pub generation: u64,
    /// When all kinds had been read for the first time.
    pub synced_at: Option<i64>,
    /// When the kind that has been silent for longest was heard of last; how old what is known may be.
    pub heard_at: Option<i64>,
    /// Objects, by kind.
    pub objects: BTreeMap<&'static str, usize>,
    /// Endpoints in all slices.
    pub endpoints: usize,
    /// When the credential ends, as it says itself.
    pub credential_ends_at: Option<i64>,
    /// What went wrong last, until it goes right again.
    pub last_error: Option<ErrorStatus>,
    /// Why a newer kubeconfig is not in force (yet).
    pub pending: Option<String>,
}

/// The state of a cluster in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing has come from its API yet.
    #[default]
    Connecting,
    /// Some kinds have been read.
    Syncing,
    /// All are read and followed.
    Synced,
    /// What is known is kept, but its API is silent or refuses.
    Stale,
    /// What is known is kept, and what its API says is not believed: too much of it, or another cluster.
    Frozen,
    /// Its kubeconfig is not used, and there was none before.
    Refused,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorStatus {
    /// What, to what, and why.
    pub message: String,
    /// When it began.
    pub at: i64,
}

/// How reading the Secrets of a namespace goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretsStatus {
    /// Whether they have been read.
    pub read: bool,
    /// How many there are with the label `istio/multiCluster: "true"`.
    pub count: usize,
    /// What went wrong, until it goes right again.
    pub last_error: Option<String>,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Connecting,
        Self::Syncing,
        Self::Synced,
        Self::Stale,
        Self::Frozen,
        Self::Refused,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Syncing => "syncing",
            Self::Synced => "synced",
            Self::Stale => "stale",
            Self::Frozen => "frozen",
            Self::Refused => "refused",
        }
    }
}

/// Now, in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
