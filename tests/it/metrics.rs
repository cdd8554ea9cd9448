//! What Prometheus gets: names and labels that tools expect, counts that follow what happens, and what promtool and a real
//! server make of it.

use gateway::config::Role;
use tests::{Mesh, Prometheus, check_metrics, get, hello_service, metric, until_async};

use crate::reasons::before_one;

async fn scrape(mesh: &Mesh) -> String {
    get(mesh.app.addresses().stats, "/stats/prometheus")
        .await
        .body
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
    until_async("its bytes are counted, both ways", async || {
        count("istio_tcp_sent_bytes_total").await > 500.0
            && count("istio_tcp_received_bytes_total").await > 500.0
    })
    .await;
    assert_eq!(count("istio_tcp_connections_opened_total").await, 1.0);
    assert_eq!(count("istio_tcp_connections_closed_total").await, 0.0);
    connection.close().await;
    until_async("its end is counted", async || {
        count("istio_tcp_connections_closed_total").await == 1.0
    })
    .await;

    mesh.publish(Vec::new(), &[]).await;
    until_async("the service's series are gone with it", async || {
        !scrape(&mesh).await.contains("istio_tcp")
    })
    .await;
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

/// 256 long connections over four workers: the most loaded has at most 1.2 times its share.
#[tokio::test(flavor = "multi_thread")]
async fn long_connections_are_shared_evenly_by_the_workers() {
    let (mesh, _backend) = before_one(|config| config.workers = Some(4)).await;
    let client = mesh.client(Role::Inbound);
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(client.connect().await.expect("a connection"));
    }
    let text = scrape(&mesh).await;
    let of = |worker: usize| {
        let label = format!("worker=\"{worker}\"");
        metric(&text, "causeway_worker_open_connections", &[&label])
    };
    let each: Vec<f64> = (0..4).map(of).collect();
    let most = each.iter().copied().fold(0.0, f64::max);
    assert_eq!(each.iter().sum::<f64>(), 256.0, "{each:?}");
    assert!(most <= 1.2 * 64.0, "{each:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_blame() {
    let (mesh, _backend) = before_one(|_| {}).await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    until_async("its bytes are counted", async || {
        scrape(&mesh).await.contains("istio_tcp_sent_bytes_total{")
    })
    .await;
    check_metrics(&scrape(&mesh).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_it() {
    let (mesh, _backend) = before_one(|_| {}).await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    let Some(prometheus) = Prometheus::start(&[(mesh.app.addresses().stats, &[])]) else {
        return;
    };
    until_async("it has Istio's metric", async || {
        let found = prometheus
            .query("istio_tcp_connections_opened_total")
            .await
            .unwrap_or_default();
        found.iter().any(|series| {
            series["metric"]["destination_service"] == "hello.default.svc.cluster.local"
        })
    })
    .await;
    until_async("the scrape is a good one", async || {
        let found = prometheus.query("up").await.unwrap_or_default();
        found.iter().any(|series| series["value"][1] == "1")
    })
    .await;
}
