//! Segments that a connection takes, counted by the kernel: none of ours is an ACK and nothing else where bytes follow it.

use std::net::SocketAddr;

use gateway::config::Role;
use sidecar::{HELLO_NAME, RawBackend, RawClient};
use tests::{Hello, Mesh, endpoint, hello_service, in_namespace, until};

use crate::reasons::{HERE, before_one};

/// Connections, one after the other.
const COUNT: usize = 200;

/// Of both sides and both legs: the handshakes (5, as the hello says the last word of ours), the hello twice and its ACK by the
/// endpoint (3), the same for the echo (3), and the ends (6). The kernel's own ways take three more, all ours: an ACK for the hello,
/// one for the echo, and one for the endpoint's part of the handshake. More is for an ACK that waited too long, on a machine that has
/// much to do, so the median is what counts.
const MOST: u64 = 17;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_no_segment_for_our_acks() {
    if !in_namespace("segments::a_connection_takes_no_segment_for_our_acks") {
        return;
    }
    let (mesh, _echo, hello) = before_an_echo().await;
    let mut counts = Vec::new();
    for _ in 0..COUNT {
        let before = count_of("snmp", "Tcp: ", "OutSegs");
        let client = RawClient::connect(mesh.address(Role::Inbound)).await;
        let mut client = client.expect("a connection");
        client.send(&hello).await.expect("sent");
        client.receive(hello.len()).await.expect("an echo");
        client.finish().await.expect("a FIN");
        client.drain().await;
        until("it is closed", || mesh.proxy().open() == 0).await;
        counts.push(count_of("snmp", "Tcp: ", "OutSegs") - before);
    }
    counts.sort_unstable();
    let usual = counts[COUNT / 2];
    println!("== {usual} segments of a connection, at most {MOST}");
    assert!(usual <= MOST, "segments of each connection: {counts:?}");
    assert!(usual > 10, "not all were counted: {counts:?}");
}

/// A client that waits for the ACK of a small piece before it sends the next (Nagle's rule, the kernel's own way) is not kept
/// waiting where its hello comes in two: no ACK of ours is sent by the kernel's timer.
#[tokio::test(flavor = "multi_thread")]
async fn a_hello_in_pieces_waits_for_no_ack() {
    if !in_namespace("segments::a_hello_in_pieces_waits_for_no_ack") {
        return;
    }
    let (mesh, _echo, hello) = before_an_echo().await;
    let mut late = Vec::new();
    for _ in 0..20 {
        let before = count_of("netstat", "TcpExt: ", "DelayedACKs");
        let client = RawClient::connect(mesh.address(Role::Inbound)).await;
        let mut client = client.expect("a connection");
        client.stream().set_nodelay(false).expect("an option");
        let (first, rest) = hello.split_at(50);
        client.send(first).await.expect("sent");
        client.send(rest).await.expect("sent");
        client.receive(hello.len()).await.expect("an echo");
        late.push(count_of("netstat", "TcpExt: ", "DelayedACKs") - before);
    }
    late.sort_unstable();
    assert_eq!(late[late.len() / 2], 0, "{late:?}");
}

/// A gateway before an endpoint that echoes, and a hello that leads there.
async fn before_an_echo() -> (Mesh, RawBackend, Vec<u8>) {
    let (mesh, _backend) = before_one(|_| {}).await;
    let echo = RawBackend::echo(SocketAddr::new(sidecar::fresh_loopback(), 0)).expect("bound");
    let service = hello_service(vec![endpoint(echo.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    let hello = Hello::new(&[HELLO_NAME], &["istio"]).bytes();
    (mesh, echo, hello)
}

/// A count of the kernel's for this network namespace, from the lines with that mark of a file in `/proc/net`.
fn count_of(file: &str, mark: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/net/{file}")).expect("the kernel's counts");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(mark));
    let (names, counts) = (lines.next().expect("names"), lines.next().expect("counts"));
    let mut pairs = names.split(' ').zip(counts.split(' '));
    let (_, count) = pairs.find(|(known, _)| *known == name).expect("a count");
    count.parse().expect("a number")
}
