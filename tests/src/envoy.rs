//! A real Envoy as a child, from where `make peers` puts it. It must decide nothing that a story is about.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{exchange, until_async};

/// The version of `bench/peers.sh`.
const BINARY: &str = "../target/peers/envoy-1.40.0/envoy";

/// Where Envoy is, or why the story that asks for it is skipped.
///
/// # Errors
/// That it is not there, and how to get it.
pub fn find_envoy() -> Result<PathBuf, String> {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join(BINARY);
    match binary.is_file() {
        true => Ok(binary),
        false => Err(format!(
            "there is no {}: run `make peers`",
            binary.display()
        )),
    }
}

/// A running Envoy, ended when this is dropped.
pub struct Envoy {
    process: Child,
    admin: SocketAddr,
    folder: TempDir,
}

impl Envoy {
    /// Starts it with this bootstrap, which has its admin server at `admin`, and waits until that answers.
    ///
    /// # Panics
    /// When it does not start; with what it said.
    pub async fn start(binary: &Path, bootstrap: &str, admin: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("envoy.yaml");
        std::fs::write(&file, bootstrap).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let process = Command::new(binary)
            .args([
                "--concurrency",
                "1",
                "--log-level",
                "warning",
                "--config-path",
            ])
            .arg(&file)
            // So that what it logs can be read at once.
            .args(["--file-flush-interval-msec", "10"])
            // Otherwise two of them share memory and refuse to start.
            .arg("--use-dynamic-base-id")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Envoy can be started");
        let mut envoy = Self {
            process,
            admin,
            folder,
        };
        until_async("Envoy's admin server answers", async || {
            tokio::net::TcpStream::connect(admin).await.is_ok()
        })
        .await;
        let ended = envoy.process.try_wait().expect("a child");
        assert!(ended.is_none(), "Envoy has ended: {}", envoy.log());
        envoy
    }

    /// What it said.
    ///
    /// # Panics
    /// When its log is gone.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// The hosts of a cluster as it has them: address, priority, weight, state.
    ///
    /// # Panics
    /// When its answer is not what Envoy's documentation says.
    pub async fn hosts(&self, cluster: &str) -> Vec<(String, u64, u64, String)> {
        let answer = self.ask("/clusters?format=json").await;
        let clusters: Value = serde_json::from_str(&answer).expect("JSON");
        let all = clusters["cluster_statuses"]
            .as_array()
            .into_iter()
            .flatten();
        let of_cluster = all.filter(|one| one["name"] == cluster);
        let hosts =
            of_cluster.flat_map(|one| one["host_statuses"].as_array().into_iter().flatten());
        let mut hosts: Vec<_> = hosts
            .map(|host| {
                let address = &host["address"]["socket_address"];
                let port = &address["port_value"];
                let ip = address["address"].as_str().expect("an address");
                let state = host["health_status"]["eds_health_status"].as_str();
                (
                    format!("{ip}:{port}"),
                    host["priority"].as_u64().unwrap_or(0),
                    host["weight"].as_u64().unwrap_or(0),
                    state.unwrap_or("-").to_owned(),
                )
            })
            .collect();
        hosts.sort();
        hosts
    }

    /// An answer of its admin server, which speaks no HTTP/1.0; its chunks put together (RFC 9112 section 7.1).
    async fn ask(&self, path: &str) -> String {
        let host = self.admin;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = exchange(self.admin, request.as_bytes()).await;
        let answer = answer.expect("Envoy's admin server answers");
        if !answer.head.contains("chunked") {
            return answer.body;
        }
        let (mut rest, mut body) = (&*answer.body, String::new());
        while let Some((length, after)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).expect("a chunk's length");
            body += &after[..length];
            rest = after[length..].trim_start_matches("\r\n");
        }
        body
    }

    /// One of its counters or gauges; 0 while it has none of that name.
    pub async fn figure(&self, name: &str) -> u64 {
        let answer = self.ask(&format!("/stats?filter=^{name}$")).await;
        let line = answer.lines().next().unwrap_or_default();
        let value = line
            .rsplit_once(": ")
            .and_then(|(_, value)| value.parse().ok());
        value.unwrap_or(0)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
