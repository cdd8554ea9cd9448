//! Too few descriptors: said, not spun on, and over when they are there again.

use sidecar::{Backend, Behaviour, Client, Pki, RawClient, fresh_loopback};
use tests::{Child, Crowd, Place, endpoint, get, hello_service, mesh_yaml, until_async};

use crate::{ALONE, CAUSEWAY, CROWD, HERE, echoes};

/// By default the limit of connections follows the file limit, so that descriptors do not run out at all.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_limit_bounds_the_connections() {
    let _alone = ALONE.lock().await;
    let (_backends, mesh) = echoes(1);
    let gateway = Child::start(CAUSEWAY, "workers: 1", &mesh, Some(300)).await;
    let limit = gateway.metric("causeway_connection_limit", &[]).await as u64;
    let mut crowd = Crowd::start(CROWD, gateway.inbound(), 100, "ask");
    let first = crowd.report();
    assert_eq!(
        (first["served"].as_u64(), first["alerted"].as_u64()),
        (Some(limit), Some(100 - limit)),
        "{first}"
    );
    assert_eq!(
        gateway
            .metric("causeway_clients_without_descriptor_total", &[])
            .await,
        0.0
    );
    drop(crowd);
    gateway.until_empty().await;
    assert_eq!(
        Crowd::start(CROWD, gateway.inbound(), 10, "ask").report()["served"],
        10
    );
}

/// A limit of connections that the file limit cannot keep: `accept` fails with EMFILE while clients wait.
#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_clients_are_told_and_nothing_spins() {
    let _alone = ALONE.lock().await;
    let (_backends, mesh) = echoes(1);
    let more = "workers: 1\nlimits: {connections: 100000}";
    let gateway = Child::start(CAUSEWAY, more, &mesh, Some(200)).await;
    let mut crowd = Crowd::start(CROWD, gateway.inbound(), 400, "ask");
    let first = crowd.report();
    eprintln!("== 400 clients, 200 descriptors: {first}");
    let count = |key: &str| first[key].as_u64().expect("a number");
    assert!(count("served") > 50, "{first}");
    // An alert can be reset away by what its client sends after it; silence is what must not be.
    assert_eq!(first["forgotten"], 0, "{first}");
    assert!(count("alerted") > count("closed"), "{first}");
    drop(crowd);
    gateway.until_empty().await;
    // Spinning would show here: EMFILE is counted once for each client that is taken by the reserve, and not more often.
    let without = gateway
        .metric("causeway_clients_without_descriptor_total", &[])
        .await;
    let ended = gateway
        .metric("causeway_connections_closed_total", &[])
        .await;
    eprintln!("== {without} without descriptor, {ended} ended");
    assert!(without > 0.0);
    // Who got the last descriptor cannot be dialled for.
    let unable = |line: &serde_json::Value| line["reason"] == "dial_unable";
    assert!(gateway.count("dial_unable").await > 0.0);
    let lines = gateway.access_log();
    let line = lines.iter().find(|line| unable(line)).expect("a line");
    assert_eq!(line["attempts"][0]["outcome"], "unable", "{line}");
    let failures = get(gateway.admin(), "/failures?reason=dial_unable")
        .await
        .json();
    let failures = failures["failures"].as_array().expect("a list");
    assert!(failures.contains(line), "{failures:?}");
    assert_eq!(ended as u64, 400, "{}", gateway.metrics().await);
    assert_eq!(
        Crowd::start(CROWD, gateway.inbound(), 50, "ask").report()["served"],
        50
    );
}

/// Descriptors run out while an attempt is pending, and come back: what could not be dialled meanwhile is still to be had. The
/// silent clients that hold them all are gone when the time for their hellos is over.
#[tokio::test(flavor = "multi_thread")]
async fn want_of_descriptors_uses_up_no_attempt() {
    let _alone = ALONE.lock().await;
    let pki = Pki::new();
    let start = |who| Backend::start(&pki, who, fresh_loopback());
    let (dead, live) = (start("dead").await, start("live").await);
    let (dead, live) = (dead.expect("bound"), live.expect("bound"));
    dead.set(Behaviour::Swallow).await.expect("it swallows");
    let elsewhere = Place {
        locality: "us-east/a",
        ..HERE
    };
    let service = hello_service(vec![
        endpoint(dead.address(), HERE),
        endpoint(live.address(), elsewhere),
    ]);
    let more = "workers: 1\nlimits: {connections: 100000}\n\
                timeouts: {hello: 3s, stagger: 2s, connect: 20s, dial: 30s}";
    let mesh = mesh_yaml(&[service], &[], &[]);
    let gateway = Child::start(CAUSEWAY, more, &mesh, Some(200)).await;
    let client = Client::new(&pki, gateway.inbound());
    let asking = tokio::spawn(async move { client.ask().await });
    until_async("the dead one is dialled", async || {
        gateway.metric("causeway_dials_total", &[]).await > 0.0
    })
    .await;
    let mut silent = Vec::new();
    // The second time for descriptors that came back after the first.
    for count in [200, 20] {
        for _ in 0..count {
            let one = RawClient::connect(gateway.inbound()).await;
            silent.push(one.expect("queued"));
        }
        let last = silent.last_mut().expect("there is one");
        assert_eq!(last.drain().await.0.first(), Some(&0x15), "no alert");
    }
    let answer = asking.await.expect("it ends").expect("an answer");
    assert_eq!(answer.who, "live");
    let unable = gateway.metric("causeway_attempts_total", &["outcome=\"unable\""]);
    assert_eq!(unable.await, 1.0, "{}", gateway.metrics().await);
}

/// A worker without a runtime must not leave its listener behind, to attract clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_start_ends_the_gateway() {
    let _alone = ALONE.lock().await;
    let (_backends, mesh) = echoes(1);
    let (status, said) = Child::run_to_end(CAUSEWAY, "workers: 24", &mesh, Some(110)).await;
    assert!(!status.success());
    assert!(said.contains("cannot start: Too many open files"), "{said}");
}
