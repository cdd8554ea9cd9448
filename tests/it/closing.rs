//! Connections that the gateway ends: drain, shedding, age, failback, stop. Nobody loses a request by it who did not have to.

use std::net::SocketAddr;
use std::time::Duration;

use discovery::Span;
use gateway::config::{Gateway, Role, Successes};
use proxy::close::Reason;
use sidecar::{Connection, RawBackend, RawClient};
use tests::{Hello, Mesh, Place, endpoint, exchange, get, hello_service, says, until, until_async};

use crate::reasons::{HERE, V4, before_one};

fn quickly(config: &mut Gateway) {
    // Longer than a busy machine takes between two lines of a story.
    config.drain.announce = Span(Duration::from_secs(2));
    config.drain.window = Span(Duration::from_secs(2));
}

async fn idle(mesh: &Mesh, count: usize) -> Vec<Connection> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut connection = mesh
            .client(Role::Inbound)
            .connect()
            .await
            .expect("a connection");
        connection.ask().await.expect("an answer");
        open.push(connection);
    }
    open
}

async fn post(mesh: &Mesh, path: &str, kind: &str) -> u16 {
    let admin = mesh.app.addresses().admin;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {admin}\r\n{kind}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    exchange(admin, request.as_bytes())
        .await
        .expect("an answer")
        .status
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_announced_then_closes_quiet_connections_and_last_the_busy_ones() {
    let (mesh, _backend) = before_one(quickly).await;
    let quiet = idle(&mesh, 10).await;
    let echo = RawBackend::echo(SocketAddr::new(sidecar::fresh_loopback(), 0)).expect("bound");
    let service = hello_service(vec![endpoint(echo.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    let hello = Hello::new(&[sidecar::HELLO_NAME], &["istio"]).bytes();
    let mut busy = RawClient::connect(mesh.address(Role::Inbound))
        .await
        .expect("a connection");
    busy.send(&hello).await.expect("sent");
    busy.receive(hello.len()).await.expect("an echo");
    // Never quiet: the next byte goes out when the one before has come back.
    let pings = tokio::spawn(async move {
        while busy.send(b"!").await.is_ok() && busy.receive(1).await.is_ok() {}
    });
    let ready = mesh.app.addresses().ready;
    assert_eq!(get(ready, "/healthz/ready").await.status, 200);

    tokio::join!(mesh.app.drain(), async {
        until_async("it is not ready", async || {
            get(ready, "/healthz/ready").await.status == 503
        })
        .await;
        // Load balancers have not heard yet, so clients are still served.
        let address = mesh.address(Role::Inbound);
        RawClient::connect(address)
            .await
            .expect("accepted while it is announced");
    });
    assert_eq!(mesh.proxy().open(), 0);
    assert_eq!(mesh.count(Reason::Drained), 10);
    pings.await.expect("it ends");
    says(&mesh, Reason::Drained).await;
    says(&mesh, Reason::DrainDeadline).await;
    assert_eq!(mesh.count(Reason::DrainDeadline), 1, "the busy one");
    let refused = RawClient::connect(mesh.address(Role::Inbound)).await;
    assert!(refused.is_err(), "the listener is closed");
    drop(quiet);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_is_shed_on_request() {
    let (mesh, _backend) = before_one(quickly).await;
    let open = idle(&mesh, 20).await;
    assert_eq!(
        post(&mesh, "/drain?percent=50&over=1s", "").await,
        415,
        "another site's form"
    );
    assert_eq!(post(&mesh, "/drain?percent=500", JSON).await, 400);
    assert_eq!(
        get(mesh.app.addresses().admin, "/drain?percent=50")
            .await
            .status,
        405
    );
    assert_eq!(post(&mesh, "/drain?percent=50&over=1s", JSON).await, 202);
    until("half of them are closed", || mesh.count(Reason::Shed) == 10).await;
    says(&mesh, Reason::Shed).await;
    assert_eq!(mesh.proxy().open(), 10, "and the others are not");
    mesh.client(Role::Inbound)
        .ask()
        .await
        .expect("who comes is served");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_connections_end() {
    let (mesh, _backend) =
        before_one(|config| config.closing.max_age = Some(Span(Duration::from_secs(3)))).await;
    let open = idle(&mesh, 5).await;
    until("all are too old", || mesh.count(Reason::MaxAge) == 5).await;
    says(&mesh, Reason::MaxAge).await;
    drop(open);
}

/// A service's own policy ends connections on which nothing moves, and those that are too old, whatever moves on them.
#[tokio::test(flavor = "multi_thread")]
async fn a_services_policy_ends_connections() {
    let (mesh, backend) = before_one(|_| {}).await;
    let publish = async |policy| {
        let mut service = hello_service(vec![endpoint(backend.address(), HERE)]);
        service.policy = std::sync::Arc::new(policy);
        mesh.publish(vec![service], &[]).await;
    };
    // Longer than a busy machine takes from a connection to its first answer.
    let time = Some(Duration::from_secs(3));
    publish(model::Policy {
        idle_timeout: time,
        ..model::Policy::default()
    })
    .await;
    let open = idle(&mesh, 3).await;
    until("all have been idle", || {
        mesh.count(Reason::IdleTimeout) == 3
    })
    .await;
    says(&mesh, Reason::IdleTimeout).await;
    drop(open);
    publish(model::Policy {
        max_duration: time,
        ..model::Policy::default()
    })
    .await;
    let mut talks = mesh.client(Role::Inbound).connect().await.expect("one");
    while talks.ask().await.is_ok() {}
    until("it was too old", || mesh.count(Reason::MaxAge) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_come_back_to_a_closer_tier() {
    let mesh = Mesh::start(V4, |config| {
        config.closing.failback_per_second = 100;
        config.access_log.successes = Successes::On;
    })
    .await;
    let far = mesh.backend("far").await;
    let elsewhere = Place {
        locality: "us-east/a",
        ..HERE
    };
    let remote = endpoint(far.address(), elsewhere);
    mesh.publish(vec![hello_service(vec![remote.clone()])], &[])
        .await;
    let open = idle(&mesh, 5).await;
    let near = mesh.backend("near").await;
    let both = vec![endpoint(near.address(), HERE), remote];
    mesh.publish(vec![hello_service(both)], &[]).await;
    until("all of them are sent back", || {
        mesh.count(Reason::Failback) == 5
    })
    .await;
    says(&mesh, Reason::Failback).await;
    let answer = mesh.client(Role::Inbound).ask().await.expect("an answer");
    assert_eq!(answer.who, "near");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_everything_and_writes_it_down() {
    let (mesh, _backend) = before_one(quickly).await;
    let open = idle(&mesh, 3).await;
    mesh.app.proxy().stop().await;
    says(&mesh, Reason::Stopped).await;
    assert_eq!(mesh.count(Reason::Stopped), 3);
    drop(open);
}

/// An endpoint whose answer was still awaited has done nothing wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_answer_blames_no_endpoint() {
    let (mesh, backend) = before_one(quickly).await;
    backend
        .set(sidecar::Behaviour::Silence)
        .await
        .expect("it is silent");
    let address = mesh.address(Role::Inbound);
    let mut client = RawClient::connect(address).await.expect("a connection");
    let hello = Hello::new(&[sidecar::HELLO_NAME], &["istio"]).bytes();
    client.send(&hello).await.expect("sent");
    until_async("the endpoint has the hello", async || {
        let open = get(mesh.app.addresses().admin, "/connections?limit=1").await;
        open.json()["connections"][0]["stage"] == "answer"
    })
    .await;
    mesh.app.proxy().stop().await;
    says(&mesh, Reason::Stopped).await;
    let line = mesh.access_log().pop().expect("a line");
    assert_eq!(
        (&line["blame"], &line["attempts"][0]["outcome"]),
        (&"gateway".into(), &"connected".into()),
        "{line}"
    );
    assert_eq!(line["endpoint"]["address"], backend.address().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_are_listed() {
    let (mesh, backend) = before_one(quickly).await;
    let mut open = idle(&mesh, 3).await;
    let admin = mesh.app.addresses().admin;
    let listed = get(admin, "/connections?limit=2").await.json();
    assert_eq!(listed["open"], 3);
    assert_eq!(listed["connections"].as_array().map(Vec::len), Some(2));
    let one = &listed["connections"][0];
    assert_eq!(one["endpoint"]["address"], backend.address().to_string());
    assert_eq!(one["stage"], "relay");
    let none = get(admin, "/connections?contains=nowhere").await.json();
    assert_eq!(none["connections"].as_array().map(Vec::len), Some(0));
    let port = format!("/connections?contains=:{}", backend.address().port());
    let all = get(admin, &port).await.json();
    assert_eq!(all["connections"].as_array().map(Vec::len), Some(3));

    // A place that is used again does not make its connection an old one.
    open.remove(0).close().await;
    until("it is gone", || mesh.proxy().open() == 2).await;
    let young = idle(&mesh, 1).await;
    let oldest = get(admin, "/connections?limit=1").await.json();
    let client = &oldest["connections"][0]["client"];
    assert_eq!(client, &open[0].local().to_string(), "{oldest}");
    drop((open, young));
}
