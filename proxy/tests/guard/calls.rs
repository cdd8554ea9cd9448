//! System calls of the worker, counted by strace: of 64 connections at a time, as the targets want it. The data path runs in
//! a process of its own, this very program with [`CHILD`] set, so that nothing else is traced.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::PoisonError;

use crate::limits::{CALLS_OF_A_CONNECTION, CALLS_OF_A_ROUND_TRIP};
use crate::stage::{self, Gateway, LOCAL, connected, hello, receive};
use crate::{ALONE, say};

/// Connections at a time.
const AT_ONCE: usize = 64;

/// Connections that each of those makes in turn, and round trips on each.
const IN_TURN: usize = 20;

/// Bytes of a round trip.
const BYTES: usize = 128;

/// Bytes of an answer.
const ANSWER: usize = 256;

/// The variable that makes this program the data path: the address of its endpoint.
const CHILD: &str = "CAUSEWAY_GUARD_ENDPOINT";

/// The tracer is a grandchild, so that the data path itself is our child; nothing but calls is written, a file a thread.
const OPTIONS: [&str; 4] = ["-D", "-ff", "-qqq", "--signal=none"];

#[test]
fn a_connection_and_a_round_trip_make_few() {
    if let Ok(endpoint) = std::env::var(CHILD) {
        serve(endpoint.parse().expect("an address"));
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(why) = can_trace() {
        say(&format!("== SKIPPED: system calls are not counted: {why}"));
        return;
    }
    let hello = hello();

    let mut traced = Traced::start(backend(hello.len(), Manner::Answer));
    connections(traced.address, &hello, 1);
    traced.until_idle();
    let before = traced.calls();
    connections(traced.address, &hello, IN_TURN);
    traced.until_idle();
    let count = traced.calls() - before;
    CALLS_OF_A_CONNECTION.hold(count as f64 / (AT_ONCE * IN_TURN) as f64);
    drop(traced);

    let traced = Traced::start(backend(hello.len(), Manner::Echo));
    let mut clients: Vec<TcpStream> = (0..AT_ONCE)
        .map(|_| connected(traced.address, &hello))
        .collect();
    round_trips(&mut clients, 1);
    let before = traced.calls();
    round_trips(&mut clients, IN_TURN);
    let count = traced.calls() - before;
    CALLS_OF_A_ROUND_TRIP.hold(count as f64 / (AT_ONCE * IN_TURN) as f64);
}

/// The child: a data path before this endpoint, until standard input ends.
fn serve(endpoint: SocketAddr) {
    let gateway = Gateway::start(endpoint);
    println!("{MARK}{}", gateway.address());
    for _ in std::io::stdin().lines() {
        while gateway.proxy.open() > 0 {
            std::thread::yield_now();
        }
        println!("{IDLE}");
    }
    gateway.stop();
}

/// What the child says once it serves, and whenever nothing is open after it was asked.
const MARK: &str = "serving on ";
const IDLE: &str = "nothing is open";

/// A data path whose system calls strace writes down.
struct Traced {
    address: SocketAddr,
    child: Child,
    input: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
    worker: PathBuf,
}

impl Traced {
    fn start(endpoint: SocketAddr) -> Self {
        let name = format!("causeway-guard-{}-{}", std::process::id(), endpoint.port());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let test = "calls::a_connection_and_a_round_trip_make_few";
        let mut child = Command::new("strace")
            .args(OPTIONS)
            .arg("-o")
            .arg(folder.join("calls"))
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, endpoint.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let input = child.stdin.take();
        let said = BufReader::new(child.stdout.take().expect("its standard output"));
        let mut said = said.lines();
        let address = heard(&mut said, MARK).parse().expect("an address");
        Self {
            address,
            said,
            child,
            input,
            worker: worker(&folder),
            folder,
        }
    }

    /// Waits until no connection is open.
    fn until_idle(&mut self) {
        let input = self.input.as_mut().expect("open until the end");
        input.write_all(b"\n").expect("it hears");
        heard(&mut self.said, IDLE);
    }

    /// Calls of the worker so far. In a debug build the standard library asks at every close whether the descriptor is open
    /// (`fcntl` with F_GETFD), in a release build it does not.
    fn calls(&self) -> usize {
        let text = std::fs::read_to_string(&self.worker).expect("a trace");
        let lines = text.lines().filter(|line| line.contains('('));
        lines.filter(|line| !line.contains("F_GETFD")).count()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may have ended by itself.
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What stands behind this mark in the next line that has it; the test harness says things of its own.
fn heard(said: &mut Lines<BufReader<ChildStdout>>, mark: &str) -> String {
    let behind = |line: std::io::Result<String>| {
        let line = line.expect("text");
        line.split_once(mark)
            .map(|(_, behind)| behind.trim().to_owned())
    };
    let found = said.find_map(behind);
    found.unwrap_or_else(|| panic!("it ended without '{mark}'"))
}

/// Whether anything can be traced here.
fn can_trace() -> Result<(), String> {
    let status = Command::new("strace")
        .args(OPTIONS)
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("strace may not trace here ({status})")),
        Err(fault) => Err(format!(
            "strace does not start ({fault}); make tools installs it"
        )),
    }
}

/// The trace of the thread that serves connections.
fn worker(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut traces = entries.map(|entry| entry.expect("an entry").path());
    let is_worker = |trace: &PathBuf| {
        let thread = trace.extension().and_then(|thread| thread.to_str());
        let name = std::fs::read_to_string(format!("/proc/{}/comm", thread.unwrap_or_default()));
        name.is_ok_and(|name| name.starts_with("worker"))
    };
    traces.find(is_worker).expect("the trace of a worker")
}

/// How an endpoint treats a hello.
#[derive(Clone, Copy)]
enum Manner {
    /// It answers and closes.
    Answer,
    /// It sends back whatever follows.
    Echo,
}

/// An endpoint, a thread for each connection; it ends with the process.
fn backend(hello: usize, manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind((LOCAL, 0)).expect("bound");
    let address = listener.local_addr().expect("an address");
    let answer = move |mut served: TcpStream| {
        served.set_nodelay(true).expect("a socket");
        receive(&mut served, hello);
        match manner {
            Manner::Answer => served.write_all(&[7; ANSWER]).expect("sent"),
            Manner::Echo => {
                let mut bytes = [0; BYTES];
                while let Ok(count @ 1..) = served.read(&mut bytes) {
                    served.write_all(&bytes[..count]).expect("sent");
                }
            }
        }
    };
    std::thread::spawn(move || {
        while let Ok((served, _)) = listener.accept() {
            std::thread::spawn(move || answer(served));
        }
    });
    address
}

/// So many connections one after the other, from each of [`AT_ONCE`] threads.
fn connections(gateway: SocketAddr, hello: &[u8], count: usize) {
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                for _ in 0..count {
                    let mut client = connected(gateway, hello);
                    stage::receive(&mut client, ANSWER);
                    let mut rest = Vec::new();
                    client.read_to_end(&mut rest).expect("an end");
                    assert!(rest.is_empty());
                }
            });
        }
    });
}

/// So many round trips on each of these connections, all at a time.
fn round_trips(clients: &mut [TcpStream], count: usize) {
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                for _ in 0..count {
                    client.write_all(&[7; BYTES]).expect("sent");
                    receive(client, BYTES);
                }
            });
        }
    });
}
