//! Which Secret says how which cluster is reached. Sans-IO: Secrets in, changes out. It must not look into a kubeconfig.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use model::ClusterId;

/// A Secret's namespace and name.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// One kubeconfig as it stands in a Secret; it does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(pub Arc<[u8]>);

/// A Secret with the label `istio/multiCluster: "true"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSecret {
    /// Which one it is.
    pub name: SecretName,
    /// When it was made, in seconds since 1970; of two that give the same cluster at once the older one counts.
    pub created: i64,
    /// A kubeconfig for each cluster.
    pub clusters: BTreeMap<ClusterId, Raw>,
}

/// What follows from a change of the Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This cluster is reached so from now on.
    Configure {
        /// The cluster.
        id: ClusterId,
        /// The Secret that says so.
        owner: SecretName,
        /// The kubeconfig.
        raw: Raw,
    },
    /// No Secret names this cluster any more.
    Remove {
        /// The cluster.
        id: ClusterId,
    },
}

/// A cluster that a Secret names while another Secret, which came first, says how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shadowed {
    /// The cluster.
    pub id: ClusterId,
    /// The Secret that is not used for it.
    pub secret: SecretName,
    /// The Secret that is.
    pub owner: SecretName,
}

/// Every remote Secret, and which of them owns which cluster.
#[derive(Debug)]
pub struct Owners {
    own: ClusterId,
    secrets: BTreeMap<SecretName, RemoteSecret>,
    owners: BTreeMap<ClusterId, SecretName>,
    /// Namespaces that have been listed.
    listed: BTreeSet<Arc<str>>,
}

impl Owners {
    /// No Secrets yet. Keys that are the own cluster's id are ignored, as Istio does: each cluster can have the same set.
    #[must_use]
    pub fn new(own: ClusterId) -> Self {
        Self {
            own,
            secrets: BTreeMap::new(),
            owners: BTreeMap::new(),
            listed: BTreeSet::new(),
        }
    }

    /// A Secret is new or changed.
    pub fn apply(&mut self, mut secret: RemoteSecret) -> Vec<Action> {
        secret.clusters.remove(&self.own);
        let name = secret.name.clone();
        let before = self.secrets.insert(name.clone(), secret);
        let ids = differing(before.as_ref(), self.secrets.get(&name));
        self.settle(&ids, &BTreeSet::from([name]), Rule::FirstStays)
    }

    /// A Secret is gone, or has lost its label.
    pub fn remove(&mut self, name: &SecretName) -> Vec<Action> {
        let ids = differing(self.secrets.remove(name).as_ref(), None);
        self.settle(&ids, &BTreeSet::new(), Rule::FirstStays)
    }

    /// All Secrets of a namespace, after a list. Its first one tells of Secrets that were there before us: whichever namespace
    /// answers first, the same owners come out after every start.
    pub fn replace(&mut self, namespace: &str, secrets: Vec<RemoteSecret>) -> Vec<Action> {
        let mut ids = BTreeSet::new();
        let mut changed = BTreeSet::new();
        let of_namespace = |name: &SecretName| &*name.namespace == namespace;
        let mut gone: BTreeMap<_, _> = self
            .secrets
            .extract_if(.., |name, _| of_namespace(name))
            .collect();
        for mut secret in secrets {
            secret.clusters.remove(&self.own);
            let before = gone.remove(&secret.name);
            ids.append(&mut differing(before.as_ref(), Some(&secret)));
            changed.insert(secret.name.clone());
            self.secrets.insert(secret.name.clone(), secret);
        }
        for secret in gone.values() {
            ids.append(&mut differing(Some(secret), None));
        }
        let rule = if self.listed.insert(namespace.into()) {
            Rule::OldestOwns
        } else {
            Rule::FirstStays
        };
        self.settle(&ids, &changed, rule)
    }

    /// Clusters that several Secrets name, and which of these are not used.
    #[must_use]
    pub fn shadowed(&self) -> Vec<Shadowed> {
        let named = self.secrets.values().flat_map(|secret| {
            let ids = secret.clusters.keys();
            ids.map(move |id| (id, &secret.name))
        });
        named
            .filter_map(|(id, secret)| {
                let owner = self.owners.get(id).filter(|owner| *owner != secret)?;
                Some(Shadowed {
                    id: id.clone(),
                    secret: secret.clone(),
                    owner: owner.clone(),
                })
            })
            .collect()
    }

    /// Finds the owners of these clusters anew; removals come first, as a new cluster may need the room.
    fn settle(
        &mut self,
        ids: &BTreeSet<ClusterId>,
        changed: &BTreeSet<SecretName>,
        rule: Rule,
    ) -> Vec<Action> {
        let mut removals = Vec::new();
        let mut others = Vec::new();
        for id in ids {
            let before = self.owners.get(id);
            let still = before.and_then(|name| self.secrets.get(name));
            let still =
                still.filter(|secret| rule == Rule::FirstStays && secret.clusters.contains_key(id));
            let oldest = || {
                let naming = self.secrets.values();
                naming
                    .filter(|secret| secret.clusters.contains_key(id))
                    .min_by_key(|secret| (secret.created, &secret.name))
            };
            let Some(owner) = still.or_else(oldest) else {
                if self.owners.remove(id).is_some() {
                    removals.push(Action::Remove { id: id.clone() });
                }
                continue;
            };
            let same = before == Some(&owner.name);
            if same && !changed.contains(&owner.name) {
                continue;
            }
            if let Some(raw) = owner.clusters.get(id) {
                others.push(Action::Configure {
                    id: id.clone(),
                    owner: owner.name.clone(),
                    raw: raw.clone(),
                });
            }
            let name = owner.name.clone();
            self.owners.insert(id.clone(), name);
        }
        removals.append(&mut others);
        removals
    }
}

/// Which of several Secrets owns a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The one that does already; if none does, the oldest.
    FirstStays,
    /// The oldest.
    OldestOwns,
}

/// The clusters that one version of a Secret names otherwise than the next.
fn differing(before: Option<&RemoteSecret>, after: Option<&RemoteSecret>) -> BTreeSet<ClusterId> {
    let of = |secret: Option<&RemoteSecret>, id: &ClusterId| {
        secret.and_then(|secret| secret.clusters.get(id)).cloned()
    };
    let both = before.into_iter().chain(after);
    let ids = both.flat_map(|secret| secret.clusters.keys());
    ids.filter(|id| of(before, id) != of(after, id))
        .cloned()
        .collect()
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes, hidden)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
