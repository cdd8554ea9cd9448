//! Kubernetes as a source: started once, followed for ever.

mod myself;

use std::sync::Arc;
use std::time::Duration;

use model::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::client::{self, ClientError, Home};
use super::cluster::Connect;
use super::disk::{Disk, KeptMyself};
use super::hub::start::FromDisk;
use super::hub::{Hub, Published};
use super::settings::Settings;
use super::status::Status;
use super::whoami::{WhoAmI, WhoAmIError};

/// How long the disk may take at the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Clusters that are followed; dropping it ends that.
#[derive(Debug)]
pub struct Source {
    /// What they say, as one.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How it goes.
    pub status: watch::Receiver<Status>,
    /// Who we are.
    pub me: WhoAmI,
    save: mpsc::Sender<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Why discovery does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// There is no way to our own cluster.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is not known who we are.
    #[error(transparent)]
    WhoAmI(#[from] WhoAmIError),
}

/// Finds out who we are, and follows our own cluster and those that Secrets name. Where there is something on disk from
/// before, it holds until each API server has been read. Needs a tokio runtime.
///
/// # Errors
/// When our own cluster cannot be reached for two minutes and nothing is on disk, or something is not known that only a
/// setting can say.
pub async fn start(settings: Settings) -> Result<Source, StartError> {
    let home = client::local(&settings.local).await?;
    let connect: Connect = Arc::new(client::remote);
    start_with(home, settings, connect).await
}

/// The same with connections of the caller's: tests and benchmarks have API servers of their own.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    home: Home,
    settings: Settings,
    connect: Connect,
) -> Result<Source, StartError> {
    let (hub, published, me) = prepare(home, settings, connect).await?;
    Ok(Source {
        snapshots: published.snapshots,
        status: published.status,
        me,
        save: published.save,
        task: tokio::spawn(hub.run()),
    })
}

/// A hub that begins with what is on disk, and does not run yet.
pub(super) async fn prepare(
    home: Home,
    settings: Settings,
    connect: Connect,
) -> Result<(Hub, Published, WhoAmI), StartError> {
    let (from_disk, myself) = load(&settings).await;
    let mut doubts = JoinSet::new();
    let me = myself::find(&home, &settings, &from_disk.disk, myself, &mut doubts).await?;
    let (hub, published) = Hub::new(home, me.clone(), settings, connect, from_disk, doubts);
    Ok((hub, published, me))
}

/// What is on disk, if anything is to be.
async fn load(settings: &Settings) -> (FromDisk, Option<KeptMyself>) {
    let Some(path) = settings.disk.clone() else {
        return (FromDisk::default(), None);
    };
    let disk = Disk::new(path);
    let (reader, ceilings) = (disk.clone(), settings.ceilings);
    let loaded = tokio::task::spawn_blocking(move || reader.load(ceilings)).await;
    // Only a defect ends that early, and then there is nothing.
    let loaded = loaded.unwrap_or_default();
    let from_disk = FromDisk {
        disk: Some(disk),
        clusters: loaded.clusters,
        names: loaded.names,
        ignored: loaded.ignored,
    };
    (from_disk, loaded.myself)
}

impl Source {
    /// Writes to disk what is not there yet, and waits for that, but not for long.
    pub async fn save(&self) {
        let (waiter, saved) = oneshot::channel();
        if self.save.send(waiter).await.is_ok() {
            // The answer is that nobody can answer any more.
            let _ = timeout(FAREWELL, saved).await;
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}
