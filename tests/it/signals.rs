//! The binary as whoever runs it ends it: by signals, at any time.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sidecar::{Backend, Client, Pki};
use tests::{Child, endpoint, exchange, hello_service, mesh_yaml, until, until_async};

use crate::reasons::HERE;

const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// A gateway that takes an hour for this, if it takes all the time that it may, and its client.
async fn gateway(drain: &str) -> (Child, Backend, Client) {
    let pki = Pki::new();
    let backend = Backend::start(&pki, "one", sidecar::fresh_loopback()).await;
    let backend = backend.expect("an endpoint");
    let mesh = mesh_yaml(
        &[hello_service(vec![endpoint(backend.address(), HERE)])],
        &[],
        &[],
    );
    let gateway = Child::start(CAUSEWAY, &format!("drain: {drain}"), &mesh, None).await;
    let client = Client::new(&pki, gateway.inbound());
    (gateway, backend, client)
}

async fn until_not_ready(gateway: &Child) {
    until_async("it is not ready", async || {
        let request = b"GET /healthz/ready HTTP/1.0\r\n\r\n";
        let answer = exchange(gateway.ready(), request).await;
        answer.is_ok_and(|answer| answer.status == 503)
    })
    .await;
}

/// It is announced for an hour; a second signal ends that.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let (mut gateway, _backend, client) = gateway("{announce: 1h, window: 1h}").await;
    let mut open = client.connect().await.expect("a connection");
    open.ask().await.expect("an answer");
    gateway.signal(Signal::TERM);
    until_not_ready(&gateway).await;
    open.ask().await.expect("an answer, all the while");
    client.ask().await.expect("who comes is served");
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    open.closed().await;
    assert!(
        gateway.log().contains("a second signal"),
        "{}",
        gateway.log()
    );
}

/// The window is an hour, and nobody is left after the last client has gone.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_as_soon_as_nobody_is_left() {
    let (mut gateway, backend, client) = gateway("{announce: 0s, window: 1h}").await;
    let slow = backend.set(sidecar::Behaviour::Silence).await;
    slow.expect("it is silent");
    let open = tokio::spawn(async move { client.ask().await });
    backend.until_open(1).await;
    gateway.signal(Signal::TERM);
    until_not_ready(&gateway).await;
    let still = gateway.metric("causeway_open_connections", &[]).await;
    assert_eq!(still, 1.0, "who waits for an answer is left alone");
    open.abort();
    assert!(gateway.ended().await.success());
}

/// A file that was moved away is let go of on SIGHUP, and the log's level changes while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn its_logs_follow_who_runs_it() {
    let (gateway, backend, client) = gateway("{announce: 0s, window: 1s}").await;
    backend
        .set(sidecar::Behaviour::Refuse)
        .await
        .expect("it refuses");
    client.ask().await.expect_err("nobody is there");
    until("the failure is written", || {
        !gateway.access_log().is_empty()
    })
    .await;
    let before = gateway.access_log().len();
    gateway.move_access_log_away();
    gateway.signal(Signal::HUP);
    until("there is another file", || gateway.has_access_log()).await;
    client.ask().await.expect_err("nobody is there");
    until("the next is in that", || !gateway.access_log().is_empty()).await;
    assert!(before > 0);

    let set = async |level: &str| {
        let request = format!(
            "POST /loglevel?level={level} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n"
        );
        exchange(gateway.admin(), request.as_bytes())
            .await
            .expect("an answer")
    };
    assert!(!gateway.log().contains("\"DEBUG\""), "{}", gateway.log());
    let answer = set("info,hyper_util=debug,gateway=debug").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // Nobody asks for such a connection; it ends badly, of which only this level says something.
    until_async("there is more in the log", async || {
        let _ = exchange(gateway.admin(), b"no request\r\n\r\n").await;
        gateway.log().contains("\"DEBUG\"")
    })
    .await;
}

/// Our own API server does not answer, for which a start waits; it can be ended all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_can_be_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
         clusters: [{{name: c, cluster: {{server: 'https://{}'}}}}], users: [{{name: u, user: {{token: t}}}}]}}",
        nobody.local_addr().expect("its address")
    );
    std::fs::write(at("kubeconfig"), kubeconfig).expect("written");
    let text = "listeners: [{address: '127.0.0.1:0', role: inbound}]\nadmin: {address: '127.0.0.1:0'}\n\
                stats: {address: '127.0.0.1:0'}\nready: {address: '127.0.0.1:0'}\nsource: {kubernetes: {kubeconfig: kubeconfig}}\n";
    std::fs::write(at("gateway.yaml"), text).expect("written");
    let mut process = Command::new(CAUSEWAY)
        .args(["run", "--config"])
        .arg(at("gateway.yaml"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // It has asked, so it heeds signals by now.
    let waiting = tokio::task::spawn_blocking(move || {
        let asked = nobody.accept().expect("it connects");
        kill_process(Pid::from_child(&process), Signal::TERM).expect("it runs");
        let ended = process.wait().expect("it ends");
        drop(asked);
        ended
    });
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await;
    let ended = ended.expect("it ends soon").expect("waited");
    assert!(ended.success(), "{ended}");
}
