//! Ten thousand clients at once: whole hellos are served, half ones are bounded.

use tests::{Child, Crowd, raise_descriptors, until_async};

use crate::{ALONE, CAUSEWAY, CROWD, echoes};

const CLIENTS: u64 = 10_000;

/// Each costs the gateway two descriptors. Where the file limit is below 20,300 as many as fit are served, and each of the
/// others is told so at once: nobody is forgotten in a queue.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_at_once() {
    let _alone = ALONE.lock().await;
    let files = raise_descriptors();
    let (_backends, mesh) = echoes(4);
    let gateway = Child::start(CAUSEWAY, "workers: 2", &mesh, None).await;
    let fit = (gateway.metric("causeway_connection_limit", &[]).await as u64).min(CLIENTS);
    if fit < CLIENTS {
        eprintln!(
            "== of {CLIENTS} clients {fit} fit here: the limit of open files is {files}, all of them need 20,300"
        );
    }
    let mut crowd = Crowd::start(CROWD, gateway.inbound(), CLIENTS as usize, "ask");
    let first = crowd.report();
    let count = |key: &str| first[key].as_u64().expect("a number");
    // Workers that ask at the same moment whether there is room may both be told so.
    let spare = if fit < CLIENTS { 0..=1 } else { 0..=0 };
    let over = count("served").checked_sub(fit);
    assert!(over.is_some_and(|over| spare.contains(&over)), "{first}");
    assert_eq!(
        count("alerted") + count("closed"),
        CLIENTS - count("served"),
        "{first}"
    );

    // All of them are open, and every one still works.
    let again = crowd.again();
    assert_eq!(again["served"], first["served"], "{again}");
    drop(crowd);
    gateway.until_empty().await;
    let refused = gateway.count("overloaded").await;
    let dropped = gateway.metric("causeway_clients_dropped_total", &[]).await;
    assert_eq!((refused + dropped) as u64, CLIENTS - count("served"));
    let all = gateway
        .metric("causeway_connections_closed_total", &[])
        .await;
    assert_eq!(
        (all + dropped) as u64,
        CLIENTS,
        "{}",
        gateway.metrics().await
    );
}

/// 600 MB of hellos that never become whole: 32 MiB of them are held, the oldest go, and others are served all the while.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_half_hellos() {
    let _alone = ALONE.lock().await;
    if raise_descriptors() < 12_000 {
        eprintln!("== SKIPPED: 10,000 clients need a limit of open files of 12,000");
        return;
    }
    let (_backends, mesh) = echoes(1);
    // What is bounded here is memory: the limits of time and number stay out of it. A half hello costs one descriptor.
    let more = "workers: 2\ntimeouts: {hello: 10m}\nlimits: {connections: 12000}";
    let gateway = Child::start(CAUSEWAY, more, &mesh, None).await;
    let before = gateway.peak_memory();
    let mut crowd = Crowd::start(CROWD, gateway.inbound(), CLIENTS as usize, "half");
    let mut served = 0;
    let mut round = async || {
        let asked = Crowd::start(CROWD, gateway.inbound(), 10, "ask").report();
        assert_eq!(asked["served"], 10, "others are served: {asked}");
        served += 10;
    };
    round().await;
    let first = crowd.report();
    round().await;
    assert_eq!(first["forgotten"], 0, "{first}");
    // 32 MiB hold 559 of 60 KB.
    until_async("the oldest went", async || {
        let gone = gateway.count("overloaded").await
            + gateway.metric("causeway_clients_dropped_total", &[]).await;
        gone >= (CLIENTS - 560) as f64
    })
    .await;
    let again = crowd.again();
    assert!(
        again["waiting"]
            .as_u64()
            .is_some_and(|open| (200..560).contains(&open)),
        "{again}"
    );
    let grown = gateway.peak_memory() - before;
    eprintln!(
        "== 10,000 half hellos of 60 KB: resident memory grew by {} KiB",
        grown >> 10
    );
    assert!(grown < 80 << 20, "grew by {grown} bytes");
    round().await;
    drop(crowd);
    gateway.until_empty().await;
    let dropped = gateway.metric("causeway_clients_dropped_total", &[]).await;
    let ended = gateway
        .metric("causeway_connections_closed_total", &[])
        .await;
    assert_eq!(
        (ended + dropped) as u64,
        CLIENTS + served,
        "{}",
        gateway.metrics().await
    );
    let reasons = gateway.count("overloaded").await
        + gateway.count("hello_cut").await
        + gateway.count("done").await
        + gateway.count("client_reset").await;
    assert_eq!(reasons, ended, "{}", gateway.metrics().await);
}
