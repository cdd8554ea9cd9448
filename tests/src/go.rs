//! Builds the Go programs that tests need, each once for each version or state of its sources. It needs Go and, the first time,
//! a module proxy.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::namespace::say;

/// Why there is no program to test against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CannotBuild(pub String);

/// The API server with its etcd, built now if it was not: that takes some minutes.
///
/// # Errors
/// Where Go is not installed; tests are skipped with that reason.
///
/// # Panics
/// When Go is there and cannot build it.
pub fn build() -> Result<PathBuf, CannotBuild> {
    program("controlplane", "kube-apiserver and etcd")
}

/// Istio's control plane, likewise.
///
/// # Errors
/// Where Go is not installed.
///
/// # Panics
/// When Go is there and cannot build it.
pub fn build_istiod() -> Result<PathBuf, CannotBuild> {
    program("istiod", "istiod")
}

/// go-control-plane's client and server (`tests/foreign`), likewise; that takes about a minute.
///
/// # Errors
/// Where Go is not installed.
///
/// # Panics
/// When Go is there and cannot build it.
pub fn build_foreign() -> Result<PathBuf, CannotBuild> {
    program("foreign", "go-control-plane")
}

/// The program whose module is in the folder of this name.
fn program(name: &str, what: &str) -> Result<PathBuf, CannotBuild> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut hasher = DefaultHasher::new();
    for name in ["go.mod", "go.sum", "main.go"] {
        hasher.write(&fs::read(sources.join(name)).expect("a source file"));
    }
    let version = format!("{:016x}", hasher.finish());
    once(name, &version, what, |folder| {
        let mut go = Command::new("go");
        go.args(["build", "-mod=readonly", "-ldflags=-s -w", "-o"])
            .arg(folder.join(name))
            .arg(".")
            .current_dir(&sources);
        go
    })
}

/// The program of this name and version, kept in the target folder; `go` gives the command that writes it into a folder.
pub(crate) fn once(
    name: &str,
    version: &str,
    what: &str,
    go: impl FnOnce(&Path) -> Command,
) -> Result<PathBuf, CannotBuild> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = target.map_or_else(usual, PathBuf::from);
    let folder = folder.join(name).join(version);
    let built = folder.join(name);
    if built.exists() {
        return Ok(built);
    }
    if Command::new("go").arg("version").output().is_err() {
        return Err(CannotBuild(
            "Go is not installed (https://go.dev/dl)".into(),
        ));
    }
    fs::create_dir_all(&folder).expect("a folder");
    // Go wants whole paths.
    let folder = folder.canonicalize().expect("its whole path");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("our turn");
    if built.exists() {
        return Ok(built);
    }
    say(&format!(
        "== building {what} for the tests, once; this can take minutes"
    ));
    let begun = Instant::now();
    let unfinished = folder.join("building");
    fs::create_dir_all(&unfinished).expect("a folder");
    let output = go(&unfinished).output().expect("go runs");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "go cannot build {what}: {complained}"
    );
    fs::rename(unfinished.join(name), &built).expect("renamed");
    say(&format!(
        "== built {what} in {} s",
        begun.elapsed().as_secs()
    ));
    Ok(built)
}
