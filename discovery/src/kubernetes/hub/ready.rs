//! Whether enough is known to serve, and who is waited for until then. Once it is, it stays so: what is known is kept whatever
//! happens to the API servers.

use std::collections::BTreeMap;
use std::time::Duration;

use model::ClusterId;
use tokio::time::Instant;

use crate::kubernetes::status::{State, Status};

/// How long a remote cluster, and the Secrets of a namespace, are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the first addresses of gateways that are given by name are waited for.
const NAMES: Duration = Duration::from_secs(5);

/// Who is waited for, since when.
#[derive(Debug)]
pub(super) struct Ready {
    began: Instant,
    since: BTreeMap<ClusterId, Instant>,
    was: bool,
}

/// What is not done yet of what is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Undone {
    /// Whether something is not published.
    pub(super) unpublished: bool,
    /// Whether a gateway's name has no address.
    pub(super) unresolved: bool,
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

    /// Who is waited for; nobody any more once it was nobody. Our own cluster must have been read, from its API or from disk;
    /// each remote one too, or be refused, or have had 30 s. So must the Secrets of each namespace, unless our own cluster was
    /// read from disk, for then those that they named were too.
    pub(super) fn look(
        &mut self,
        own: &ClusterId,
        status: &Status,
        undone: Undone,
        now: Instant,
    ) -> Vec<String> {
        if self.was {
            return Vec::new();
        }
        let mut waiting = Vec::new();
        let known = |id: &ClusterId| {
            let cluster = status.clusters.get(id);
            cluster.is_some_and(|cluster| cluster.synced_at.is_some() || cluster.loaded)
        };
        if !known(own) {
            waiting.push(format!("our own cluster {own}"));
        }
        let loaded = status.clusters.get(own).is_some_and(|own| own.loaded);
        for (namespace, secrets) in &status.secrets {
            let failed = secrets.last_error.is_some() || now - self.began >= PATIENCE;
            if !(secrets.read || failed || loaded) {
                waiting.push(format!("remote Secrets of namespace {namespace}"));
            }
        }
        for (id, since) in self.since.iter().filter(|(id, _)| *id != own) {
            let cluster = status.clusters.get(id);
            let refused = cluster.is_some_and(|cluster| cluster.state == State::Refused);
            if !(known(id) || refused || now - *since >= PATIENCE) {
                waiting.push(format!("cluster {id}"));
            }
        }
        if undone.unpublished {
            waiting.push("the snapshot of what is known".into());
        }
        if undone.unresolved && now - self.began < NAMES {
            waiting.push("addresses of gateways' names".into());
        }
        self.was = waiting.is_empty();
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::status::{ClusterStatus, SecretsStatus};

    struct Rig {
        ready: Ready,
        status: Status,
        begin: Instant,
    }

    impl Rig {
        /// Waits for our own cluster, and for Secrets in a namespace.
        fn new() -> Self {
            let begin = Instant::now();
            let mut ready = Ready::new(begin);
            ready.expect(&"ap".into(), begin);
            let mut status = Status::default();
            let secrets = SecretsStatus::default();
            status.secrets.insert("istio-system".into(), secrets);
            Self {
                ready,
                status,
                begin,
            }
        }

        fn waiting(&mut self, seconds: u64, undone: Undone) -> Vec<String> {
            let now = self.begin + Duration::from_secs(seconds);
            self.ready.look(&"ap".into(), &self.status, undone, now)
        }

        fn at(&mut self, seconds: u64) -> Vec<String> {
            self.waiting(seconds, Undone::default())
        }

        fn set(&mut self, cluster: &str, change: impl Fn(&mut ClusterStatus)) {
            change(self.status.clusters.entry(cluster.into()).or_default());
        }

        fn read_secrets(&mut self) {
            for secrets in self.status.secrets.values_mut() {
                secrets.read = true;
            }
        }
    }

    #[test]
    fn it_waits_for_its_own_cluster_and_a_while_for_the_others() {
        let mut rig = Rig::new();
        assert_eq!(rig.at(60), ["our own cluster ap"], "for ever");
        rig.set("ap", |own| own.synced_at = Some(1));
        assert_eq!(rig.at(29), ["remote Secrets of namespace istio-system"]);
        rig.read_secrets();
        let five = rig.begin + Duration::from_secs(5);
        rig.ready.expect(&"eu".into(), five);
        rig.ready.expect(&"us".into(), five);
        rig.set("us", |us| us.synced_at = Some(1));
        assert_eq!(rig.at(34), ["cluster eu"]);
        assert!(rig.at(35).is_empty(), "it had 30 s");
        rig.status.clusters.clear();
        assert!(rig.at(36).is_empty(), "once ready, always");
    }

    #[test]
    fn a_remote_cluster_that_is_refused_or_loaded_is_not_waited_for() {
        for loaded in [false, true] {
            let mut rig = Rig::new();
            rig.read_secrets();
            rig.set("ap", |own| own.synced_at = Some(1));
            rig.ready.expect(&"eu".into(), rig.begin);
            assert_eq!(rig.at(1), ["cluster eu"]);
            rig.set("eu", |eu| {
                eu.loaded = loaded;
                if !loaded {
                    eu.state = State::Refused;
                }
            });
            assert!(rig.at(1).is_empty(), "loaded: {loaded}");
        }
    }

    #[test]
    fn what_was_read_from_disk_needs_no_api_server() {
        let mut rig = Rig::new();
        rig.set("ap", |own| own.loaded = true);
        let unpublished = Undone {
            unpublished: true,
            unresolved: true,
        };
        let all = [
            "the snapshot of what is known",
            "addresses of gateways' names",
        ];
        assert_eq!(rig.waiting(0, unpublished), all);
        let unresolved = Undone {
            unpublished: false,
            unresolved: true,
        };
        assert_eq!(rig.waiting(4, unresolved), all[1..]);
        assert!(rig.waiting(5, unresolved).is_empty(), "they had 5 s");
    }
}
