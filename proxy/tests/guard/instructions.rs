//! Instructions of what is pure computation, counted by valgrind in a release build of `bench/steps`. It must not read a clock.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;
use std::time::SystemTime;

use crate::limits::{INSTRUCTIONS_OF_A_HELLO, INSTRUCTIONS_OF_A_PICK};
use crate::{ALONE, say};

/// Runs of so few and so many; their difference is without the start and the end of the process.
const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

#[test]
fn a_hello_and_a_pick_take_few() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let steps = match steps() {
        Ok(steps) => steps,
        Err(why) => {
            say(&format!("== SKIPPED: instructions are not counted: {why}"));
            return;
        }
    };
    for (what, limit) in [
        ("hello", INSTRUCTIONS_OF_A_HELLO),
        ("pick", INSTRUCTIONS_OF_A_PICK),
    ] {
        let more = instructions(&steps, what, MANY) - instructions(&steps, what, FEW);
        limit.hold(more as f64 / (MANY - FEW) as f64);
    }
}

/// The program that is counted, as `make test` builds it.
fn steps() -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the limits are of x86-64".into());
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("valgrind does not start; make tools installs it".into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Beside the folder of this very test: target/debug/deps.
    let here = std::env::current_exe().map_err(|fault| fault.to_string())?;
    let target = here.ancestors().nth(3).ok_or("no target folder")?;
    let steps = target.join("release/steps");
    let built = modified(&steps).ok_or("it is not built; make test builds it")?;
    let sources = ["src", "../discovery/model/src", "../bench/steps/src"];
    let newest = sources
        .iter()
        .filter_map(|folder| newest(&root.join(folder)))
        .max();
    if newest.is_some_and(|newest| newest > built) {
        return Err("it is older than its sources; make test builds it".into());
    }
    Ok(steps)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// When anything in a folder was changed last.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let times = paths.filter_map(|path| match path.is_dir() {
        true => newest(&path),
        false => modified(&path),
    });
    times.max()
}

/// Instructions of a run of `count`, start and end of the process included.
fn instructions(steps: &Path, what: &str, count: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(steps)
        .args([what, &count.to_string()])
        .output()
        .expect("valgrind starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let collected = collected.and_then(|(_, count)| count.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("{what}: no count in {said}"))
}
