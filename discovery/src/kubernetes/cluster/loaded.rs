//! What a cluster's task has to know of what was read from disk; the facts themselves are with the hub. It must not read them
//! from there.

use std::collections::BTreeMap;

use crate::kubernetes::disk::{Disk, Kept};
use crate::kubernetes::facts::{Fact, Kind};
use crate::kubernetes::follow::{Counts, Memory, Name};
use crate::kubernetes::owners::SecretName;
use crate::kubernetes::session::weight_of;
use crate::kubernetes::status::{ClusterStatus, State};

/// A cluster as it was when the gateway that wrote this ended.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub(super) secret: Option<SecretName>,
    pub(super) server: String,
    pub(super) uid: Option<String>,
    pub(super) heard_at: i64,
    pub(super) counts: BTreeMap<Kind, Counts>,
    /// What the first lists are compared with.
    pub(super) before: BTreeMap<Kind, Memory>,
    /// Its file, for people.
    pub(super) file: String,
}

impl Loaded {
    /// What matters of a file.
    #[must_use]
    pub fn of(kept: &Kept, disk: &Option<Disk>) -> Self {
        let mut weights: BTreeMap<Kind, Vec<_>> = BTreeMap::new();
        for fact in &kept.facts {
            let of_kind = weights.entry(fact.kind()).or_default();
            of_kind.push((name(fact), weight_of(fact)));
        }
        let kinds = weights.into_iter();
        let before: BTreeMap<_, _> = kinds
            .map(|(kind, weights)| (kind, Memory::before(weights)))
            .collect();
        Self {
            secret: kept.secret.clone(),
            server: kept.server.clone(),
            uid: kept.uid.clone(),
            heard_at: kept.heard_at,
            counts: before
                .iter()
                .map(|(kind, memory)| (*kind, memory.counts()))
                .collect(),
            before,
            file: disk.as_ref().map_or_else(String::new, |disk| {
                disk.file_of(&kept.cluster).display().to_string()
            }),
        }
    }

    /// How it goes before its task says so.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        ClusterStatus {
            state: State::Loaded,
            secret: self.secret.clone(),
            server: self.server.clone(),
            heard_at: Some(self.heard_at),
            loaded: true,
            ..ClusterStatus::default()
        }
    }
}

fn name(fact: &Fact) -> Name {
    let key = fact.key();
    Name {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}
