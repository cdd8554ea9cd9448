//! How discovery goes, for people and metrics: plain values, without a credential in them. Times are seconds since 1970.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use model::ClusterId;
use serde::Serialize;

use super::disk::Ignored;
use super::meaning::Finding;
use super::owners::{SecretName, Shadowed};
use super::whoami::WhoAmI;

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether what is known is enough to serve: our own cluster has synced or was read from disk, and each remote one too,
    /// or it had 30 s.
    pub ready: bool,
    /// Who is waited for until then.
    pub waiting_for: Vec<String>,
    /// Why it is not sure who we are, where that was read from disk.
    pub me_unsure: Option<String>,
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
    /// What is kept on disk; `None`: nothing is.
    pub disk: Option<DiskStatus>,
}

/// How keeping what is known goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskStatus {
    /// The folder.
    pub folder: String,
    /// When a file was written last.
    pub written_at: Option<i64>,
    /// Why the last one could not be, until one can again.
    pub last_error: Option<String>,
    /// Files that were not used at the start.
    pub ignored: Vec<Ignored>,
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
    /// When the kind that has been silent for longest was heard of last; how old what is known may be. The age of what was
    /// read from disk counts from when that was heard.
    pub heard_at: Option<i64>,
    /// Whether what is known was read from disk, as its API has not been read yet.
    pub loaded: bool,
    /// The UID of its namespace `kube-system`, once it is known.
    pub uid: Option<String>,
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
    /// What is known was read from disk: its API has not been read yet.
    Loaded,
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
    pub const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Loaded,
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
            Self::Loaded => "loaded",
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
