//! Builds the Go programs that tests need, each once for each state of its sources. It needs Go and, the first time, a module
//! proxy.

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
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = project.join(name);
    let mut hasher = DefaultHasher::new();
    for name in ["go.mod", "go.sum", "main.go"] {
        hasher.write(&fs::read(sources.join(name)).expect("a source file"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| project.join("../target"), PathBuf::from);
    let folder = target.join(format!("{name}/{:016x}", hasher.finish()));
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
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("our turn");
    if built.exists() {
        return Ok(built);
    }
    say(&format!(
        "== building {what} for the tests, once; this can take minutes"
    ));
    let begun = Instant::now();
    let unfinished = folder.join("unfinished");
    let output = Command::new("go")
        .args(["build", "-mod=readonly", "-ldflags=-s -w", "-o"])
        .arg(&unfinished)
        .arg(".")
        .current_dir(&sources)
        .output()
        .expect("go runs");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "go build failed: {complained}");
    fs::rename(&unfinished, &built).expect("renamed");
    say(&format!(
        "== built {what} in {} s",
        begun.elapsed().as_secs()
    ));
    Ok(built)
}
