//! What is known of each cluster, kept on disk for the next start: facts, never what they mean nor how a cluster is reached.
//! It must not decide what of it is used, nor hold a credential.
//!
//! A folder with one file a cluster, one of what our own API server said of ourselves, and one of the addresses that gateways'
//! names had. Each begins with its version and a
//! checksum (`envelope`), and takes the place of the one before in one step (`folder`).

mod envelope;
mod folder;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use model::{ClusterId, Hostname};
use serde::{Deserialize, Serialize};

pub use self::envelope::VERSION;
use self::folder::Folder;
use super::facts::Fact;
use super::owners::SecretName;
use super::settings::Ceilings;
use super::whoami::Answers;

/// What begins the name of a cluster's file.
const CLUSTER: &str = "cluster-";

/// The file of what was found out of ourselves.
const MYSELF: &str = "gateway";

/// More files than that are not looked at: clusters by the hundred are watched, not by the thousand.
const FILES: usize = 1_000;

/// Bytes of the file of ourselves: a Pod's labels and a few names.
const MYSELF_BYTES: usize = 1 << 20;

/// The file of the addresses that gateways' names had.
const NAMES: &str = "names";

/// Bytes of it: a load balancer's name and its addresses take a few hundred.
const NAMES_BYTES: usize = 4 << 20;

/// What was known of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Which one.
    pub cluster: ClusterId,
    /// Whether it is our own.
    pub own: bool,
    /// The Secret that said how it is reached; `None` for our own.
    pub secret: Option<SecretName>,
    /// Where its API was.
    pub server: String,
    /// The UID of its namespace `kube-system`; `None` where the credential may not read that.
    pub uid: Option<String>,
    /// When the kind that had been silent for longest was heard of last, in seconds since 1970.
    pub heard_at: i64,
    /// Everything that was known of it.
    pub facts: Vec<Fact>,
}

/// What was found out of ourselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptMyself {
    /// The Pod that asked; empty outside of one.
    pub pod: String,
    /// What it was told.
    pub answers: Answers,
}

/// The last addresses of names that had to be resolved: whoever cannot reach an API server may not reach a name server either.
pub type KeptNames = BTreeMap<Hostname, Vec<IpAddr>>;

/// Everything that was found in the folder.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Of clusters.
    pub clusters: Vec<Kept>,
    /// Of ourselves.
    pub myself: Option<KeptMyself>,
    /// Of names.
    pub names: KeptNames,
    /// What is not used.
    pub ignored: Vec<Ignored>,
}

/// A file that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// Which one.
    pub file: String,
    /// Why.
    pub why: String,
}

/// Why something could not be read or written; with what the system says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The file system refuses.
    #[error("{path} cannot be {what}: {why}")]
    Io {
        /// The file or folder.
        path: String,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        why: String,
    },
    /// Its content is not what a gateway of this version writes.
    #[error(transparent)]
    Content(#[from] envelope::Damage),
    /// It is not a plain file.
    #[error("it is not a plain file")]
    NoFile,
    /// It is too large.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// It holds more than a cluster may bring.
    #[error("it holds {count} {what}, more than the ceiling of {ceiling}")]
    TooMany {
        /// Objects or endpoints.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        ceiling: usize,
    },
    /// It stands under another cluster's name.
    #[error("it is named after another cluster than the one in it, {0}")]
    OtherCluster(ClusterId),
}

/// The folder. Every function waits for the disk.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: Folder,
}

impl Disk {
    /// The folder at this path; it is made when something is first written.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            folder: Folder::new(path),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Reads all there is, and clears away what was never finished. What cannot be read, or holds more than a cluster may
    /// bring, is left out and named.
    #[must_use]
    pub fn load(&self, ceilings: Ceilings) -> Loaded {
        let mut loaded = Loaded::default();
        self.folder.tidy();
        let names = match self.folder.names() {
            Ok(names) => names,
            Err(fault) => {
                loaded.ignored.push(Ignored {
                    file: self.path().display().to_string(),
                    why: fault.to_string(),
                });
                return loaded;
            }
        };
        for name in names.into_iter().take(FILES) {
            let read = if name == MYSELF {
                self.read(&name, MYSELF_BYTES)
                    .map(|myself| loaded.myself = Some(myself))
            } else if name == NAMES {
                self.read(&name, NAMES_BYTES)
                    .map(|names| loaded.names = names)
            } else if name.starts_with(CLUSTER) {
                self.cluster(&name, ceilings)
                    .map(|kept| loaded.clusters.push(kept))
            } else {
                continue;
            };
            if let Err(fault) = read {
                loaded.ignored.push(Ignored {
                    file: self.folder.path_of(&name).display().to_string(),
                    why: fault.to_string(),
                });
            }
        }
        loaded
    }

    /// Writes what is known of a cluster in place of what was there.
    ///
    /// # Errors
    /// What the file system refuses; what was there before is then still there.
    pub fn save(&self, kept: &Kept) -> Result<(), DiskError> {
        self.write(&name_of(&kept.cluster), kept)
    }

    /// Writes what was found out of ourselves.
    ///
    /// # Errors
    /// What the file system refuses; what was there before is then still there.
    pub fn save_myself(&self, myself: &KeptMyself) -> Result<(), DiskError> {
        self.write(MYSELF, myself)
    }

    /// Writes the addresses of names.
    ///
    /// # Errors
    /// What the file system refuses; what was there before is then still there.
    pub fn save_names(&self, names: &KeptNames) -> Result<(), DiskError> {
        self.write(NAMES, names)
    }

    /// Removes what is known of a cluster, if there is anything.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn remove(&self, cluster: &ClusterId) -> Result<(), DiskError> {
        self.folder.remove(&name_of(cluster))
    }

    /// Reads a value that somebody else keeps in this folder; `None` where there is none. `name` is a file's without its ending,
    /// and none of a cluster's.
    ///
    /// # Errors
    /// Why what is there cannot be used.
    pub fn read_value<T: for<'a> Deserialize<'a>>(
        &self,
        name: &str,
        limit: usize,
    ) -> Result<Option<T>, DiskError> {
        let names = self.folder.names()?;
        match names.iter().any(|there| there == name) {
            true => self.read(name, limit).map(Some),
            false => Ok(None),
        }
    }

    /// Writes such a value in place of what was there.
    ///
    /// # Errors
    /// What the file system refuses; what was there before is then still there.
    pub fn write_value<T: Serialize>(&self, name: &str, value: &T) -> Result<(), DiskError> {
        self.write(name, value)
    }

    /// The file of a cluster, for people.
    #[must_use]
    pub fn file_of(&self, cluster: &ClusterId) -> PathBuf {
        self.folder.path_of(&name_of(cluster))
    }

    fn cluster(&self, name: &str, ceilings: Ceilings) -> Result<Kept, DiskError> {
        let kept: Kept = self.read(name, ceilings.list_bytes)?;
        if name != name_of(&kept.cluster) {
            return Err(DiskError::OtherCluster(kept.cluster));
        }
        let endpoints = kept.facts.iter().map(|fact| match fact {
            Fact::Slice(slice) => slice.endpoints.len(),
            _ => 0,
        });
        for (what, count, ceiling) in [
            ("objects", kept.facts.len(), ceilings.objects),
            ("endpoints", endpoints.sum(), ceilings.endpoints),
        ] {
            if count > ceiling {
                return Err(DiskError::TooMany {
                    what,
                    count,
                    ceiling,
                });
            }
        }
        Ok(kept)
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, name: &str, limit: usize) -> Result<T, DiskError> {
        let bytes = self.folder.read(name, limit)?;
        Ok(envelope::open(&bytes)?)
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), DiskError> {
        self.folder.write(name, &envelope::seal(value)?)
    }
}

/// A cluster's id can be any text, and a file's name cannot: bytes other than letters, digits, `-` and `_` are written as
/// `%XX`, so that two ids never share a file.
fn name_of(cluster: &ClusterId) -> String {
    let mut name = String::from(CLUSTER);
    for byte in cluster.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests;
