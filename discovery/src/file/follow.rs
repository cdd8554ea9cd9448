//! Following a file: a look at it four times a second, a reading when it is another one. It must not judge what it says.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Chunked, Hostname, Part, Service, Snapshot, merge};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::{FileError, FileStatus, Loaded, bytes, parse_bytes};
use crate::resolve::{GatewayName, Resolver};

/// How often the file is looked at. A look sees what change notifications miss: a ConfigMap's swap of a link two folders
/// up, a file on a network.
const LOOK: Duration = Duration::from_millis(250);

/// How long the first snapshot waits for the addresses of gateways that are given by name.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);

/// What tells one version of a file from another; `None` where there is no file.
type Fingerprint = Option<Print>;

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Print {
    path: PathBuf,
    inode: u64,
    size: u64,
    /// When its bytes changed, seconds and nanoseconds.
    modified: (i64, i64),
    /// When anything of it changed. Whoever writes a file can set the other time, but not this one; and it tells of a mode or
    /// an owner by which a file becomes readable.
    changed: (i64, i64),
}

/// Why a version of the file is not in force.
enum Fault {
    /// It could not be read, which may be over without any change of the file: another look is worth it.
    Unread(FileError),
    /// It was read, and is wrong.
    Wrong(FileError),
}

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
        let loaded = read(&path).await.map_err(|fault| match fault {
            Fault::Unread(fault) | Fault::Wrong(fault) => fault,
        })?;
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
                        let read = read(&self.path).await;
                        self.take(read);
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
                .map(|print| (print.path.clone(), print.inode))
        };
        looked.is_some_and(|looked| {
            looked == seen
                || (*looked != self.seen && looked.is_some() && which(looked) != which(seen))
        })
    }

    /// Takes over what was read, or keeps what is known.
    fn take(&mut self, read: Result<Loaded, Fault>) {
        match read {
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
            Err(Fault::Unread(fault)) => {
                // Not seen, therefore: where it still is there, the next look reads it.
                self.seen = None;
                let said = fault.to_string();
                if self.status.borrow().last_error.as_ref() == Some(&said) {
                    return;
                }
                tracing::error!(%fault, "the file cannot be read; what it said before stays in force, and it is tried again");
                self.failed(said);
            }
            Err(Fault::Wrong(fault)) => {
                tracing::error!(%fault, "the file is wrong; what it said before stays in force");
                self.failed(fault.to_string());
            }
        }
    }

    fn failed(&self, said: String) {
        self.status.send_modify(|status| {
            status.failures += 1;
            status.last_error = Some(said);
        });
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
async fn read(path: &Path) -> Result<Loaded, Fault> {
    let own = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = bytes(&own).map_err(Fault::Unread)?;
        parse_bytes(&own, bytes).map_err(Fault::Wrong)
    });
    reading.await.unwrap_or_else(|fault| {
        let problem = format!("reading it broke off: {fault}");
        let fault = FileError::whole(&path.display().to_string(), problem);
        Err(Fault::Wrong(fault))
    })
}

fn fingerprint(path: &PathBuf) -> Fingerprint {
    let real = std::fs::canonicalize(path).ok()?;
    let about: Metadata = std::fs::metadata(&real).ok()?;
    Some(Print {
        path: real,
        inode: about.ino(),
        size: about.size(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests;
