//! What each behaviour looks like to a client that dials the backend directly.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Backend, Behaviour};
use crate::{Client, Ended, Error, Kind, Pki, RawClient, client_hello_bytes, fresh_loopback};

async fn backend(pki: &Pki) -> Backend {
    Backend::start(pki, "us/us-a/one", fresh_loopback())
        .await
        .expect("a loopback address")
}

fn kind(outcome: Result<crate::Answer, Error>) -> Kind {
    outcome.expect_err("no answer is expected").kind
}

#[tokio::test]
async fn says_who_it_is_on_both_families() {
    let pki = Pki::new();
    for ip in [fresh_loopback(), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let backend = Backend::start(&pki, "us/us-a/one", ip)
            .await
            .expect("bound");
        assert_eq!(backend.address().ip(), ip);
        let answer = Client::new(&pki, backend.address())
            .ask()
            .await
            .expect("answered");
        assert_eq!(answer.who, "us/us-a/one");
        assert!(answer.connect <= answer.handshake && answer.handshake <= answer.first_byte);
        backend.until_open(0).await;
        assert_eq!((backend.connections(), backend.requests()), (1, 1));
    }
}

#[tokio::test]
async fn refuses_and_comes_back_on_the_same_port() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    let client = Client::new(&pki, backend.address());
    backend.set(Behaviour::Refuse).await.expect("port kept");
    let error = client.ask().await.expect_err("refused");
    assert_eq!(error.kind, Kind::Connect);
    assert_eq!(error.source.kind(), std::io::ErrorKind::ConnectionRefused);
    backend.revive().await.expect("port kept");
    client.ask().await.expect("alive again");
}

#[tokio::test]
async fn swallows_every_further_syn() {
    let pki = Pki::new();
    for ip in [fresh_loopback(), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let backend = Backend::start(&pki, "us/us-a/one", ip)
            .await
            .expect("bound");
        backend.set(Behaviour::Swallow).await.expect("port kept");
        let mut attempts: JoinSet<_> = (0..20)
            .map(|_| TcpStream::connect(backend.address()))
            .collect();
        // Longer than the first retransmission of a SYN, 1 s.
        let first = tokio::time::timeout(Duration::from_millis(1200), attempts.join_next()).await;
        assert!(first.is_err(), "a SYN was answered: {first:?}");
        backend.revive().await.expect("port kept");
        Client::new(&pki, backend.address())
            .ask()
            .await
            .expect("alive again");
    }
}

/// Also by those who dial all the time: one that slipped in would wait for an answer for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_slips_in_before_it_swallows() {
    let backend = backend(&Pki::new()).await;
    backend.set(Behaviour::Refuse).await.expect("port kept");
    let address = backend.address();
    let mut dialling = JoinSet::new();
    for _ in 0..8 {
        dialling.spawn(async move {
            let limit = Duration::from_millis(5);
            while !matches!(
                tokio::time::timeout(limit, TcpStream::connect(address)).await,
                Ok(Ok(_))
            ) {}
        });
    }
    for _ in 0..50 {
        backend.set(Behaviour::Swallow).await.expect("port kept");
        backend.set(Behaviour::Refuse).await.expect("port kept");
    }
    assert!(dialling.try_join_next().is_none(), "one was connected");
}

#[tokio::test]
async fn resets_before_its_first_byte() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    backend.set(Behaviour::Reset).await.expect("port kept");
    assert_eq!(
        kind(Client::new(&pki, backend.address()).ask().await),
        Kind::Unanswered
    );
    let mut raw = RawClient::connect(backend.address())
        .await
        .expect("accepted");
    raw.send(b"x").await.expect("sent");
    assert_eq!(raw.drain().await, (Vec::new(), Ended::Reset));
}

#[tokio::test]
async fn accepts_and_stays_silent() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    backend.set(Behaviour::Silence).await.expect("port kept");
    let client = Client::new(&pki, backend.address()).with_limit(Duration::from_secs(1));
    assert_eq!(kind(client.ask().await), Kind::Timeout);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_delayed_answer_is_told_from_a_dead_endpoint() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    backend
        .set(Behaviour::Delay(Duration::from_secs(3600)))
        .await
        .expect("port kept");
    let client = Client::new(&pki, backend.address()).with_limit(Duration::from_secs(3));
    let mut connection = client
        .connect()
        .await
        .expect("the handshake is not delayed");
    assert_eq!(kind(connection.ask().await), Kind::Slow);
}

#[tokio::test]
async fn death_cuts_open_connections_and_refuses_new_ones() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    let client = Client::new(&pki, backend.address());
    let mut held = client.connect().await.expect("connected");
    held.ask().await.expect("answered");
    held.ask().await.expect("answered again");
    backend.die().await.expect("port kept");
    held.closed().await;
    assert_eq!(kind(held.ask().await), Kind::Cut);
    assert_eq!(kind(client.ask().await), Kind::Connect);
    backend.revive().await.expect("port kept");
    client.ask().await.expect("alive again");
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn a_change_of_behaviour_leaves_open_connections_alone() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    let mut held = Client::new(&pki, backend.address())
        .connect()
        .await
        .expect("connected");
    held.ask().await.expect("answered");
    backend.set(Behaviour::Refuse).await.expect("port kept");
    held.ask().await.expect("still served");
}

#[tokio::test]
async fn dropped_it_is_gone_with_its_connections() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    let client = Client::new(&pki, backend.address());
    let mut held = client.connect().await.expect("connected");
    drop(backend);
    held.closed().await;
    // The listener is closed when its task has been dropped, which the runtime does next.
    while kind(client.ask().await) != Kind::Connect {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn demands_the_mesh_alpn_and_a_certificate_of_the_root() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    let with = |config| Client::new(&pki, backend.address()).with_config(config);
    for alpn in [&["h2"][..], &[]] {
        let outcome = with(pki.client_config(alpn)).ask().await;
        assert!(outcome.is_err(), "served without the mesh's ALPN: {alpn:?}");
    }
    with(pki.client_config(&["istio"]))
        .ask()
        .await
        .expect("one value is enough");

    let stranger = Pki::new();
    assert_eq!(
        kind(Client::new(&stranger, backend.address()).ask().await),
        Kind::Handshake
    );
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn a_raw_hello_is_answered_with_a_handshake_record() {
    let pki = Pki::new();
    let backend = backend(&pki).await;
    let hello = client_hello_bytes(&pki, crate::HELLO_NAME, &["istio"]).expect("a hello");
    let mut raw = RawClient::connect(backend.address())
        .await
        .expect("accepted");
    raw.send(&hello).await.expect("sent");
    // RFC 8446 section 5.1: content type 22, record version 0x0303.
    assert_eq!(raw.receive(3).await.expect("a record"), [22, 3, 3]);
}
