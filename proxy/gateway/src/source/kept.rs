//! What an xDS server has said, kept on disk for the next start, in the folder and the form in which discovery keeps what it
//! knows of clusters. It must not decide how long that is in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use discovery::kubernetes::disk::{Disk, DiskError, Ignored};
use discovery::kubernetes::status::DiskStatus;
use model::Snapshot;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use xds::client;

/// The file.
const NAME: &str = "xds";

/// Between two writes, as for clusters.
const PAUSE: Duration = Duration::from_secs(5);

/// Keeps what a server says.
#[derive(Clone)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Disk,
    limit: usize,
    asked: Asked,
    status: Mutex<DiskStatus>,
    /// What is on disk, or need not be there.
    last: tokio::sync::Mutex<Arc<Snapshot>>,
}

/// What was asked of whom: an answer to anything else is not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    server: String,
    cluster: String,
    network: String,
    network_view: Vec<String>,
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    asked: Asked,
    /// In seconds since 1970.
    written_at: i64,
    snapshot: Snapshot,
}

impl Keeper {
    /// Keeps it in this folder; what is there and has more bytes than `limit` is not used.
    pub(crate) fn new(folder: PathBuf, settings: &client::Settings, limit: usize) -> Self {
        let node = &settings.node;
        let asked = Asked {
            server: settings.server.address.clone(),
            cluster: node.cluster.clone(),
            network: node.network.clone(),
            network_view: node.network_view.clone(),
            labels: node.labels.clone(),
        };
        let status = DiskStatus {
            folder: folder.display().to_string(),
            ..DiskStatus::default()
        };
        Self {
            shared: Arc::new(Shared {
                disk: Disk::new(folder),
                limit,
                asked,
                status: Mutex::new(status),
                last: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// What an earlier run has kept, if it asked the same; what is not used is named in the status.
    pub(crate) async fn load(&self) -> Option<Arc<Snapshot>> {
        let shared = self.shared.clone();
        let read = spawn_blocking(move || shared.disk.read_value::<Kept>(NAME, shared.limit));
        // Only a panic in it would be another outcome.
        let read = read.await.ok()?;
        let why = match read {
            Ok(None) => return None,
            Ok(Some(kept)) if kept.asked == self.shared.asked => {
                self.shared.status.lock().written_at = Some(kept.written_at);
                return Some(Arc::new(kept.snapshot));
            }
            Ok(Some(kept)) => format!(
                "it was told by {} to cluster {} in network {}, or to other labels or views",
                kept.asked.server, kept.asked.cluster, kept.asked.network
            ),
            Err(fault) => fault.to_string(),
        };
        tracing::warn!(
            why,
            "what the xDS server said to an earlier run is not used"
        );
        let file = self.shared.disk.path().join(format!("{NAME}.json"));
        self.shared.status.lock().ignored.push(Ignored {
            file: file.display().to_string(),
            why,
        });
        None
    }

    /// Keeps what is published from now on.
    pub(crate) async fn follow(&self, source: &client::Source) {
        let (shared, mut snapshots) = (self.shared.clone(), source.snapshots.clone());
        // Nothing has come from the server yet.
        *shared.last.lock().await = snapshots.borrow_and_update().clone();
        tokio::spawn(async move {
            // Ends with the source.
            while snapshots.changed().await.is_ok() {
                shared.save(&snapshots).await;
                sleep(PAUSE).await;
            }
        });
    }

    /// Keeps what is not kept yet.
    pub(crate) async fn save(&self, source: &client::Source) {
        self.shared.save(&source.snapshots).await;
    }

    /// How it goes, for people.
    pub(crate) fn status(&self) -> DiskStatus {
        self.shared.status.lock().clone()
    }
}

impl Shared {
    async fn save(self: &Arc<Self>, snapshots: &watch::Receiver<Arc<Snapshot>>) {
        let mut last = self.last.lock().await;
        let snapshot = snapshots.borrow().clone();
        if Arc::ptr_eq(&last, &snapshot) {
            return;
        }
        let (shared, taken) = (self.clone(), snapshot.clone());
        let written = spawn_blocking(move || shared.write(&taken)).await;
        match written {
            Ok(Ok(written_at)) => {
                *last = snapshot;
                let mut status = self.status.lock();
                status.written_at = Some(written_at);
                status.last_error = None;
            }
            Ok(Err(fault)) => {
                tracing::warn!(%fault, "what the xDS server says cannot be kept for the next start");
                self.status.lock().last_error = Some(fault.to_string());
            }
            // The runtime ends.
            Err(_) => {}
        }
    }

    fn write(&self, snapshot: &Snapshot) -> Result<i64, DiskError> {
        let kept = Kept {
            asked: self.asked.clone(),
            written_at: client::now(),
            snapshot: snapshot.clone(),
        };
        self.disk.write_value(NAME, &kept)?;
        Ok(kept.written_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(folder: &std::path::Path, network: &str) -> Keeper {
        let settings = client::Settings {
            server: client::Server {
                address: "istiod:15012".into(),
                ..client::Server::default()
            },
            node: client::Node {
                network: network.into(),
                ..client::Node::default()
            },
            ..client::Settings::default()
        };
        Keeper::new(folder.to_owned(), &settings, 1 << 20)
    }

    #[tokio::test]
    async fn what_was_said_is_found_again_by_whoever_asks_the_same() {
        let place = tempfile::tempdir().expect("a folder");
        let first = keeper(place.path(), "n1");
        assert_eq!(first.load().await, None);
        assert_eq!(first.status().ignored, []);
        let snapshot = Arc::new(Snapshot {
            version: 7,
            ..Snapshot::default()
        });
        let (_publish, snapshots) = watch::channel(snapshot.clone());
        first.shared.save(&snapshots).await;
        let written_at = first.status().written_at;
        assert!(written_at.is_some() && first.status().last_error.is_none());

        let again = keeper(place.path(), "n1");
        assert_eq!(again.load().await, Some(snapshot));
        assert_eq!(again.status().written_at, written_at);

        let other = keeper(place.path(), "n2");
        assert_eq!(other.load().await, None);
        let [ignored] = &*other.status().ignored else {
            panic!("{:?}", other.status());
        };
        assert!(ignored.why.contains("network n1"), "{ignored:?}");

        let file = place.path().join("xds.json");
        std::fs::write(file, "half").expect("written");
        let damaged = keeper(place.path(), "n1");
        assert_eq!(damaged.load().await, None);
        assert_eq!(damaged.status().ignored.len(), 1);
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_told_until_a_later_write_succeeds() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("kept");
        std::fs::write(&folder, "in the way").expect("written");
        let keeper = keeper(&folder, "n1");
        let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
        keeper.shared.save(&snapshots).await;
        assert!(keeper.status().last_error.is_some());
        std::fs::remove_file(&folder).expect("out of the way");
        publish.send_replace(Arc::new(Snapshot::default()));
        keeper.shared.save(&snapshots).await;
        assert_eq!(keeper.status().last_error, None);
        assert!(keeper.status().written_at.is_some());
    }
}
