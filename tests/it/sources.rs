//! The limit of connections of one source, also where a load balancer stands before the gateway.

use gateway::config::{Gateway, ProxyProtocol, Role};
use proxy::close::Reason;
use sidecar::{HELLO_NAME, RawBackend, RawClient};
use tests::{Hello, Mesh, endpoint, hello_service, says, until};

use crate::reasons::{HERE, V4};

const INTERNAL_ERROR: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

async fn mesh(change: impl FnOnce(&mut Gateway)) -> (Mesh, RawBackend) {
    let mesh = Mesh::start(V4, |config| {
        config.limits.connections_per_source = Some(2);
        change(config);
    })
    .await;
    let backend = RawBackend::echo((sidecar::fresh_loopback(), 0).into()).expect("an endpoint");
    let service = hello_service(vec![endpoint(backend.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    (mesh, backend)
}

/// A client that sends these bytes before its hello: served, or what it was told.
async fn client(mesh: &Mesh, before: &str) -> Result<RawClient, Vec<u8>> {
    let hello = Hello::new(&[HELLO_NAME], &["istio"]).bytes();
    let address = mesh.address(Role::Inbound);
    let mut client = RawClient::connect(address).await.expect("a connection");
    let sent = client.send(&[before.as_bytes(), &hello].concat()).await;
    sent.expect("sent");
    match client.receive(hello.len()).await {
        Ok(echo) if echo == hello => Ok(client),
        Ok(other) => Err(other),
        Err(_) => Err(Vec::new()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_has_a_limit() {
    let (mesh, _backend) = mesh(|_| {}).await;
    let first = client(&mesh, "").await.expect("served");
    let _second = client(&mesh, "").await.expect("served");
    client(&mesh, "").await.err().expect("one too many");
    says(&mesh, Reason::Overloaded).await;
    drop(first);
    until("it has left", || mesh.proxy().open() == 1).await;
    client(&mesh, "").await.expect("there is room again");
}

/// All come from the same address; whom the header names is whose limit counts.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_load_balancer_it_is_the_clients_limit() {
    let (mesh, _backend) = mesh(|config| {
        let from = vec!["127.0.0.0/8".parse().expect("a network")];
        config.listeners[0].proxy_protocol = Some(ProxyProtocol { from });
    })
    .await;
    let of = |client: u8| format!("PROXY TCP4 192.0.2.{client} 198.51.100.1 4711 15443\r\n");
    let mut open = Vec::new();
    for number in 1..=10 {
        for _ in 0..2 {
            let served = client(&mesh, &of(number)).await;
            open.push(served.expect("each has a limit of its own"));
        }
    }
    client(&mesh, &of(3)).await.err().expect("one too many");
    says(&mesh, Reason::Overloaded).await;
    let line = mesh.access_log().pop().expect("a line");
    assert_eq!(line["client"], "192.0.2.3:4711", "{line}");
    // What it is told does not use up what is there for others: beyond some, it is told and not waited for.
    let mut refused = Vec::new();
    for _ in 0..20 {
        let address = mesh.address(Role::Inbound);
        let mut client = RawClient::connect(address).await.expect("a connection");
        client.send(of(3).as_bytes()).await.expect("sent");
        refused.push(client);
    }
    until("all are told", || mesh.count(Reason::Overloaded) == 21).await;
    for mut client in refused {
        let told = client.drain().await.0;
        assert!(told.is_empty() || told == INTERNAL_ERROR, "{told:?}");
    }
    // The load balancer's own connections are nobody's.
    for _ in 0..5 {
        open.push(client(&mesh, "PROXY UNKNOWN\r\n").await.expect("served"));
    }
    open.clear();
    until("all have left", || mesh.proxy().open() == 0).await;
    client(&mesh, &of(3)).await.expect("there is room again");
}
