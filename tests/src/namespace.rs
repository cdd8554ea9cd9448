//! Tests in a network namespace of their own, where every 10.x address is local. It must not let a test pass as done where
//! that is not permitted: it says so, loudly.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Set where a test is already in its own namespace.
const INSIDE: &str = "CAUSEWAY_TEST_NAMESPACE";

/// What makes every 10.x address ours, then runs what follows: an API server refuses loopback addresses in slices.
const PREPARE: &str =
    "ip link set lo up && ip route add local 10.0.0.0/8 dev lo && exec \"$0\" \"$@\"";

/// How a namespace is made: as root, or as whoever may be root in a namespace of users.
const WAYS: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Whether this runs in a namespace of its own. If not, the named test (its whole path) is run again in one, and what it
/// says is what this test says; the caller then returns. Such tests run one after another, as they start large servers.
///
/// # Panics
/// When the test fails there, or no test has that name.
#[must_use]
pub fn in_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(way) = WAYS.iter().find(|way| is_permitted(way)) else {
        say(&format!(
            "== SKIPPED {test}: 'unshare --net' and 'ip route' are not permitted or not installed here"
        ));
        return false;
    };
    let turn = File::create(turn_file()).expect("a lock file");
    turn.lock().expect("our turn");
    let binary = std::env::current_exe().expect("our own path");
    let output = Command::new("unshare")
        .args(*way)
        .args(["sh", "-c", PREPARE])
        .arg(binary)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("test result: ok. 1 passed"),
        "{test} in a namespace of its own:\n{said}\n{complained}"
    );
    print!("{said}");
    // What it skipped is told once more, past the harness, which keeps what passing tests say to itself.
    for line in complained.lines().filter(|line| line.starts_with("== ")) {
        say(line);
    }
    false
}

/// Says it on the real standard error, which no test harness holds back.
pub fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody may be listening.
    let _ = writeln!(out, "{line}");
}

fn is_permitted(way: &[&str]) -> bool {
    let tried = Command::new("unshare")
        .args(way)
        .args(["sh", "-c", PREPARE, "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

fn turn_file() -> PathBuf {
    std::env::temp_dir().join("causeway-tests-in-a-namespace.lock")
}
