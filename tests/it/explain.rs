//! What the gateway says of names, routes and addresses agrees with what it does, also on the command line.

use std::net::SocketAddr;
use std::process::{Command, Output};

use gateway::config::Role;
use serde_json::Value;
use sidecar::{Behaviour, HELLO_NAME};
use tests::{Mesh, Place, endpoint, get, hello_service, until};

use crate::reasons::{HERE, V4};

const NEXT_ZONE: Place = Place {
    locality: "us-west/b",
    ..HERE
};

async fn two_zones() -> (Mesh, sidecar::Backend, sidecar::Backend) {
    let mesh = Mesh::start(V4, |_| {}).await;
    let near = mesh.backend("near").await;
    let far = mesh.backend("far").await;
    let mut not_mesh = endpoint(SocketAddr::from(([10, 0, 0, 9], 80)), HERE);
    not_mesh.tls = model::TlsMode::Disabled;
    let all = vec![
        endpoint(near.address(), HERE),
        endpoint(far.address(), NEXT_ZONE),
        not_mesh,
    ];
    mesh.publish(vec![hello_service(all)], &[]).await;
    (mesh, near, far)
}

async fn explain(mesh: &Mesh, query: &str) -> Value {
    let port = mesh.address(Role::Inbound).port();
    let path = format!("/explain?{query}&port={port}");
    let said = get(mesh.app.addresses().admin, &path).await.json();
    said["listeners"][0].clone()
}

fn causeway(mesh: &Mesh, arguments: &[&str]) -> Output {
    let admin = mesh.app.addresses().admin.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway-under-test"));
    command.args(arguments).args(["--admin", &admin]);
    command.output().expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_explained_as_it_is_served() {
    let (mesh, near, far) = two_zones().await;
    let said = explain(&mesh, &format!("sni={HELLO_NAME}")).await;
    assert_eq!(said["pick"]["address"], near.address().to_string());
    let tiers = said["tiers"].as_array().expect("tiers");
    let shares: Vec<_> = tiers.iter().map(|tier| tier["share"].as_u64()).collect();
    assert_eq!(shares, [Some(100), Some(0)]);
    assert_eq!(
        tiers[1]["endpoints"][0]["address"],
        far.address().to_string()
    );
    assert_eq!(said["unused"]["noMeshTls"], 1);

    near.set(Behaviour::Refuse).await.expect("it refuses");
    for _ in 0..3 {
        let answer = mesh.client(Role::Inbound).ask().await.expect("an answer");
        assert_eq!(answer.who, "far");
    }
    until("the near one is ejected", || mesh.proxy().ejected() == 1).await;
    let said = explain(&mesh, &format!("sni={}.", HELLO_NAME.to_uppercase())).await;
    assert_eq!(said["pick"]["address"], far.address().to_string());
    let of_near = &said["tiers"][0]["endpoints"][0];
    assert_eq!(of_near["state"], "ejected");
    assert!(
        of_near["until"].is_string() && of_near["untilMs"].as_u64() > Some(5_000),
        "{of_near}"
    );

    let admin = mesh.app.addresses().admin;
    let endpoints = get(admin, &format!("/endpoints?contains={}", near.address()))
        .await
        .json();
    assert_eq!(endpoints["known"], 2);
    assert_eq!(endpoints["endpoints"][0]["state"], "ejected");
    assert_eq!(endpoints["endpoints"][0]["routes"][0]["name"], HELLO_NAME);
    // What is asked for is found by whatever is shown of it, and by who leads there.
    for (query, count) in [
        ("contains=ejected", 1),
        ("contains=us-west/b", 1),
        ("contains=hello.default", 2),
        ("contains=nothing", 0),
        ("gateways=true", 0),
        ("limit=1", 1),
    ] {
        let found = get(admin, &format!("/endpoints?{query}")).await.json();
        let listed = found["endpoints"].as_array().map(Vec::len);
        assert_eq!(
            (&found["known"], listed),
            (&2.into(), Some(count)),
            "{query}"
        );
    }
    let routes = get(admin, "/routes").await.json();
    let roles: Vec<_> = routes["routes"]
        .as_array()
        .expect("routes")
        .iter()
        .map(|route| route["role"].as_str())
        .collect();
    assert_eq!(roles, [Some("inbound"), Some("outbound")]);
}

/// Asking counts nothing and takes nobody's turn.
#[tokio::test(flavor = "multi_thread")]
async fn explaining_changes_nothing() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let (one, two) = (mesh.backend("one").await, mesh.backend("two").await);
    let both = vec![endpoint(one.address(), HERE), endpoint(two.address(), HERE)];
    let mut service = hello_service(both);
    service.policy = std::sync::Arc::new(model::Policy {
        load_balancer: model::LoadBalancer::RoundRobin,
        max_connections: Some(1),
        ..model::Policy::default()
    });
    mesh.publish(vec![service], &[]).await;
    let query = format!("sni={HELLO_NAME}");
    let before = explain(&mesh, &query).await;
    assert_eq!(before, explain(&mesh, &query).await);
    let client = mesh.client(Role::Inbound);
    let first = client.ask().await.expect("an answer").who;
    for _ in 0..3 {
        explain(&mesh, &query).await;
    }
    until("the first is gone", || mesh.proxy().open() == 0).await;
    let held = client.connect().await.expect("a connection");
    let said = explain(&mesh, &query).await;
    assert_eq!(said["refused"]["reason"], "overloaded");
    held.close().await;
    until("the second is gone", || mesh.proxy().open() == 0).await;
    let third = client.ask().await.expect("an answer").who;
    assert_eq!(first, third, "in turn: one, the other, one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_explained_by_its_reason_and_what_is_near() {
    let (mesh, _near, _far) = two_zones().await;
    for (query, reason) in [
        (format!("sni={HELLO_NAME}&alpn=h2"), "alpn_refused"),
        (
            format!("sni={}", HELLO_NAME.replace("5000", "5001")),
            "unknown_port",
        ),
        (
            format!("sni={}", HELLO_NAME.replace("_._.", "_.v9_.")),
            "unknown_subset",
        ),
        (
            format!("sni={}", HELLO_NAME.replace("hello.", "hello2.")),
            "unknown_service",
        ),
        ("sni=hello.example.com".to_owned(), "not_mesh_name"),
    ] {
        let said = explain(&mesh, &query).await;
        assert_eq!(said["refused"]["reason"], reason, "{query}");
        if reason.starts_with("unknown") {
            assert_eq!(said["near"][0], HELLO_NAME, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_the_same() {
    let (mesh, near, _far) = two_zones().await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    let said = causeway(&mesh, &["explain", HELLO_NAME]);
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(
        said.status.success() && text.contains(&near.address().to_string()),
        "{text}"
    );
    let unknown = causeway(&mesh, &["explain", "outbound_.1_._.nobody"]);
    let text = String::from_utf8_lossy(&unknown.stdout);
    assert!(
        !unknown.status.success() && text.contains("unknown_service"),
        "{text}"
    );

    let status = causeway(&mesh, &["status"]);
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(
        status.status.success() && text.contains("served by tier    0: 1"),
        "{text}"
    );
    let json = causeway(&mesh, &["status", "--output", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["picksByTier"][0], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_the_wrong_port_is_told_so() {
    let (mesh, _near, _far) = two_zones().await;
    for (address, hint) in [
        (mesh.app.addresses().stats, "15000 is admin"),
        (SocketAddr::from(([127, 0, 0, 1], 1)), "--admin"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway-under-test"));
        let said = command
            .args(["status", "--admin", &address.to_string()])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(!said.status.success() && text.contains(hint), "{text}");
    }
}
