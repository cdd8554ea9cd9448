//! A file that cannot be read for a while, goes away, or changes in ways that its size and time do not show.

use std::fs::{self, File};

use tempfile::TempDir;

use super::*;
use crate::file::{Source, start};

fn mesh(endpoints: usize) -> String {
    let endpoint = |n| format!("      - {{address: 10.0.0.{n}}}\n");
    let endpoints: String = (1..=endpoints).map(endpoint).collect();
    format!(
        "services:\n  - host: hello.example\n    ports: [{{number: 80}}]\n    endpoints:\n{endpoints}"
    )
}

/// A file with two endpoints.
fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mesh.yaml");
    fs::write(&path, mesh(2)).expect("written");
    (folder, path)
}

fn endpoints(snapshot: &Snapshot) -> usize {
    let services = snapshot.services.iter();
    services.map(|service| service.endpoints.len()).sum()
}

/// Waits for a status, for 20 s of a clock that stands still while anything is done.
async fn until(source: &mut Source, holds: impl Fn(&FileStatus) -> bool) {
    let waiting = timeout(Duration::from_secs(20), source.status.wait_for(&holds));
    let held = waiting.await.is_ok_and(|waited| waited.is_ok());
    assert!(held, "{:?}", source.status.borrow());
}

/// As with no descriptor left: the file stays as it is, so nothing about it says that it can be read again.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_tried_again() {
    let (_folder, path) = file();
    let started = Follower::start(path.clone()).await;
    let (mut follower, snapshots, mut status) = started.unwrap_or_else(|fault| panic!("{fault}"));
    fs::write(&path, mesh(3)).expect("written");
    follower.seen = fingerprint(&path);
    for _ in 0..3 {
        let fault = FileError::whole("mesh.yaml", "cannot be read: Too many open files");
        follower.take(Err(Fault::Unread(fault)));
    }
    assert_eq!(status.borrow().failures, 1, "it is one failure");
    assert_ne!(status.borrow().last_error, None);
    assert_eq!(endpoints(&snapshots.borrow()), 2);
    let following = tokio::spawn(follower.run());
    let good = status.wait_for(|status| status.last_error.is_none());
    let waited = timeout(Duration::from_secs(20), good).await;
    assert!(
        waited.is_ok_and(|waited| waited.is_ok()),
        "it is tried again"
    );
    assert_eq!(endpoints(&snapshots.borrow()), 3);
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_goes_away_and_comes_back_is_followed() {
    let (_folder, path) = file();
    let mut source = start(path.clone()).await.expect("a good file");
    let before = source.snapshots.borrow().clone();
    fs::remove_file(&path).expect("removed");
    until(&mut source, |status| status.failures == 1).await;
    // Its absence is said once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(source.status.borrow().failures, 1);
    let said = source.status.borrow().last_error.clone();
    assert!(said.is_some_and(|said| said.contains("cannot be read")));
    assert!(Arc::ptr_eq(&before, &source.snapshots.borrow()));
    fs::write(&path, mesh(3)).expect("written");
    until(&mut source, |status| status.last_error.is_none()).await;
    assert_eq!(endpoints(&source.snapshots.borrow()), 3);
}

/// An editor that sets the time back, and a mode that changes, are seen by the time of the last change of anything.
#[tokio::test(start_paused = true)]
async fn an_edit_that_keeps_size_and_time_is_followed() {
    let (_folder, path) = file();
    let mut source = start(path.clone()).await.expect("a good file");
    let about = || fs::metadata(&path).expect("it is there");
    let before = about();
    let edited = mesh(2).replace("10.0.0.2", "10.0.0.9");
    // The kernel's clock for files may stand still for some milliseconds.
    while (about().ctime(), about().ctime_nsec()) == (before.ctime(), before.ctime_nsec()) {
        fs::write(&path, &edited).expect("written");
        let file = File::options().write(true).open(&path).expect("open");
        let modified = before.modified().expect("a time");
        file.set_modified(modified).expect("set");
    }
    let same = |about: &Metadata| (about.len(), about.mtime(), about.mtime_nsec(), about.ino());
    assert_eq!(same(&about()), same(&before));
    until(&mut source, |status| status.reloads == 2).await;
    let text = serde_json::to_string(&**source.snapshots.borrow()).expect("JSON");
    assert!(text.contains("10.0.0.9"), "{text}");
}

/// The file grows by a line between any two looks, and nearly each of its beginnings is a good file.
#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_is_not_read_before_it_is_whole() {
    let (_folder, path) = file();
    let mut source = start(path.clone()).await.expect("a good file");
    source.snapshots.mark_unchanged();
    let text = mesh(20);
    let mut written = String::new();
    for line in text.split_inclusive('\n') {
        written += line;
        fs::write(&path, &written).expect("written");
        tokio::time::sleep(LOOK * 9 / 10).await;
        let whole = written == text;
        let changed = source.snapshots.has_changed().expect("it is followed");
        assert!(!changed || whole, "taken at {written}");
    }
    until(&mut source, |status| status.reloads == 2).await;
    assert_eq!(endpoints(&source.snapshots.borrow()), 20);
    assert_eq!(source.status.borrow().failures, 0);
}
