//! Segments that a connection takes, counted by the kernel: none that we send is an ACK and nothing else. No clock is looked at.

use std::net::SocketAddr;

use gateway::config::Role;
use sidecar::{HELLO_NAME, RawBackend, RawClient};
use tests::{Hello, endpoint, hello_service, in_namespace, until};

use crate::reasons::{HERE, before_one};

/// Connections, one after the other.
const COUNT: usize = 200;

/// 17 of both sides and both legs were counted: the handshakes (5, as the hello says the last word of ours), the hello twice and
/// its ACK by the endpoint (3), the same for the echo (3), and the ends (6). The kernel's own ways take three more, all ours: an ACK
/// for the hello, one for the echo, and one for the endpoint's part of the handshake. The rest is for an ACK that waited too long, on
/// a machine that has much to do.
const MOST: f64 = 17.5;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_no_segment_for_our_acks() {
    if !in_namespace("segments::a_connection_takes_no_segment_for_our_acks") {
        return;
    }
    let (mesh, _backend) = before_one(|_| {}).await;
    let echo = RawBackend::echo(SocketAddr::new(sidecar::fresh_loopback(), 0)).expect("bound");
    let service = hello_service(vec![endpoint(echo.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    let hello = Hello::new(&[HELLO_NAME], &["istio"]).bytes();
    let before = sent();
    for _ in 0..COUNT {
        let address = mesh.address(Role::Inbound);
        let mut client = RawClient::connect(address).await.expect("a connection");
        client.send(&hello).await.expect("sent");
        client.receive(hello.len()).await.expect("an echo");
        client.finish().await.expect("a FIN");
        client.drain().await;
        until("it is closed", || mesh.proxy().open() == 0).await;
    }
    let each = (sent() - before) as f64 / COUNT as f64;
    println!("== {each:.2} segments of a connection, at most {MOST}");
    assert!(each <= MOST, "{each:.2} segments of a connection");
    assert!(
        each > 10.0,
        "{each:.2} segments of a connection: not all were counted"
    );
}

/// Segments that this network namespace has sent (`OutSegs` of RFC 2012).
fn sent() -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").expect("the kernel's counts");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, counts) = (lines.next().expect("names"), lines.next().expect("counts"));
    let mut pairs = names.split(' ').zip(counts.split(' '));
    let (_, count) = pairs.find(|(name, _)| *name == "OutSegs").expect("a count");
    count.parse().expect("a number")
}
