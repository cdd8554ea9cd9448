//! Whether enough is known to serve. Once it is, it stays so: what is known is kept whatever happens to the API servers.

use std::collections::BTreeMap;
use std::time::Duration;

use model::ClusterId;
use tokio::time::Instant;

use crate::kubernetes::status::{State, Status};

/// How long a remote cluster, and the Secrets of a namespace, are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is waited for, since when.
#[derive(Debug)]
pub(super) struct Ready {
    began: Instant,
    since: BTreeMap<ClusterId, Instant>,
    was: bool,
}

impl Ready {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            since: BTreeMap::new(),
            was: false,
        }
    }

    /// A cluster has become known.
    pub(super) fn expect(&mut self, cluster: &ClusterId, now: Instant) {
        self.since.insert(cluster.clone(), now);
    }

    /// A cluster is known no more.
    pub(super) fn forget(&mut self, cluster: &ClusterId) {
        self.since.remove(cluster);
    }

    /// Our own cluster must have synced; the Secrets of each namespace, and each remote cluster, must have been read, have
    /// failed for good, or have had 30 s.
    pub(super) fn look(&mut self, own: &ClusterId, status: &Status, now: Instant) -> bool {
        if self.was {
            return true;
        }
        let synced = |id: &ClusterId| {
            let cluster = status.clusters.get(id);
            cluster.is_some_and(|cluster| cluster.synced_at.is_some())
        };
        let refused = |id: &ClusterId| {
            let cluster = status.clusters.get(id);
            cluster.is_some_and(|cluster| cluster.state == State::Refused)
        };
        let mut remotes = self.since.iter().filter(|(id, _)| *id != own);
        let mut secrets = status.secrets.values();
        self.was = synced(own)
            && secrets.all(|secrets| {
                secrets.read || secrets.last_error.is_some() || now - self.began >= PATIENCE
            })
            && remotes.all(|(id, since)| synced(id) || refused(id) || now - *since >= PATIENCE);
        self.was
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::status::{ClusterStatus, SecretsStatus};

    #[test]
    fn it_waits_for_its_own_cluster_and_a_while_for_the_others() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let own = ClusterId::from("ap");
        let mut ready = Ready::new(begin);
        let mut status = Status::default();
        status
            .secrets
            .insert("istio-system".into(), SecretsStatus::default());
        ready.expect(&own, begin);
        assert!(!ready.look(&own, &status, at(60)), "the own cluster");

        let synced = ClusterStatus {
            synced_at: Some(1),
            ..ClusterStatus::default()
        };
        status.clusters.insert(own.clone(), synced.clone());
        assert!(!ready.look(&own, &status, at(29)), "the Secrets");
        status
            .secrets
            .entry("istio-system".into())
            .or_default()
            .read = true;
        ready.expect(&"eu".into(), at(5));
        ready.expect(&"us".into(), at(5));
        status.clusters.insert("us".into(), synced);
        assert!(!ready.look(&own, &status, at(34)), "a remote cluster");
        let mut other = Ready {
            began: begin,
            since: ready.since.clone(),
            was: false,
        };
        assert!(ready.look(&own, &status, at(35)), "it had 30 s");
        let refused = ClusterStatus {
            state: State::Refused,
            ..ClusterStatus::default()
        };
        status.clusters.insert("eu".into(), refused);
        assert!(other.look(&own, &status, at(6)), "it will not come");
        status.clusters.clear();
        assert!(other.look(&own, &status, at(7)), "once ready, always");
    }
}
