//! Fetches gRPC for Python once for each version of it, from PyPI. It needs Python with pip.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::CannotBuild;
use crate::namespace::say;

/// The current release.
const VERSION: &str = "1.85.1";

/// The folder with the modules, filled now if it was not.
pub(super) fn install() -> Result<PathBuf, CannotBuild> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = target.map_or_else(|| project.join("../target"), PathBuf::from);
    let folder = target.join("grpc").join(VERSION);
    let modules = folder.join("modules");
    if modules.exists() {
        return Ok(modules);
    }
    fs::create_dir_all(&folder).expect("a folder");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("our turn");
    if modules.exists() {
        return Ok(modules);
    }
    say("== fetching gRPC for Python for the tests, once; this takes some seconds");
    let unfinished = folder.join("unfinished");
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        // A wheel or nothing: to compile it takes half an hour.
        .args(["--only-binary", ":all:", "--upgrade", "--target"])
        .arg(&unfinished)
        .arg(format!("grpcio=={VERSION}"))
        .output()
        .map_err(|why| CannotBuild(format!("python3: {why}")))?;
    if !output.status.success() {
        let complained = String::from_utf8_lossy(&output.stderr);
        let last = complained.lines().last().unwrap_or_default();
        return Err(CannotBuild(format!(
            "grpcio {VERSION} cannot be had: {last}"
        )));
    }
    fs::rename(&unfinished, &modules).expect("renamed");
    Ok(modules)
}
