//! Whoever reads what the gateway writes has stopped reading: lines are lost, and nothing else.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sidecar::{Backend, Client, Pki, RawClient};
use tests::{get, metric, until, until_async};

const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// The first listener says something of every client that comes without a header.
const GATEWAY: &str = "cluster: us
network: n2
locality: us-west/a
workers: 1
listeners:
  - {address: '127.0.0.1:0', role: inbound, proxyProtocol: {from: ['127.0.0.0/8']}}
  - {address: '127.0.0.1:0', role: inbound}
admin: {address: '127.0.0.1:0'}
stats: {address: '127.0.0.1:0'}
ready: {address: '127.0.0.1:0'}
source: {file: mesh.yaml}
log: {format: json, level: debug}
accessLog: {path: '-', failuresPerSecond: 1000000}
drain: {announce: 0s, window: 1s}
";

/// Clients that come without a header at once.
const CLIENTS: usize = 200;

/// Ended when this is dropped.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_what_is_written_and_all_is_served() {
    let pki = Pki::new();
    let backend = Backend::start(&pki, "one", sidecar::fresh_loopback())
        .await
        .expect("an endpoint");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let mesh = format!(
        "services:\n  - host: hello.default.svc.cluster.local\n    ports: [{{number: 5000, name: http}}]\n    endpoints:\n      \
         - {{address: {}, ports: {{http: {}}}, cluster: us, network: n2, locality: us-west/a}}\n",
        backend.address().ip(),
        backend.address().port()
    );
    std::fs::write(at("gateway.yaml"), GATEWAY).expect("written");
    std::fs::write(at("mesh.yaml"), mesh).expect("written");
    let process = Command::new(CAUSEWAY)
        .args(["run", "--config"])
        .arg(at("gateway.yaml"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut gateway = Gateway(process);
    let mut said = BufReader::new(gateway.0.stderr.take().expect("a pipe"));
    let mut listeners: Vec<SocketAddr> = Vec::new();
    let stats: SocketAddr = loop {
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let address = |key: &str| line["fields"][key].as_str()?.parse().ok();
        listeners.extend(address("address"));
        if let Some(stats) = address("stats") {
            break stats;
        }
    };
    // From here on nobody reads.
    let lost = async || {
        let text = get(stats, "/metrics").await.body;
        let of_log = metric(&text, "causeway_log_lines_lost_total", &[]);
        let label = ["outcome=\"lost\""];
        (
            of_log,
            metric(&text, "causeway_access_log_lines_total", &label),
        )
    };
    until_async("lines are lost", async || {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = RawClient::connect(listeners[0])
                .await
                .expect("a connection");
            client.send(b"no header at all\r\n").await.expect("sent");
            clients.push(client);
        }
        for client in &mut clients {
            client.drain().await;
        }
        let (of_log, of_access_log) = lost().await;
        of_log > 0.0 && of_access_log > 0.0
    })
    .await;
    for _ in 0..20 {
        let answer = Client::new(&pki, listeners[1]).ask().await;
        assert_eq!(answer.expect("an answer").who, "one");
    }

    let pid = rustix::process::Pid::from_child(&gateway.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is told to end");
    let waiting = tokio::task::spawn_blocking(move || gateway.0.wait());
    let ended = waiting.await.expect("waited").expect("it ends");
    assert!(ended.success(), "{ended}");
}

/// The message would fill the pipe, if that was not full: a supervisor that has stopped reading must see the end at least.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_ends_although_nobody_reads_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("gateway.yaml");
    for text in ["cluster: [", &GATEWAY.replace("mesh.yaml", "nowhere.yaml")] {
        std::fs::write(&config, text).expect("written");
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("it is ours");
        while writer.write(b"x").is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).expect("it is ours");
        let process = Command::new(CAUSEWAY)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(writer)
            .spawn()
            .expect("it starts");
        let gateway = RefCell::new(Gateway(process));
        let ended = || gateway.borrow_mut().0.try_wait().expect("its state");
        until(&format!("it ends: {text}"), || ended().is_some()).await;
        assert!(!ended().is_some_and(|status| status.success()));
        drop(reader);
    }
}
