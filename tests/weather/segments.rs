//! What a short connection costs on the wire, counted by the kernel of a network namespace where nobody else says anything.

use std::net::{Ipv4Addr, SocketAddr};

use gateway::config::Role;
use sidecar::{HELLO_NAME, RawBackend, RawClient, SIDECAR_ALPN, client_hello_bytes};
use socket2::SockRef;
use tests::{Mesh, endpoint, hello_service, in_namespace, until};

use crate::{ALONE, HERE};

/// Connections that are counted.
const COUNT: u64 = 100;

/// An endpoint says its answer and its end in one segment, and so does the gateway: through it a connection takes no more of
/// them than two without it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_and_its_end_leave_together() {
    let _alone = ALONE.lock().await;
    if !in_namespace("segments::an_answer_and_its_end_leave_together") {
        return;
    }
    let mesh = Mesh::start(Ipv4Addr::LOCALHOST.into(), |_| {}).await;
    let backend = RawBackend::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("an endpoint");
    let direct = backend.address();
    let service = hello_service(vec![endpoint(direct, HERE)]);
    mesh.publish(vec![service], &[]).await;
    let hello = client_hello_bytes(&mesh.pki, HELLO_NAME, SIDECAR_ALPN).expect("a hello");
    let length = hello.len();
    tokio::spawn(async move {
        while let Ok(mut client) = backend.accept().await {
            client.receive(length).await.expect("a hello");
            // What is corked leaves with the end.
            let corked = SockRef::from(&*client.stream()).set_tcp_cork(true);
            corked.expect("a socket");
            client.send(&[7; 256]).await.expect("sent");
        }
    });
    let through = mesh.address(Role::Inbound);
    let mut counts = [0; 2];
    // Alternately, so that whatever the kernel learns of a path it learns for both.
    for _ in 0..COUNT {
        for (count, address) in counts.iter_mut().zip([direct, through]) {
            let before = segments();
            exchange(address, &hello).await;
            until("it is closed", || mesh.proxy().open() == 0).await;
            *count += segments() - before;
        }
    }
    let [direct, through] = counts;
    eprintln!(
        "== segments of {COUNT} connections: {direct} without the gateway, {through} through it"
    );
    assert!(
        through < 2 * direct + COUNT / 2,
        "{through} segments, {direct} without the gateway"
    );
}

async fn exchange(address: SocketAddr, hello: &[u8]) {
    let mut client = RawClient::connect(address).await.expect("a connection");
    client.send(hello).await.expect("sent");
    assert_eq!(client.drain().await.0, [7; 256]);
}

/// Segments that this namespace's kernel has sent so far.
fn segments() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("the kernel's counts");
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let names = tcp.next().expect("names").split(' ');
    let mut values = names.zip(tcp.next().expect("values").split(' '));
    let found = values.find_map(|(name, value)| (name == "OutSegs").then(|| value.parse()));
    found.expect("OutSegs").expect("a number")
}
