//! The binary as a child, and a crowd of clients as another: what needs more descriptors than one process has, or fewer.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::until::PATIENCE;
use crate::{gateway_yaml, get, metric, until, until_async};

/// A running `causeway run`, ended when this is dropped.
pub struct Child {
    process: std::process::Child,
    folder: TempDir,
    inbound: SocketAddr,
    stats: SocketAddr,
    ready: SocketAddr,
    admin: SocketAddr,
}

impl Child {
    /// Starts the binary with `more` lines of configuration and this mesh file; with `descriptors` as its limit of open
    /// files, where given. Waits until it listens.
    ///
    /// # Panics
    /// When it does not come so far; with what it said.
    pub async fn start(binary: &str, more: &str, mesh: &str, descriptors: Option<u64>) -> Self {
        Self::listening(spawn(binary, more, mesh, &limit(descriptors), &["sh"])).await
    }

    /// The same in a mount namespace of its own, where the C library is told by this text where names are looked up (and to ask
    /// the hosts file and DNS alone). Only for tests that run [`in_namespace`](crate::in_namespace).
    ///
    /// # Panics
    /// When it does not come so far; with what it said.
    pub async fn start_resolving(binary: &str, mesh: &str, resolv_conf: &str) -> Self {
        // Where there is no such file, the C library does that anyway (nsswitch.conf(5)).
        let script = format!(
            "set -e\nfolder=$(dirname \"$1\")\n\
             printf '%s' '{resolv_conf}' > \"$folder/resolv.conf\"\n\
             mount --bind \"$folder/resolv.conf\" /etc/resolv.conf\n\
             echo 'hosts: files dns' > \"$folder/nsswitch.conf\"\n\
             [ ! -e /etc/nsswitch.conf ] || mount --bind \"$folder/nsswitch.conf\" /etc/nsswitch.conf\n"
        );
        let shell = ["unshare", "--mount", "sh"];
        Self::listening(spawn(binary, "", mesh, &script, &shell)).await
    }

    async fn listening((process, folder): (std::process::Child, TempDir)) -> Self {
        let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let mut child = Self {
            process,
            folder,
            inbound: unknown,
            stats: unknown,
            ready: unknown,
            admin: unknown,
        };
        let log = child.folder.path().join("log");
        until_async("the gateway listens", async || {
            let lines = lines(&log);
            lines.iter().any(|line| !line["fields"]["stats"].is_null()) || has_failed(&log)
        })
        .await;
        let lines = lines(&log);
        let address = |key: &str, role: Option<&str>| {
            let line = lines.iter().find(|line| {
                let fields = &line["fields"];
                !fields[key].is_null() && role.is_none_or(|role| fields["role"] == role)
            });
            let found = line.and_then(|line| line["fields"][key].as_str()?.parse().ok());
            found.unwrap_or_else(|| panic!("no {key} in {}", child.log()))
        };
        (child.inbound, child.stats, child.ready, child.admin) = (
            address("address", Some("inbound")),
            address("stats", None),
            address("ready", None),
            address("admin", None),
        );
        child
    }

    /// Runs the binary to its end: how it ended, and what it said.
    ///
    /// # Panics
    /// When it does not end within two minutes.
    pub async fn run_to_end(
        binary: &str,
        more: &str,
        mesh: &str,
        descriptors: Option<u64>,
    ) -> (ExitStatus, String) {
        let (mut process, folder) = spawn(binary, more, mesh, &limit(descriptors), &["sh"]);
        let waiting = tokio::task::spawn_blocking(move || {
            let started = std::time::Instant::now();
            loop {
                match process.try_wait().expect("a child") {
                    Some(status) => return Some(status),
                    None if started.elapsed() > PATIENCE => break,
                    None => std::thread::sleep(std::time::Duration::from_millis(10)),
                }
            }
            // It is ours, and it hangs.
            let _ = process.kill();
            let _ = process.wait();
            None
        });
        let status = waiting.await.expect("waited");
        let said = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let status = status.unwrap_or_else(|| panic!("it did not end: {said}"));
        (status, said)
    }

    /// Sends it this signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not within two minutes.
    pub async fn ended(&mut self) -> ExitStatus {
        let process = RefCell::new(&mut self.process);
        until("it ends", || {
            let ended = process.borrow_mut().try_wait();
            ended.expect("a child").is_some()
        })
        .await;
        self.process.wait().expect("it has ended")
    }

    /// Where its inbound listener is.
    #[must_use]
    pub fn inbound(&self) -> SocketAddr {
        self.inbound
    }

    /// Where readiness is asked for.
    #[must_use]
    pub fn ready(&self) -> SocketAddr {
        self.ready
    }

    /// Where its admin API is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The lines of its access log so far.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("access.log"));
        let text = text.expect("an access log");
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Whether there is an access log.
    #[must_use]
    pub fn has_access_log(&self) -> bool {
        self.folder.path().join("access.log").exists()
    }

    /// Moves the access log away, as who rotates logs does.
    ///
    /// # Panics
    /// When there is none.
    pub fn move_access_log_away(&self) {
        let at = |name: &str| self.folder.path().join(name);
        std::fs::rename(at("access.log"), at("access.log.1")).expect("moved");
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its metrics, as text.
    pub async fn metrics(&self) -> String {
        get(self.stats, "/metrics").await.body
    }

    /// One of its metrics; see [`metric`].
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        metric(&self.metrics().await, name, labels)
    }

    /// How many connections have ended for this reason.
    pub async fn count(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        let name = "causeway_connections_closed_total";
        self.metric(name, &[&label]).await
    }

    /// Waits until no connection is open.
    pub async fn until_empty(&self) {
        until_async("no connection is open", async || {
            self.metric("causeway_open_connections", &[]).await == 0.0
        })
        .await;
    }

    /// The most memory that was ever resident, in bytes.
    ///
    /// # Panics
    /// Where `/proc` does not say.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory of its own that is resident, in bytes: not its code, nor files.
    ///
    /// # Panics
    /// Where `/proc` does not say.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.status("RssAnon:")
    }

    fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.expect("a field in kB") * 1_024
    }

    /// The names of its threads.
    ///
    /// # Panics
    /// Where `/proc` does not say.
    #[must_use]
    pub fn threads(&self) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id()));
        // One that has ended since has no name.
        let names = threads
            .expect("a process")
            .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim_end().to_owned()).collect()
    }

    /// Puts another mesh file in place of the one it follows.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_mesh(&self, mesh: &str) {
        let at = |name: &str| self.folder.path().join(name);
        std::fs::write(at("mesh.new"), mesh).expect("written");
        std::fs::rename(at("mesh.new"), at("mesh.yaml")).expect("moved");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Many clients, in a process of their own; gone when this is dropped.
pub struct Crowd {
    process: std::process::Child,
    orders: std::process::ChildStdin,
    reports: BufReader<std::process::ChildStdout>,
}

impl Crowd {
    /// Starts `count` clients of this gateway that behave like `what` (see `tests/bin/crowd.rs`).
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn start(binary: &str, gateway: SocketAddr, count: usize, what: &str) -> Self {
        let mut process = Command::new(binary)
            .args([&gateway.to_string(), &count.to_string(), what])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the crowd starts");
        let orders = process.stdin.take().expect("its standard input");
        let reports = BufReader::new(process.stdout.take().expect("its standard output"));
        Self {
            process,
            orders,
            reports,
        }
    }

    /// Its next report; waits for it, while the runtime (one of several threads) goes on.
    ///
    /// # Panics
    /// When the crowd has ended.
    pub fn report(&mut self) -> Value {
        let mut line = String::new();
        let read = tokio::task::block_in_place(|| self.reports.read_line(&mut line));
        read.expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|fault| panic!("{fault} in '{line}'"))
    }

    /// Has it go on, and waits for its report.
    ///
    /// # Panics
    /// When the crowd has ended.
    pub fn again(&mut self) -> Value {
        self.orders.write_all(b"again\n").expect("it hears");
        self.report()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Raises this process' soft limit of open files to the hard one, for itself and its children; gives what holds.
#[must_use]
pub fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// What has a shell lower its limit of open files: a process cannot lower another's before its first instruction.
fn limit(descriptors: Option<u64>) -> String {
    descriptors.map_or_else(String::new, |limit| format!("ulimit -n {limit} && "))
}

/// Has a shell do what `first` says, and become the gateway.
fn spawn(
    binary: &str,
    more: &str,
    mesh: &str,
    first: &str,
    shell: &[&str],
) -> (std::process::Child, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let more = format!("log: {{format: json}}\n{more}");
    let config = gateway_yaml(IpAddr::V4(Ipv4Addr::LOCALHOST), &more);
    std::fs::write(at("gateway.yaml"), config).expect("written");
    std::fs::write(at("mesh.yaml"), mesh).expect("written");
    let log = std::fs::File::create(at("log")).expect("a log");
    let process = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", &format!("{first}exec \"$0\" run --config \"$1\"")])
        .args([Path::new(binary), &at("gateway.yaml")])
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a shell");
    (process, folder)
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Whether the binary has said why it ends: the one line that is no JSON.
fn has_failed(log: &Path) -> bool {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().any(|line| line.starts_with("causeway:"))
}
