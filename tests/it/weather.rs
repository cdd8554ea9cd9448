//! Bad weather: clients and endpoints that are silent, slow or hostile. Each gets its reason, and nobody else is harmed.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use discovery::Span;
use gateway::config::Role;
use proxy::close::Reason;
use sidecar::{Behaviour, HELLO_NAME, RawBackend, RawClient, client_hello_bytes};
use tests::{Hello, Mesh, Place, endpoint, get, hello_service, until, until_async};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};

async fn one_endpoint(
    change: impl FnOnce(&mut gateway::config::Gateway),
) -> (Mesh, sidecar::Backend, Vec<u8>) {
    let mesh = Mesh::start(V4, change).await;
    let backend = mesh.backend("one").await;
    mesh.publish(
        vec![hello_service(vec![endpoint(backend.address(), HERE)])],
        &[],
    )
    .await;
    let hello =
        client_hello_bytes(&mesh.pki, sidecar::HELLO_NAME, sidecar::SIDECAR_ALPN).expect("a hello");
    (mesh, backend, hello)
}

async fn raw(mesh: &Mesh) -> RawClient {
    let address = mesh.address(Role::Inbound);
    RawClient::connect(address).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_partial_and_slow_clients_have_their_time() {
    let (mesh, _backend, hello) =
        one_endpoint(|config| config.timeouts.hello = Span(Duration::from_secs(2))).await;
    let address = mesh.address(Role::Inbound);
    let mut silent = RawClient::connect(address).await.expect("a connection");
    let mut partial = RawClient::connect(address).await.expect("a connection");
    partial.send(&hello[..hello.len() / 2]).await.expect("sent");
    let slow = tokio::spawn({
        let hello = hello.clone();
        async move {
            let mut slow = RawClient::connect(address).await.expect("a connection");
            for byte in &hello {
                // Slower than the limit allows, however fast this machine is.
                if slow.send(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::timeout(Duration::from_millis(20), slow.drain())
                    .await
                    .ok();
            }
        }
    });
    assert!(silent.drain().await.0.is_empty());
    assert!(partial.drain().await.0.is_empty());
    slow.await.expect("the slow client ends");
    until("all three are counted", || {
        mesh.count(Reason::HelloTimeout) == 3
    })
    .await;
    assert_eq!(
        mesh.client(Role::Inbound)
            .ask()
            .await
            .expect("an answer")
            .who,
        "one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hello_is_told_apart() {
    let (mesh, backend, hello) = one_endpoint(|_| {}).await;
    let address = mesh.address(Role::Inbound);
    let cases: [(&[u8], Reason); 4] = [
        // It could become the header of a load balancer, but never a hello.
        (b"\r\n", Reason::NotTls),
        (
            b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
            Reason::MalformedHello,
        ),
        (
            b"\x16\x03\x01\x40\x00\x01\x01\x00\x00",
            Reason::HelloTooLarge,
        ),
        (&hello[..40], Reason::HelloCut),
    ];
    for (bytes, reason) in cases {
        let mut client = RawClient::connect(address).await.expect("a connection");
        client.send(bytes).await.expect("sent");
        client.finish().await.ok();
        client.drain().await;
        until(reason.as_str(), || mesh.count(reason) == 1).await;
    }
    let mut probe = RawClient::connect(address).await.expect("a connection");
    probe.finish().await.expect("closed");
    probe.drain().await;
    until("the probe is counted", || mesh.count(Reason::Probe) == 1).await;
    assert_eq!(backend.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_clients_are_told() {
    let (mesh, _backend, _) = one_endpoint(|config| config.limits.connections = Some(2)).await;
    let held = [
        mesh.client(Role::Inbound)
            .connect()
            .await
            .expect("a connection"),
        mesh.client(Role::Inbound)
            .connect()
            .await
            .expect("a connection"),
    ];
    let refused = mesh
        .client(Role::Inbound)
        .ask()
        .await
        .expect_err("one too many");
    assert_eq!(
        refused.kind,
        sidecar::Kind::Alert(sidecar::AlertDescription::InternalError)
    );
    for connection in held {
        connection.close().await;
    }
    until("there is room again", || mesh.proxy().open() == 0).await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
}

/// A storm of clients that do not finish their hello takes all places, and keeps nobody out: the oldest of them makes room.
/// Who is served is never asked to.
#[tokio::test(flavor = "multi_thread")]
async fn half_hellos_make_room_for_whoever_comes() {
    let (mesh, _backend, hello) = one_endpoint(|config| {
        config.limits.connections = Some(20);
    })
    .await;
    let address = mesh.address(Role::Inbound);
    let served = mesh.client(Role::Inbound).connect().await;
    let mut served = served.expect("a connection");
    let mut storm = Vec::new();
    for n in 0..100 {
        let mut client = RawClient::connect(address).await.expect("a connection");
        // Every other one says nothing at all.
        client.send(&hello[..(n % 2) * 100]).await.expect("sent");
        storm.push(client);
        if n % 10 == 9 {
            let answer = mesh.client(Role::Inbound).ask().await;
            assert_eq!(answer.expect("an answer").who, "one");
        }
    }
    until("the others made room", || {
        mesh.count(Reason::Overloaded) >= 80
    })
    .await;
    assert!(
        mesh.proxy().open() <= 21,
        "{} are open",
        mesh.proxy().open()
    );
    assert_eq!(served.ask().await.expect("an answer").who, "one");
}

/// A client that was turned away and stays silent is not waited for, neither by its place nor by a stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_turned_away_does_not_linger() {
    let (mesh, _backend, _) = one_endpoint(|config| config.limits.connections = Some(1)).await;
    let held = mesh
        .client(Role::Inbound)
        .connect()
        .await
        .expect("a connection");
    let turned_away = RawClient::connect(mesh.address(Role::Inbound))
        .await
        .expect("a connection");
    until("its place is given back", || {
        mesh.count(Reason::Overloaded) == 1
    })
    .await;
    let again = RawClient::connect(mesh.address(Role::Inbound))
        .await
        .expect("a connection");
    until("both are there", || mesh.proxy().open() == 2).await;
    mesh.stop().await;
    drop((held, turned_away, again));
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_hellos_have_a_ceiling_and_the_oldest_goes() {
    let (mesh, _backend, hello) =
        one_endpoint(|config| config.limits.pending_hello_bytes = 1 << 20).await;
    let address = mesh.address(Role::Inbound);
    // A record that announces more than it brings: 15 KB of a hello of 16 KB.
    let mut half = vec![0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3f, 0xfc];
    half.resize(15_000, 0);
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = RawClient::connect(address).await.expect("a connection");
        client.send(&half).await.expect("sent");
        clients.push(client);
    }
    until("the oldest went", || mesh.count(Reason::Overloaded) >= 100).await;
    assert!(mesh.proxy().open() >= 50, "the newest are still there");
    // The others are not harmed.
    assert_eq!(
        mesh.client(Role::Inbound)
            .ask()
            .await
            .expect("an answer")
            .who,
        "one"
    );
    drop(clients);
    drop(hello);
    until("all are gone", || mesh.proxy().open() == 0).await;
}

/// Whole hellos are held until an endpoint has answered: the large ones have a ceiling too, and leave room for usual ones.
#[tokio::test(flavor = "multi_thread")]
async fn whole_hellos_that_wait_for_an_endpoint_have_a_ceiling() {
    let (mesh, backend, _) = one_endpoint(|config| {
        config.limits.pending_hello_bytes = 2 << 20;
        // None of them gives up while the others are still coming.
        config.timeouts.connect = Span(Duration::from_secs(10));
    })
    .await;
    backend.set(Behaviour::Swallow).await.expect("it swallows");
    let large = Hello::new(&[HELLO_NAME], &["istio"]).with(0x1234, vec![0; 60_000]);
    let large = large.in_records(16_000);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = raw(&mesh).await;
        client.send(&large).await.expect("sent");
        clients.push(client);
    }
    // Of buffers of 60 to 64 KB 16 or 17 fit into half of 2 MiB.
    until("most are refused", || mesh.count(Reason::Overloaded) >= 20).await;
    let live = mesh.backend("live").await;
    mesh.publish(
        vec![hello_service(vec![endpoint(live.address(), HERE)])],
        &[],
    )
    .await;
    let answer = mesh.client(Role::Inbound).ask().await.expect("an answer");
    assert_eq!(answer.who, "live");
    // One that is still coming is not asked to make room for those.
    let usual = Hello::new(&[HELLO_NAME], &["istio"]).bytes();
    let mut slow = raw(&mesh).await;
    slow.send(&usual[..50]).await.expect("sent");
    let is_held = async || {
        let open = get(mesh.app.addresses().admin, "/connections?limit=100").await;
        let open = open.json();
        let mut open = open["connections"].as_array().into_iter().flatten();
        open.any(|one| one["stage"] == "hello")
    };
    until_async("its first half is there", is_held).await;
    slow.send(&usual[50..]).await.expect("sent");
    until("it came through", || live.connections() > 1).await;
    drop((clients, slow));
    until("nothing is left", || mesh.proxy().open() == 0).await;
    let refused = mesh.count(Reason::Overloaded);
    assert!(refused <= 32, "{refused} of 40 are refused");
    // What they held is given back: there is room again.
    let before = live.connections();
    let mut client = raw(&mesh).await;
    client.send(&large).await.expect("sent");
    until("it came through", || live.connections() > before).await;
    assert_eq!(mesh.count(Reason::Overloaded), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_is_the_clients_to_leave() {
    let (mesh, backend, hello) = one_endpoint(|_| {}).await;
    backend.set(Behaviour::Silence).await.expect("it is silent");
    let mut client = RawClient::connect(mesh.address(Role::Inbound))
        .await
        .expect("a connection");
    client.send(&hello).await.expect("sent");
    backend.until_open(1).await;
    client.reset().expect("reset");
    until("it is counted", || mesh.count(Reason::Unanswered) == 1).await;
    until("nothing is left", || mesh.proxy().open() == 0).await;
}

/// It keeps its connection for as long as its user timeout lasts, and costs the others nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_left_in_the_end() {
    let (mesh, backend, hello) =
        one_endpoint(|config| config.timeouts.user = Span(Duration::from_secs(2))).await;
    let source = RawBackend::bind((sidecar::fresh_loopback(), 0).into()).expect("an endpoint");
    mesh.publish(
        vec![hello_service(vec![endpoint(source.address(), HERE)])],
        &[],
    )
    .await;
    let mut client = RawClient::connect(mesh.address(Role::Inbound))
        .await
        .expect("a connection");
    client.send(&hello).await.expect("sent");
    let mut sender = source.accept().await.expect("accepted");
    let sending = tokio::spawn(async move {
        let piece = sidecar::pattern(1 << 20);
        let mut sent = 0_u64;
        while sender.send(&piece).await.is_ok() {
            sent += 1;
        }
        sent
    });
    mesh.publish(
        vec![hello_service(vec![endpoint(backend.address(), HERE)])],
        &[],
    )
    .await;
    for _ in 0..10 {
        mesh.client(Role::Inbound).ask().await.expect("an answer");
    }
    until("it is counted", || mesh.count(Reason::PeerStalled) == 1).await;
    until("nothing is left", || mesh.proxy().open() == 0).await;
    // What was taken from the endpoint is what buffers hold, not what it had to say.
    let sent = sending.await.expect("sent");
    assert!(sent < 64, "{sent} MiB");
    drop(client);
}
