//! Following a file: a look at it four times a second, a reading when it is another one. It must not judge what it says.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Chunked, Hostname, Part, Service, Snapshot, merge};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::{FileError, FileStatus, Loaded, load};
use crate::resolve::{GatewayName, Resolver};

/// How often the file is looked at. A look sees what change notifications miss: a ConfigMap's swap of a link two folders
/// up, a file on a network.
const LOOK: Duration = Duration::from_millis(250);

/// How long the first snapshot waits for the addresses of gateways that are given by name.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);

/// What tells one version of a file from another.
type Fingerprint = Option<(PathBuf, u64, u64, i64, i64)>;

/// A file, what it said last, and who wants to know.
pub(super) struct Follower {
    path: PathBuf,
    seen: Fingerprint,
    loaded: Loaded,
    resolver: Resolver,
    snapshots: watch::Sender<Arc<Snapshot>>,
    status: watch::Sender<FileStatus>,
}

type Started = (
    Follower,
    watch::Receiver<Arc<Snapshot>>,
    watch::Receiver<FileStatus>,
);

impl Follower {
    /// Reads the file for the first time.
    pub(super) async fn start(path: PathBuf) -> Result<Started, FileError> {
        let seen = fingerprint(&path);
        let loaded = read(&path).await?;
        let (snapshots, snapshots_seen) = watch::channel(Arc::default());
        let (status, status_seen) = watch::channel(FileStatus {
            reloads: 1,
            ..FileStatus::default()
        });
        let mut follower = Self {
            path,
            seen,
            loaded,
            resolver: Resolver::default(),
            snapshots,
            status,
        };
        follower.resolver.ask_all(hosts(&follower.loaded.names));
        let answers = async { while follower.resolver.answer().await {} };
        if timeout(FIRST_ANSWERS, answers).await.is_err() {
            tracing::warn!(
                "some names of gateways are not resolved yet; their gateways come when they are"
            );
        }
        follower.publish();
        Ok((follower, snapshots_seen, status_seen))
    }

    /// Follows the file until the task is dropped.
    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = None;
        let mut resolve_at = Instant::now() + Resolver::pause();
        loop {
            tokio::select! {
                _ = looks.tick() => {
                    let seen = fingerprint(&self.path);
                    if seen != self.seen && self.is_whole(looked.as_ref(), &seen) {
                        self.seen = seen.clone();
                        self.read().await;
                    }
                    looked = Some(seen);
                }
                () = sleep_until(resolve_at) => {
                    self.resolver.ask_all(hosts(&self.loaded.names));
                    self.publish();
                    resolve_at = Instant::now() + Resolver::pause();
                }
                true = self.resolver.answer() => self.publish(),
            }
        }
    }

    /// Whether what is seen may be read, after what the last look saw. A file that is being written is still changing, and
    /// its first half can be a good file that has lost services: it has to be the same for two looks. One that was replaced
    /// since the last look, again, is written elsewhere: waiting for it to be the same could take for ever.
    fn is_whole(&self, looked: Option<&Fingerprint>, seen: &Fingerprint) -> bool {
        let which = |print: &Fingerprint| {
            print
                .as_ref()
                .map(|(path, inode, ..)| (path.clone(), *inode))
        };
        looked.is_some_and(|looked| {
            looked == seen
                || (*looked != self.seen && looked.is_some() && which(looked) != which(seen))
        })
    }

    async fn read(&mut self) {
        match read(&self.path).await {
            Ok(loaded) => {
                self.resolver.ask_new(hosts(&loaded.names));
                self.loaded = loaded;
                self.status.send_modify(|status| {
                    status.reloads += 1;
                    status.last_error = None;
                });
                tracing::info!(file = %self.path.display(), "the file was read again");
                self.publish();
            }
            Err(fault) => {
                tracing::error!(%fault, "the file is wrong; what it said before stays in force");
                self.status.send_modify(|status| {
                    status.failures += 1;
                    status.last_error = Some(fault.to_string());
                });
            }
        }
    }

    /// Publishes what is known, if it is something else than before; what has not changed is shared with it.
    fn publish(&mut self) {
        let mut part = self.loaded.part.clone();
        let unresolved = self.resolver.add_to(&mut part, &self.loaded.names);
        self.status.send_if_modified(|status| {
            let changed = status.unresolved != unresolved;
            status.unresolved = unresolved;
            changed
        });
        self.snapshots.send_if_modified(|before| {
            let part = sharing_with(part, before);
            let snapshot = merge(&[&part], before.version + 1);
            let same = before.version > 0
                && before.networks == snapshot.networks
                && before.passthrough == snapshot.passthrough
                && before.services == snapshot.services;
            if !same {
                *before = Arc::new(snapshot);
            }
            !same
        });
    }
}

/// The part with every service that did not change taken from the snapshot, and the others sharing what they can.
fn sharing_with(part: Part, before: &Snapshot) -> Part {
    let share = |service: &Arc<Service>| match before.service(&service.host) {
        Some(old) if old == service => old.clone(),
        Some(old) => Arc::new(Service {
            endpoints: service.endpoints.sharing_with(&old.endpoints),
            ..Service::clone(service)
        }),
        None => service.clone(),
    };
    let services = part.services.iter().map(share).collect();
    Part {
        services: Chunked::from_items(services),
        ..part
    }
}

/// The names alone.
fn hosts(names: &[GatewayName]) -> impl Iterator<Item = &Hostname> + Clone {
    names.iter().map(|gateway| &gateway.name)
}

/// Reads the file where it may take its time: a mesh of a million endpoints is seconds of work.
async fn read(path: &Path) -> Result<Loaded, FileError> {
    let own = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || load(&own)).await;
    reading.unwrap_or_else(|fault| {
        let problem = format!("reading it broke off: {fault}");
        Err(FileError::whole(&path.display().to_string(), problem))
    })
}

fn fingerprint(path: &PathBuf) -> Fingerprint {
    let real = std::fs::canonicalize(path).ok()?;
    let about: Metadata = std::fs::metadata(&real).ok()?;
    Some((
        real,
        about.ino(),
        about.size(),
        about.mtime(),
        about.mtime_nsec(),
    ))
}
