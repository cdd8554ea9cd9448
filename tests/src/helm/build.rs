//! Builds Helm once for each version of it. It needs Go and, the first time, a module proxy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::CannotBuild;
use crate::namespace::say;

/// The newest of version 3, which users of Terraform's provider and most others have.
const VERSION: &str = "v3.21.4";

/// The program, built now if it was not.
pub(super) fn build() -> Result<PathBuf, CannotBuild> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = target.map_or_else(|| project.join("../target"), PathBuf::from);
    let folder = target.join("helm").join(VERSION);
    let built = folder.join("helm");
    if built.exists() {
        return Ok(built);
    }
    if Command::new("go").arg("version").output().is_err() {
        return Err(CannotBuild(
            "Go is not installed (https://go.dev/dl)".into(),
        ));
    }
    fs::create_dir_all(&folder).expect("a folder");
    let folder = folder.canonicalize().expect("its whole path");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("our turn");
    if built.exists() {
        return Ok(built);
    }
    say("== building helm for the tests, once; this takes about two minutes");
    let begun = Instant::now();
    let unfinished = folder.join("unfinished");
    let output = Command::new("go")
        .args(["install", "-ldflags=-s -w"])
        .arg(format!("helm.sh/helm/v3/cmd/helm@{VERSION}"))
        .env("GOBIN", &unfinished)
        .output()
        .expect("go runs");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "go install failed: {complained}");
    fs::rename(unfinished.join("helm"), &built).expect("renamed");
    say(&format!("== built helm in {} s", begun.elapsed().as_secs()));
    Ok(built)
}
