//! How a cluster goes, from what its task knows. It must change nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::link::{Candidate, Link, endpoints};
use super::run::Task;
use crate::kubernetes::facts::Kind;
use crate::kubernetes::status::{ClusterStatus, State, now};

/// Silence after which what is known counts as stale: longer than a watch lasts and a dead link takes to be noticed.
const STALE: Duration = Duration::from_secs(30);

impl Task {
    pub(super) fn status(&self) -> ClusterStatus {
        let candidate = self.candidate.as_ref().map(|candidate| &candidate.link);
        let shown = self.force.as_ref().or(candidate);
        let none = BTreeMap::new();
        let counts = match &self.loaded {
            Some(loaded) => &loaded.counts,
            None => shown.map_or(&none, |link| &link.counts),
        };
        let access = shown.and_then(|link| link.access.as_ref());
        let heard = self.force.as_ref().and_then(silent_longest);
        let heard = heard.map(|silence| now() - i64::try_from(silence.as_secs()).unwrap_or(0));
        let of_loaded = self.loaded.as_ref().map(|loaded| loaded.heard_at);
        let objects = counts.iter();
        let error = self.faults.values().max_by_key(|error| error.at);
        ClusterStatus {
            state: self.state(),
            own: self.own,
            secret: self.secret.clone(),
            server: access.map_or_else(|| self.server.clone(), |access| access.server.clone()),
            generation: self.generation,
            synced_at: self.synced_at,
            heard_at: heard.or(of_loaded),
            objects: objects
                .map(|(kind, counts)| (kind.as_str(), counts.objects))
                .collect(),
            endpoints: endpoints(counts),
            loaded: self.loaded.is_some(),
            uid: self.identity.uid(),
            credential_ends_at: self
                .own_ends_at
                .or_else(|| access.and_then(|access| access.expiry())),
            last_error: self.frozen.clone().or_else(|| error.cloned()),
            pending: self.pending.clone(),
        }
    }

    fn state(&self) -> State {
        if self.frozen.is_some() || self.doubted() {
            return State::Frozen;
        }
        let Some(force) = &self.force else {
            return match &self.candidate {
                _ if self.loaded.is_some() => State::Loaded,
                Some(candidate) if has_any(candidate) => State::Syncing,
                None if self.pending.is_some() => State::Refused,
                _ => State::Connecting,
            };
        };
        if silent_longest(force).is_some_and(|silence| silence > STALE) {
            State::Stale
        } else if force
            .session
            .kinds()
            .all(|kind| force.heard.contains_key(&kind) || self.goes_without(kind))
        {
            State::Synced
        } else {
            State::Syncing
        }
    }

    /// A kind that the credential may not read does not keep a cluster from being in sync; the error says so.
    fn goes_without(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Node | Kind::Pod) && self.faults.contains_key(kind.as_str())
    }
}

/// How long the kind that has been silent for longest has been.
fn silent_longest(link: &Link) -> Option<Duration> {
    link.heard.values().min().map(|heard| heard.elapsed())
}

fn has_any(candidate: &Candidate) -> bool {
    !candidate.link.counts.is_empty()
}
