//! The file source: `mesh.yaml`, read, checked and followed. A version of the file that is wrong changes nothing but the
//! status.

mod convert;
mod follow;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Part, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::schema::MeshFile;
use crate::resolve::GatewayName;
pub use crate::yaml::FileError;

/// A file that is followed; dropping it ends that.
#[derive(Debug)]
pub struct Source {
    /// What the file says, as it stands in force.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How reading it goes.
    pub status: watch::Receiver<FileStatus>,
    task: JoinHandle<()>,
}

/// How reading the file goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileStatus {
    /// Changes of the file that were taken over, the first reading included.
    pub reloads: u64,
    /// Changes that were not: wrong ones, and times at which the file could not be read for a new reason.
    pub failures: u64,
    /// What is wrong with the latest version of the file, or why it cannot be read; `None` if nothing is.
    pub last_error: Option<String>,
    /// Names of gateways that have no address at present.
    pub unresolved: Vec<String>,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// All but the gateways that are given by name.
    pub part: Part,
    /// Gateways given by name.
    pub names: Vec<GatewayName>,
}

/// Reads and checks a file. Host names are not resolved.
///
/// # Errors
/// What is wrong, with file, line and key.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    parse_bytes(path, bytes(path)?)
}

/// Reads and checks the text of a file; `file` is only named in errors.
///
/// # Errors
/// What is wrong, with file, line and key.
pub fn parse(file: &str, text: &str) -> Result<Loaded, FileError> {
    if text.lines().all(|line| {
        matches!(
            line.trim().split('#').next(),
            None | Some("" | "---" | "null")
        )
    }) {
        // Most likely caught in the middle of being written; taken for a mesh of nothing it would end every route.
        let problem = "the file is empty; if no service is meant, write 'services: []'";
        return Err(FileError::whole(file, problem));
    }
    let mesh: MeshFile = crate::yaml::read(file, text)?;
    convert::convert(mesh, file, text)
}

fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|fault| {
        let problem = format!("cannot be read: {fault}");
        FileError::whole(&path.display().to_string(), problem)
    })
}

fn parse_bytes(path: &Path, bytes: Vec<u8>) -> Result<Loaded, FileError> {
    let file = path.display().to_string();
    let text = String::from_utf8(bytes)
        .map_err(|fault| FileError::whole(&file, format!("is no UTF-8 text: {fault}")))?;
    parse(&file, &text)
}

/// Reads a file and follows its changes. Needs a tokio runtime.
///
/// # Errors
/// When the file is wrong from the start.
pub async fn start(path: PathBuf) -> Result<Source, FileError> {
    let (follower, snapshots, status) = follow::Follower::start(path).await?;
    Ok(Source {
        snapshots,
        status,
        task: tokio::spawn(follower.run()),
    })
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
