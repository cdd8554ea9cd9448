//! The demo as a user runs it: it ends by itself, says how it went, and tells by its exit code whether everybody was served.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{ALONE, CAUSEWAY};

/// What the summary says of connections that failed, up to their number.
const FAILED: &str = "connections that failed to find a live endpoint: ";

/// The demo with these arguments, in a shell that first does `before`. Its output is no terminal.
fn demo(before: &str, arguments: &[&str]) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" demo \"$@\"")])
        .arg(CAUSEWAY)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs")
}

/// How it ended, and what it said on standard output and standard error.
fn to_its_end(demo: Child) -> (ExitStatus, String, String) {
    let output = demo.wait_with_output().expect("its end");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status, text(output.stdout), text(output.stderr))
}

/// How many connections failed, by the summary.
fn failed(said: &str) -> u64 {
    let (_, count) = said.split_once(FAILED).unwrap_or_else(|| panic!("{said}"));
    let count = count.split(' ').next().and_then(|count| count.parse().ok());
    count.expect("a number")
}

#[test]
fn it_plays_its_script_loses_nobody_and_ends() {
    let _alone = ALONE.blocking_lock();
    let (status, said, complained) = to_its_end(demo("", &["--for", "8"]));
    assert!(status.success(), "{status}: {said}{complained}");
    assert_eq!(failed(&said), 0, "{said}");
    assert_eq!(complained, "");
    assert!(!said.contains('\x1b'), "nothing steers a terminal: {said}");
    for scene in 1..=5 {
        assert!(said.contains(&format!("\nscene {scene} of 5: ")), "{said}");
    }
    // The clients of each region: new connections and requests on those held open.
    let (_, summary) = said.split_once("\nsummary after ").expect("a summary");
    for region in ["eu", "us", "ap"] {
        let row = summary.lines().find(|line| line.starts_with(region));
        let cells: Vec<_> = row.expect("its row").split_whitespace().collect();
        let counts = [cells[1], cells[2]].map(|count| count.parse::<u64>().expect("a number"));
        assert!(counts.iter().all(|count| *count > 20), "{summary}");
    }
    assert!(
        summary.contains("requests in flight on an endpoint at the moment it was killed: "),
        "{summary}"
    );
}

#[test]
fn ctrl_c_ends_it_cleanly() {
    let _alone = ALONE.blocking_lock();
    let mut demo = demo("", &["--for", "0", "--no-tty"]);
    let mut said = BufReader::new(demo.stdout.take().expect("its standard output"));
    let mut line = String::new();
    while !line.contains("s  eu ") {
        line.clear();
        assert!(said.read_line(&mut line).expect("text") > 0, "it ended");
    }
    let pid = i32::try_from(demo.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::INT).expect("told");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    let (status, _, complained) = to_its_end(demo);
    assert!(status.success(), "{status}: {rest}{complained}");
    assert_eq!(failed(&rest), 0, "{rest}");
    assert_eq!(complained, "");
}

/// So few descriptors that gateways turn clients away: the endpoints live, and somebody was not served.
#[test]
fn it_fails_when_somebody_was_not_served_who_could_have_been() {
    let _alone = ALONE.blocking_lock();
    let (status, said, complained) = to_its_end(demo("ulimit -n 130;", &["--for", "4"]));
    assert_eq!(status.code(), Some(1), "{said}{complained}");
    assert!(failed(&said) > 0, "{said}");
    // The first ones are told word for word.
    assert!(said.contains("\n  at "), "{said}");
}
