//! A real Prometheus that scrapes gateways every second, and its tools. It must not judge what it finds.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{exchange, say};

/// A running server, ended when this is dropped.
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

/// What to scrape: its address, and the labels that its series get.
pub type Target<'a> = (SocketAddr, &'a [(&'a str, &'a str)]);

impl Prometheus {
    /// Starts one. Says loudly when none is installed, and gives nothing.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(targets: &[Target<'_>]) -> Option<Self> {
        let mut prometheus = tool("prometheus")?;
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        let targets: Vec<Value> = targets
            .iter()
            .map(|(address, labels)| {
                let labels = labels
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
                serde_json::json!({
                    "targets": [address.to_string()],
                    "labels": labels.collect::<serde_json::Map<_, _>>(),
                })
            })
            .collect();
        // JSON is YAML.
        let text = serde_json::json!({"scrape_configs": [{
            "job_name": "causeway",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "static_configs": targets,
        }]});
        std::fs::write(&config, text.to_string()).expect("written");
        // Free a moment ago; Prometheus cannot be given a socket. Nobody else takes ports of this address.
        let free = std::net::TcpListener::bind((sidecar::fresh_loopback(), 0));
        let address = free.and_then(|listener| listener.local_addr());
        let address = address.expect("a free port");
        let data = folder.path().join("data");
        let process = prometheus
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Some(Self {
            process,
            address,
            _folder: folder,
        })
    }

    /// What a query gives now: the list of series, each with `metric` and `value`; nothing while it does not answer, and a
    /// query's fault as such.
    ///
    /// # Panics
    /// When Prometheus refuses the query.
    pub async fn query(&self, query: &str) -> Option<Vec<Value>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        // HTTP/1.0: the body comes in one piece.
        let request = format!(
            "GET /api/v1/query?query={encoded} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        );
        let answer = exchange(self.address, request.as_bytes()).await.ok()?;
        assert_ne!(answer.status, 400, "{query}: {}", answer.body);
        if answer.status != 200 {
            return None;
        }
        answer.json()["data"]["result"].as_array().cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A tool of Prometheus' package. Says loudly when it is missing, and gives nothing.
#[must_use]
pub fn tool(name: &str) -> Option<Command> {
    let there = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if there.is_ok_and(|status| status.success()) {
        return Some(Command::new(name));
    }
    say(&format!(
        "== SKIPPED what needs {name}: it is not installed; `make tools` does so where it may"
    ));
    None
}

/// Has promtool look for what is wrong with a scrape. Says loudly when it is not installed, and looks at nothing.
///
/// # Panics
/// When it finds something; with what it says.
pub fn check_metrics(scrape: &str) {
    let Some(mut promtool) = tool("promtool") else {
        return;
    };
    let mut child = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(scrape.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
