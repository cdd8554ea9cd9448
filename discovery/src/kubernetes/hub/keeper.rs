//! When what is known goes to disk: the clusters that have changed, one at a time and never for long, off the hub's task. It
//! must not know what a fact is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ClusterId;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kubernetes::disk::{Disk, DiskError, Ignored, Kept, KeptNames};
use crate::kubernetes::status::{DiskStatus, now};

/// Between two files of one cluster: what is lost by a gateway that is killed is no older.
const PAUSE: Duration = Duration::from_secs(5);

/// After this a cluster that has not changed is written too, or its age would say nothing after a kill.
const CONFIRM: Duration = Duration::from_secs(600);

/// After a file, so many times as long as it took nothing is written: at most a tenth of one core and of the disk's time.
const REST: u32 = 9;

/// What is to be written, and what was.
#[derive(Debug)]
pub(super) struct Keeper {
    disk: Option<Disk>,
    changed: BTreeSet<ClusterId>,
    gone: BTreeSet<ClusterId>,
    written: BTreeMap<ClusterId, Instant>,
    /// The addresses of gateways' names, and whether they are other than those on disk.
    names: KeptNames,
    names_changed: bool,
    rest_until: Instant,
    /// At most one, so that a removal cannot overtake a file.
    work: JoinSet<Done>,
    /// Who waits until all is written.
    waiting: Vec<oneshot::Sender<()>>,
    pub(super) status: Option<DiskStatus>,
}

#[derive(Debug)]
struct Done {
    what: Work,
    result: Result<(), DiskError>,
    took: Duration,
}

#[derive(Debug)]
enum Work {
    /// A cluster was written.
    Cluster(ClusterId),
    /// The addresses of names were.
    Names,
    /// A cluster was removed.
    Removal,
}

impl Keeper {
    /// `names`: as they are on disk.
    pub(super) fn new(disk: Option<Disk>, ignored: Vec<Ignored>, names: KeptNames) -> Self {
        let status = disk.as_ref().map(|disk| DiskStatus {
            folder: disk.path().display().to_string(),
            ignored,
            ..DiskStatus::default()
        });
        Self {
            disk,
            changed: BTreeSet::new(),
            gone: BTreeSet::new(),
            written: BTreeMap::new(),
            names,
            names_changed: false,
            rest_until: Instant::now(),
            work: JoinSet::new(),
            waiting: Vec::new(),
            status,
        }
    }

    /// A cluster has changed.
    pub(super) fn touch(&mut self, cluster: &ClusterId) {
        if self.disk.is_some() && !self.changed.contains(cluster) {
            self.changed.insert(cluster.clone());
        }
    }

    /// These are the addresses of all names that have any.
    pub(super) fn know(&mut self, names: KeptNames) {
        if self.disk.is_some() && self.names != names {
            self.names = names;
            self.names_changed = true;
        }
    }

    /// A cluster is known no more, and need not be at the next start.
    pub(super) fn forget(&mut self, cluster: &ClusterId) {
        if self.disk.is_some() {
            self.changed.remove(cluster);
            self.written.remove(cluster);
            self.gone.insert(cluster.clone());
        }
    }

    /// Somebody waits until all is written; from now on without pauses.
    pub(super) fn hurry(&mut self, waiter: oneshot::Sender<()>) {
        self.waiting.push(waiter);
    }

    /// The cluster to be written now, of those that have been read from their API and whether they are in sync.
    pub(super) fn due<'a>(
        &mut self,
        read: impl Iterator<Item = (&'a ClusterId, bool)>,
    ) -> Option<&'a ClusterId> {
        let Some(disk) = &self.disk else {
            self.waiting.clear();
            return None;
        };
        let now = Instant::now();
        let hurried = !self.waiting.is_empty();
        if !self.work.is_empty() || (now < self.rest_until && !hurried) {
            return None;
        }
        if let Some(cluster) = self.gone.pop_first() {
            let disk = disk.clone();
            self.work.spawn_blocking(move || Done {
                what: Work::Removal,
                result: disk.remove(&cluster),
                took: Duration::ZERO,
            });
            return None;
        }
        if self.names_changed {
            self.names_changed = false;
            let (disk, names) = (disk.clone(), self.names.clone());
            self.work.spawn_blocking(move || {
                let begun = std::time::Instant::now();
                Done {
                    what: Work::Names,
                    result: disk.save_names(&names),
                    took: begun.elapsed(),
                }
            });
            return None;
        }
        let age = |cluster: &ClusterId| {
            let written = self.written.get(cluster);
            written.map_or(Duration::MAX, |written| now - *written)
        };
        let due = read.filter(|(cluster, synced)| {
            let changed = self.changed.contains(*cluster);
            (changed && (age(cluster) >= PAUSE || hurried))
                || (*synced && !hurried && age(cluster) >= CONFIRM)
        });
        let oldest = due.map(|(cluster, _)| cluster).max_by_key(|id| age(id));
        if oldest.is_none() {
            // All that can be written is.
            self.waiting.clear();
        }
        oldest
    }

    /// Writes what is known of a cluster; without a place to, nothing.
    pub(super) fn write(&mut self, kept: Kept) {
        let Some(disk) = self.disk.clone() else {
            return;
        };
        self.changed.remove(&kept.cluster);
        self.written.insert(kept.cluster.clone(), Instant::now());
        self.work.spawn_blocking(move || {
            let begun = std::time::Instant::now();
            Done {
                result: disk.save(&kept),
                took: begun.elapsed(),
                what: Work::Cluster(kept.cluster),
            }
        });
    }

    /// Waits for a piece of work; `false`: none is under way. May be dropped half-way.
    pub(super) async fn done(&mut self) -> bool {
        let Some(done) = self.work.join_next().await else {
            return false;
        };
        if let (Ok(done), Some(status)) = (done, &mut self.status) {
            self.rest_until = Instant::now() + done.took * REST;
            match done.result {
                Ok(()) => {
                    status.last_error = None;
                    if matches!(done.what, Work::Cluster(_)) {
                        status.written_at = Some(now());
                    }
                }
                Err(fault) => {
                    let message = fault.to_string();
                    if status.last_error.as_ref() != Some(&message) {
                        tracing::warn!(%fault, "what is known cannot be kept on disk for the next start; it is tried again");
                    }
                    status.last_error = Some(message);
                    // Who waits would wait for ever.
                    self.waiting.clear();
                    self.rest_until = Instant::now() + PAUSE;
                    match done.what {
                        Work::Cluster(cluster) => {
                            self.changed.insert(cluster);
                        }
                        Work::Names => self.names_changed = true,
                        Work::Removal => {}
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(cluster: &str) -> Kept {
        Kept {
            cluster: cluster.into(),
            own: false,
            secret: None,
            server: String::new(),
            uid: None,
            heard_at: 0,
            facts: Vec::new(),
        }
    }

    /// Writes the cluster that is due, and says which it was.
    async fn step(keeper: &mut Keeper, read: &[(ClusterId, bool)]) -> Option<String> {
        let read = read.iter().map(|(id, synced)| (id, *synced));
        let due = keeper.due(read).map(ClusterId::to_string)?;
        keeper.write(kept(&due));
        assert!(keeper.due(std::iter::empty()).is_none(), "one at a time");
        assert!(keeper.done().await);
        Some(due)
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_changed_is_written_in_turn_with_pauses_and_the_rest_seldom() {
        let place = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(place.path().to_owned());
        let mut keeper = Keeper::new(Some(disk), Vec::new(), KeptNames::new());
        let read = [("eu".into(), true), ("us".into(), false)];
        for cluster in ["eu", "us", "never-read"] {
            keeper.touch(&cluster.into());
        }
        let later = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
        let mut written = Vec::new();
        for _ in 0..3 {
            written.extend(step(&mut keeper, &read).await);
            // Longer than any rest.
            later(2).await;
        }
        written.sort();
        assert_eq!(written, ["eu", "us"]);
        keeper.touch(&"eu".into());
        keeper.touch(&"us".into());
        assert_eq!(step(&mut keeper, &read[..1]).await, None, "too soon");
        let (sender, waiter) = oneshot::channel();
        keeper.hurry(sender);
        assert!(step(&mut keeper, &read).await.is_some(), "in a hurry");
        assert!(step(&mut keeper, &read).await.is_some(), "without rest");
        assert_eq!(step(&mut keeper, &read).await, None);
        assert!(waiter.await.is_err(), "all is written, and that is told");
        later(599).await;
        assert_eq!(step(&mut keeper, &read).await, None);
        later(2).await;
        let confirmed = step(&mut keeper, &read).await;
        assert_eq!(
            confirmed.as_deref(),
            Some("eu"),
            "what is out of sync is not"
        );
        assert_eq!(step(&mut keeper, &read).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_refuses_is_told_of_and_tried_again() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("it");
        std::fs::write(&path, "no folder").expect("written");
        let mut keeper = Keeper::new(Some(Disk::new(path.clone())), Vec::new(), KeptNames::new());
        let read = [("eu".into(), true)];
        keeper.touch(&"eu".into());
        assert!(step(&mut keeper, &read).await.is_some());
        let error = |keeper: &Keeper| keeper.status.as_ref().and_then(|it| it.last_error.clone());
        assert!(error(&keeper).is_some_and(|it| it.contains("cannot be written")));
        std::fs::remove_file(&path).expect("removed");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(step(&mut keeper, &read).await.is_some(), "again");
        assert_eq!(error(&keeper), None);
        let disk = Disk::new(path);
        assert!(disk.file_of(&"eu".into()).exists());
        keeper.forget(&"eu".into());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(step(&mut keeper, &[]).await, None);
        assert!(keeper.done().await, "it is removed");
        assert!(!disk.file_of(&"eu".into()).exists());
    }
}
