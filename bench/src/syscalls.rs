//! Counts what system calls the gateway's worker makes for a unit of work, with strace. The count has no clock in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

use crate::backend::{self, Manner};
use crate::load::{self, Plan, Work};

/// Connections in flight, as the targets want it.
const CONNECTIONS: usize = 64;
/// Bytes of a round trip, likewise.
const BYTES: usize = 128;

/// Prints strace's table for new connections and for round trips, `count` of each.
///
/// # Errors
/// When the gateway or strace does not start, and when load fails.
pub async fn run(binary: &Path, count: usize) -> Result<()> {
    for (work, manner) in [
        (Work::Connections, Manner::Answer),
        (Work::RoundTrips, Manner::Echo),
    ] {
        let (endpoint, serving) = backend::serve((Ipv4Addr::LOCALHOST, 0).into(), manner).await?;
        let table = counted(binary, endpoint, work, count).await?;
        serving.abort();
        println!("{work:?}: {count} units, {CONNECTIONS} connections\n{table}");
    }
    Ok(())
}

async fn counted(binary: &Path, endpoint: SocketAddr, work: Work, count: usize) -> Result<String> {
    let folder = std::env::temp_dir().join(format!("bench-syscalls-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    // Not yet bound by anybody: the gateway says so loudly when it is taken meanwhile.
    let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    std::fs::write(folder.join("gateway.yaml"), gateway_yaml(address))?;
    std::fs::write(folder.join("mesh.yaml"), mesh_yaml(endpoint))?;
    let gateway = Ended(
        Command::new(binary)
            .args(["run", "--config"])
            .arg(folder.join("gateway.yaml"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?,
    );
    up(address).await?;
    let warm = Plan::new(
        address,
        work,
        CONNECTIONS,
        CONNECTIONS,
        BYTES,
        sidecar::HELLO_NAME,
    )?;
    load::run(warm).await?;
    let output = folder.join("strace");
    let worker = worker(gateway.0.id())?;
    let mut strace = Ended(
        Command::new("strace")
            .args(["-c", "-U", "calls,errors,name", "-p", &worker, "-o"])
            .arg(&output)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start strace: install it")?,
    );
    attached(&worker).await?;
    let plan = Plan::new(
        address,
        work,
        count,
        CONNECTIONS,
        BYTES,
        sidecar::HELLO_NAME,
    )?;
    load::run(plan).await?;
    // strace writes its table when what it traces has ended.
    drop(gateway);
    strace.0.wait()?;
    let table = std::fs::read_to_string(&output)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(table)
}

/// A child that is killed and waited for when it goes out of scope.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The thread that serves connections.
fn worker(process: u32) -> Result<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let entry = entry?;
        let name = std::fs::read_to_string(entry.path().join("comm"))?;
        if name.starts_with("worker") {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
        names.push(name.trim().to_owned());
    }
    bail!("the gateway has no thread called worker*, only {names:?}")
}

async fn up(address: SocketAddr) -> Result<()> {
    for _ in 0..200 {
        if TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the gateway does not listen on {address} after 10 s")
}

async fn attached(thread: &str) -> Result<()> {
    for _ in 0..200 {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status"))?;
        if !status.contains("TracerPid:\t0\n") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("strace did not attach to thread {thread} in 10 s: is ptrace allowed?")
}

fn gateway_yaml(address: SocketAddr) -> String {
    format!(
        r#"cluster: us
network: network1
locality: us/a
workers: 1
listeners:
  - {{address: "{address}", role: inbound}}
admin: {{address: "127.0.0.1:0"}}
stats: {{address: "127.0.0.1:0"}}
ready: {{address: "127.0.0.1:0"}}
source: {{file: mesh.yaml}}
"#
    )
}

fn mesh_yaml(endpoint: SocketAddr) -> String {
    format!(
        r"services:
  - host: hello.default.svc.cluster.local
    ports:
      - {{number: 5000, name: http}}
    endpoints:
      - {{address: {}, ports: {{http: {}}}, cluster: us, network: network1, locality: us/a}}
",
        endpoint.ip(),
        endpoint.port()
    )
}
