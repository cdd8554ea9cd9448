//! Peers that vanish: no FIN, no reset, nothing comes back any more. Addresses are taken away in a network namespace of the
//! story's own, where the test runs itself again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use discovery::Span;
use gateway::config::Role;
use proxy::close::Reason;
use sidecar::{HELLO_NAME, RawBackend, RawClient, SIDECAR_ALPN, client_hello_bytes};
use tests::{Mesh, endpoint, hello_service, says, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::{ALONE, HERE};

/// Set where the test is already in its own namespace.
const INSIDE: &str = "CAUSEWAY_TEST_NAMESPACE";

const ENDPOINT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 8, 8));

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_vanish_are_found_and_told_apart() {
    let _alone = ALONE.lock().await;
    if std::env::var_os(INSIDE).is_some() {
        let told = tokio::time::timeout(Duration::from_secs(100), inside()).await;
        return told.expect("it ends in time");
    }
    let isolated = |program: &std::ffi::OsStr| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net"]).arg(program);
        command
    };
    let probe = isolated("ip".as_ref())
        .args(["link", "set", "lo", "up"])
        .output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            return eprintln!("== SKIPPED: no network namespace of one's own here: {why}");
        }
        Err(why) => return eprintln!("== SKIPPED: 'unshare' cannot be run: {why}"),
    }
    let own = std::env::current_exe().expect("this test's own file");
    let name = "vanished::peers_that_vanish_are_found_and_told_apart";
    let output = isolated(own.as_os_str())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("it runs again");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside: {said}");
    assert!(said.contains("1 passed"), "it did not run inside: {said}");
}

async fn inside() {
    ip(&["link", "set", "lo", "up"]);
    for address in [ENDPOINT, CLIENT] {
        ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
    }
    let near = sidecar::fresh_loopback();
    let (to_vanish, ends_far) = gateway(ENDPOINT).await;
    let (from_vanish, ends_near) = gateway(near).await;
    let [idle_up, mut busy_up] = [
        open(&to_vanish, &ends_far, near).await,
        open(&to_vanish, &ends_far, near).await,
    ];
    let [idle_down, mut busy_down] = [
        open(&from_vanish, &ends_near, CLIENT).await,
        open(&from_vanish, &ends_near, CLIENT).await,
    ];
    for address in [ENDPOINT, CLIENT] {
        ip(&["address", "del", &format!("{address}/32"), "dev", "lo"]);
    }
    // More than all buffers hold: something always waits for a peer that does not take it.
    let much = vec![0; 64 << 20];
    let (_, _) = tokio::join!(busy_up.0.write_all(&much), busy_down.1.send(&much));
    // Who is left is told, and goes.
    let (mut idle_up, mut idle_down) = (idle_up, idle_down);
    assert_eq!(idle_up.0.read(&mut [0]).await.expect("closed"), 0);
    assert_eq!(idle_down.1.drain().await.0, b"");
    drop((idle_up, idle_down, busy_up, busy_down));
    for mesh in [&to_vanish, &from_vanish] {
        until("nothing is left", || mesh.proxy().open() == 0).await;
        let closes = mesh.proxy().totals().closes;
        let of = |wanted| {
            closes
                .iter()
                .filter(|close| close.1 == wanted)
                .map(|close| close.2)
                .sum::<u64>()
        };
        assert_eq!(
            [Reason::PeerGone, Reason::PeerStalled].map(of),
            [1, 1],
            "{closes:?}"
        );
        says(mesh, Reason::PeerGone).await;
        says(mesh, Reason::PeerStalled).await;
    }
}

/// A gateway that asks soon whether its peers are there, and its one endpoint.
async fn gateway(endpoint_at: IpAddr) -> (Mesh, RawBackend) {
    let second = Span(Duration::from_secs(1));
    let mesh = Mesh::start(Ipv4Addr::LOCALHOST.into(), |config| {
        config.timeouts.user = second;
        config.timeouts.keepalive = second;
        config.timeouts.keepalive_interval = second;
    })
    .await;
    let backend = RawBackend::bind(SocketAddr::new(endpoint_at, 0)).expect("an endpoint");
    let service = hello_service(vec![endpoint(backend.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    (mesh, backend)
}

/// An established connection from this address, both ends of it.
async fn open(mesh: &Mesh, backend: &RawBackend, from: IpAddr) -> (TcpStream, RawClient) {
    let hello = client_hello_bytes(&mesh.pki, HELLO_NAME, SIDECAR_ALPN).expect("a hello");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from, 0)).expect("bound");
    let connecting = socket.connect(mesh.address(Role::Inbound));
    let mut client = connecting.await.expect("connected");
    client.write_all(&hello).await.expect("sent");
    let mut accepted = backend.accept().await.expect("accepted");
    assert_eq!(
        accepted.receive(hello.len()).await.expect("the hello"),
        hello
    );
    accepted.send(b"answer").await.expect("sent");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.expect("the answer");
    (client, accepted)
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("ip runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {said}");
}
