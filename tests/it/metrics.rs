//! What Prometheus gets: names and labels that tools expect, counts that follow what happens, and what promtool and a real
//! server make of it.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use gateway::config::Role;
use tests::{Mesh, get, hello_service, metric, until_async};

use crate::reasons::before_one;

async fn scrape(mesh: &Mesh) -> String {
    get(mesh.app.addresses().stats, "/stats/prometheus")
        .await
        .body
}

/// Says loudly what is missing, and gives nothing.
fn tool(name: &str) -> Option<Command> {
    static SAID: AtomicBool = AtomicBool::new(false);
    let there = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if there.is_ok_and(|status| status.success()) {
        return Some(Command::new(name));
    }
    if !SAID.swap(true, Relaxed) {
        println!("SKIPPED: {name} is not installed; `make tools` does so where it may");
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_counted_while_a_connection_lives() {
    let (mesh, _backend) = before_one(|config| {
        config.workload = "eastwest".to_owned();
        config.namespace = "istio-system".to_owned();
    })
    .await;
    let count = async |name: &str| {
        let text = scrape(&mesh).await;
        let labels = [
            "destination_service=\"hello.default.svc.cluster.local\"",
            "source_workload=\"eastwest\"",
            "source_workload_namespace=\"istio-system\"",
            "reporter=\"source\"",
            "response_flags=\"-\"",
        ];
        metric(&text, name, &labels)
    };
    assert_eq!(count("istio_tcp_connections_opened_total").await, 0.0);
    let mut connection = mesh
        .client(Role::Inbound)
        .connect()
        .await
        .expect("a connection");
    connection.ask().await.expect("an answer");
    until_async("its bytes are counted", async || {
        count("istio_tcp_sent_bytes_total").await > 500.0
    })
    .await;
    assert!(count("istio_tcp_received_bytes_total").await > 500.0);
    assert_eq!(count("istio_tcp_connections_opened_total").await, 1.0);
    assert_eq!(count("istio_tcp_connections_closed_total").await, 0.0);
    connection.close().await;
    until_async("its end is counted", async || {
        count("istio_tcp_connections_closed_total").await == 1.0
    })
    .await;

    mesh.publish(Vec::new(), &[]).await;
    let text = scrape(&mesh).await;
    assert!(
        !text.contains("istio_tcp"),
        "the service is gone, and so are its series"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_envoys_flags() {
    let (mesh, backend) = before_one(|_| {}).await;
    backend
        .set(sidecar::Behaviour::Refuse)
        .await
        .expect("it refuses");
    mesh.client(Role::Inbound)
        .ask()
        .await
        .expect_err("nobody is there");
    mesh.publish(vec![hello_service(Vec::new())], &[]).await;
    mesh.client(Role::Inbound)
        .ask()
        .await
        .expect_err("there is no endpoint");
    until_async("both are counted", async || {
        let text = scrape(&mesh).await;
        let closed = |flags| metric(&text, "istio_tcp_connections_closed_total", &[flags]);
        closed("response_flags=\"UF,URX\"") >= 1.0 && closed("response_flags=\"UH\"") == 1.0
    })
    .await;
    let text = scrape(&mesh).await;
    assert!(metric(&text, "causeway_attempts_total", &["outcome=\"refused\""]) >= 1.0);
    assert!(metric(&text, "causeway_hello_seconds_count", &[]) >= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_blame() {
    let Some(mut promtool) = tool("promtool") else {
        return;
    };
    let (mesh, _backend) = before_one(|_| {}).await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    let text = scrape(&mesh).await;
    let mut child = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// A server that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_it() {
    let Some(mut prometheus) = tool("prometheus") else {
        return;
    };
    let (mesh, _backend) = before_one(|_| {}).await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("prometheus.yml");
    let target = mesh.app.addresses().stats;
    let text = format!(
        "scrape_configs: [{{job_name: causeway, scrape_interval: 100ms, scrape_timeout: 100ms, static_configs: [{{targets: ['{target}']}}]}}]\n"
    );
    std::fs::write(&config, text).expect("written");
    // Free a moment ago; Prometheus cannot be given a socket.
    let free =
        std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let address: SocketAddr = free.expect("a free port");
    let child = prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _ended = Ended(child.expect("it starts"));
    let query = async |query: &str| {
        let path = format!("/api/v1/query?query={query}");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = tests::exchange(address, request.as_bytes()).await.ok()?;
        // The body may be chunked; what is looked for stands in one piece.
        (answer.status == 200).then_some(answer.body)
    };
    until_async("it has Istio's metric", async || {
        let found = query("istio_tcp_connections_opened_total").await;
        found.is_some_and(|body| {
            body.contains("\"destination_service\":\"hello.default.svc.cluster.local\"")
        })
    })
    .await;
    until_async("the scrape is a good one", async || {
        let found = query("up").await;
        found.is_some_and(|body| body.contains("\"1\"]"))
    })
    .await;
}
