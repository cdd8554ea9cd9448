//! What a hub begins with: who we are, and what is known of clusters from the disk. Of the latter it decides what is used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::ClusterId;

use crate::kubernetes::disk::{Disk, Ignored, Kept, KeptNames};
use crate::kubernetes::facts::{Change, Fact, Kind};
use crate::kubernetes::identity::Identity;
use crate::kubernetes::owners::SecretName;

/// What was found on disk.
#[derive(Debug, Default)]
pub(in crate::kubernetes) struct FromDisk {
    /// Where.
    pub(in crate::kubernetes) disk: Option<Disk>,
    /// What was known of clusters.
    pub(in crate::kubernetes) clusters: Vec<Kept>,
    /// The last addresses of gateways' names.
    pub(in crate::kubernetes) names: KeptNames,
    /// What is not used.
    pub(in crate::kubernetes) ignored: Vec<Ignored>,
}

impl FromDisk {
    /// Leaves out what the present configuration knows nothing of.
    pub(super) fn choose(&mut self, own: &ClusterId, namespaces: &[Arc<str>]) {
        let Some(disk) = &self.disk else {
            return;
        };
        self.clusters.retain(|kept| {
            let why = match &kept.secret {
                _ if kept.own && kept.cluster != *own => {
                    format!("it is of another cluster than ours, {own}")
                }
                _ if !kept.own && kept.cluster == *own => "it is of a remote cluster".into(),
                Some(secret) if !kept.own && !namespaces.contains(&secret.namespace) => format!(
                    "its Secret is in namespace {}, which is not looked at (discovery.secretNamespaces)",
                    secret.namespace
                ),
                None if !kept.own => "it does not say which Secret it came by".into(),
                _ => return true,
            };
            let file = disk.file_of(&kept.cluster).display().to_string();
            self.ignored.push(Ignored { file, why });
            false
        });
        for Ignored { file, why } in &self.ignored {
            tracing::warn!(file, why, "what was kept on disk is not used");
        }
    }

    /// Which cluster ours was, if it was reached at this address.
    pub(super) fn own_identity(&self, server: &str) -> Identity {
        let mut own = self.clusters.iter().filter(|kept| kept.own);
        let known = own.find(|kept| kept.server == server);
        Identity::of(known.and_then(|kept| kept.uid.clone()))
    }

    /// The Secrets that there were.
    pub(super) fn secrets(&self) -> BTreeSet<SecretName> {
        let secrets = self.clusters.iter();
        secrets.filter_map(|kept| kept.secret.clone()).collect()
    }
}

/// Facts as changes: all that there was of each kind.
pub(super) fn changes(facts: Vec<Fact>) -> Vec<Change> {
    let mut kinds: BTreeMap<Kind, Vec<_>> = BTreeMap::new();
    for fact in facts {
        kinds.entry(fact.kind()).or_default().push(Ok(fact));
    }
    kinds
        .into_iter()
        .map(|(kind, facts)| Change::Reset(kind, facts))
        .collect()
}
