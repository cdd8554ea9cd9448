//! Every reason, provoked with a real client: the same one stands in the log line, in the metric and in `/failures`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use discovery::Span;
use gateway::config::{Gateway, ProxyProtocol, Role, Successes};
use proxy::close::Reason;
use sidecar::{Backend, Behaviour, HELLO_NAME, RawBackend, RawClient};
use tests::{Hello, Mesh, Place, endpoint, get, hello_service, metric, says, until_async};

pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};
const THERE: Place = Place {
    cluster: "eu",
    network: "n3",
    locality: "eu-west/a",
};

async fn mesh(change: impl FnOnce(&mut Gateway)) -> Mesh {
    Mesh::start(V4, |config| {
        config.access_log.successes = Successes::On;
        change(config);
    })
    .await
}

/// A gateway before these endpoints.
async fn before(endpoints: Vec<model::Endpoint>, change: impl FnOnce(&mut Gateway)) -> Mesh {
    let mesh = mesh(change).await;
    mesh.publish(vec![hello_service(endpoints)], &[]).await;
    mesh
}

pub(crate) async fn before_one(change: impl FnOnce(&mut Gateway)) -> (Mesh, Backend) {
    let mesh = mesh(change).await;
    let backend = mesh.backend("one").await;
    let endpoints = vec![endpoint(backend.address(), HERE)];
    mesh.publish(vec![hello_service(endpoints)], &[]).await;
    (mesh, backend)
}

async fn raw(mesh: &Mesh) -> RawClient {
    let address = mesh.address(Role::Inbound);
    RawClient::connect(address).await.expect("a connection")
}

fn hello() -> Hello {
    Hello::new(&[HELLO_NAME], &["istio"])
}

/// Sends these bytes and takes what comes.
async fn send(mesh: &Mesh, bytes: &[u8]) -> Vec<u8> {
    let mut client = raw(mesh).await;
    client.send(bytes).await.expect("sent");
    client.drain().await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_send() {
    let (mesh, _backend) = before_one(|_| {}).await;
    let whole = hello().bytes();

    drop(raw(&mesh).await);
    says(&mesh, Reason::Probe).await;
    let mut cut = raw(&mesh).await;
    cut.send(&whole[..20]).await.expect("sent");
    cut.finish().await.expect("closed");
    says(&mesh, Reason::HelloCut).await;
    send(&mesh, b"GET / HTTP/1.1\r\n\r\n").await;
    says(&mesh, Reason::NotTls).await;
    let line = mesh.access_log().pop().expect("a line");
    assert_eq!(
        line["detail"],
        "plain HTTP; the client must speak TLS on this port"
    );
    send(&mesh, b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let stats = mesh.app.addresses().stats;
    until_async("each cause has a counter of its own", async || {
        let text = get(stats, "/metrics").await.body;
        let causes = ["http", "ssh", "text"].map(|cause| {
            let label = format!("cause=\"{cause}\"");
            metric(&text, "causeway_hellos_refused_total", &[&label])
        });
        causes == [1.0, 1.0, 0.0]
    })
    .await;
    // A handshake record with a ClientHello of two bytes.
    send(&mesh, &[0x16, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3]).await;
    says(&mesh, Reason::MalformedHello).await;
    send(
        &mesh,
        &Hello::new(&["a.example", "b.example"], &["istio"]).bytes(),
    )
    .await;
    says(&mesh, Reason::TwoNames).await;
    send(
        &mesh,
        &hello().with(10, Vec::new()).with(10, Vec::new()).bytes(),
    )
    .await;
    says(&mesh, Reason::DuplicateExtension).await;
    send(&mesh, &Hello::new(&["no host name"], &["istio"]).bytes()).await;
    says(&mesh, Reason::BadName).await;
    send(&mesh, &Hello::new(&[], &["istio"]).bytes()).await;
    says(&mesh, Reason::NoName).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hellos_that_come_late() {
    let (mesh, _backend) =
        before_one(|config| config.timeouts.hello = Span(Duration::from_millis(300))).await;
    let mut late = raw(&mesh).await;
    late.send(&hello().bytes()[..20]).await.expect("sent");
    assert!(late.drain().await.0.is_empty());
    says(&mesh, Reason::HelloTimeout).await;
    send(
        &mesh,
        &hello().with(0x1234, vec![0; 65_000]).bytes()[..60_000],
    )
    .await;
    let large = mesh.proxy().totals();
    assert!(
        large
            .closes
            .iter()
            .all(|(_, reason, _)| *reason != Reason::HelloTooLarge)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hellos_beyond_the_ceiling() {
    let (mesh, _backend) = before_one(|config| config.limits.hello_bytes = 512).await;
    let large = hello().with(0x1234, vec![0; 600]).bytes();
    assert_eq!(send(&mesh, &large).await, [0x15, 3, 3, 0, 2, 2, 50]);
    says(&mesh, Reason::HelloTooLarge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_nowhere() {
    let (mesh, _backend) = before_one(|_| {}).await;
    let refused = [0x15, 3, 3, 0, 2, 2, 112];
    let named = |name: &str| Hello::new(&[name], &["istio"]).bytes();
    assert_eq!(
        send(&mesh, &Hello::new(&[HELLO_NAME], &["h2"]).bytes()).await,
        refused
    );
    says(&mesh, Reason::AlpnRefused).await;
    assert_eq!(send(&mesh, &named("hello.example.com")).await, refused);
    says(&mesh, Reason::NotMeshName).await;
    assert_eq!(
        send(&mesh, &named(&HELLO_NAME.replace("hello", "hullo"))).await,
        refused
    );
    says(&mesh, Reason::UnknownService).await;
    assert_eq!(
        send(&mesh, &named(&HELLO_NAME.replace("5000", "5001"))).await,
        refused
    );
    says(&mesh, Reason::UnknownPort).await;
    assert_eq!(
        send(&mesh, &named(&HELLO_NAME.replace("_._.", "_.v9_."))).await,
        refused
    );
    says(&mesh, Reason::UnknownSubset).await;
    let line = mesh.access_log().pop().expect("a line");
    assert_eq!(line["sni"], HELLO_NAME.replace("_._.", "_.v9_."));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_endpoint_to_be_had() {
    let mesh = before(Vec::new(), |_| {}).await;
    assert_eq!(
        send(&mesh, &hello().bytes()).await,
        [0x15, 3, 3, 0, 2, 2, 80]
    );
    says(&mesh, Reason::NoEndpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_cannot_be_dialled() {
    let (mesh, backend) = before_one(|config| {
        // What is refused must be so before that, on a busy machine too.
        config.timeouts.connect = Span(Duration::from_secs(2));
        config.timeouts.dial = Span(Duration::from_secs(3));
    })
    .await;
    backend.set(Behaviour::Refuse).await.expect("it refuses");
    assert_eq!(
        send(&mesh, &hello().bytes()).await,
        [0x15, 3, 3, 0, 2, 2, 80]
    );
    says(&mesh, Reason::DialRefused).await;
    let line = mesh.access_log().pop().expect("a line");
    let attempt = &line["attempts"][0];
    assert_eq!(attempt["outcome"], "refused");
    assert_eq!(attempt["address"], backend.address().to_string());
    assert_eq!(attempt["cluster"], "us");
    backend.set(Behaviour::Swallow).await.expect("it swallows");
    send(&mesh, &hello().bytes()).await;
    says(&mesh, Reason::DialTimeout).await;
    // TCP to a broadcast address is ENETUNREACH on Linux (ip(7)).
    let broadcast = SocketAddr::from(([127, 255, 255, 255], 80));
    let nowhere = hello_service(vec![endpoint(broadcast, HERE)]);
    mesh.publish(vec![nowhere], &[]).await;
    send(&mesh, &hello().bytes()).await;
    says(&mesh, Reason::DialUnreachable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_for_the_dial() {
    let (mesh, backend) = before_one(|_| {}).await;
    backend.set(Behaviour::Swallow).await.expect("it swallows");
    let mut client = raw(&mesh).await;
    client.send(&hello().bytes()).await.expect("sent");
    until_async("it is dialled", async || mesh.proxy().dials() >= 1).await;
    client.reset().expect("gone");
    says(&mesh, Reason::ClientGone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_do_not_answer() {
    let (mesh, backend) = before_one(|_| {}).await;
    backend.set(Behaviour::Reset).await.expect("it resets");
    send(&mesh, &hello().bytes()).await;
    says(&mesh, Reason::UpstreamClosedEarly).await;
    backend.set(Behaviour::Silence).await.expect("it is silent");
    let mut client = raw(&mesh).await;
    client.send(&hello().bytes()).await.expect("sent");
    backend.until_open(1).await;
    client.reset().expect("gone");
    says(&mesh, Reason::Unanswered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_networks_gateway_that_refuses() {
    let mesh = mesh(|_| {}).await;
    let gateway = RawBackend::bind(SocketAddr::new(sidecar::fresh_loopback(), 0)).expect("bound");
    let refusing = gateway.address();
    tokio::spawn(async move {
        while let Ok(mut client) = gateway.accept().await {
            tokio::spawn(async move {
                client.receive(5).await.expect("a hello");
                client
                    .send(&[0x15, 3, 3, 0, 2, 2, 112])
                    .await
                    .expect("sent");
                client.finish().await.expect("closed");
                client.drain().await;
            });
        }
    });
    let there = endpoint(SocketAddr::from(([10, 8, 0, 9], 9898)), THERE);
    let network = model::Gateway {
        address: refusing,
        name: None,
        clusters: Vec::new(),
    };
    mesh.publish(vec![hello_service(vec![there])], &[("n3", vec![network])])
        .await;
    let mut client = RawClient::connect(mesh.address(Role::Outbound))
        .await
        .expect("a connection");
    client.send(&hello().bytes()).await.expect("sent");
    assert_eq!(client.drain().await.0, [0x15, 3, 3, 0, 2, 2, 112]);
    says(&mesh, Reason::GatewayAlert).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_what_was_relayed() {
    let (mesh, backend) = before_one(|_| {}).await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    says(&mesh, Reason::Done).await;
    let line = mesh.access_log().pop().expect("a line");
    assert_eq!(line["endpoint"]["address"], backend.address().to_string());
    assert_eq!(line["endpoint"]["tier"], 0);
    assert!(line["firstByteMs"].as_f64() > Some(0.0), "{line}");
    assert!(
        line["sent"].as_u64() > Some(500) && line["received"].as_u64() > Some(500),
        "{line}"
    );
    assert_whole(&mesh, &line);

    let echo = RawBackend::echo(SocketAddr::new(sidecar::fresh_loopback(), 0)).expect("bound");
    let service = hello_service(vec![endpoint(echo.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    let whole = hello().bytes();
    let mut client = raw(&mesh).await;
    client.send(&whole).await.expect("sent");
    assert_eq!(client.receive(whole.len()).await.expect("an echo"), whole);
    client.reset().expect("gone");
    says(&mesh, Reason::ClientReset).await;

    let resetting = RawBackend::bind(SocketAddr::new(sidecar::fresh_loopback(), 0)).expect("bound");
    let service = hello_service(vec![endpoint(resetting.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    let mut client = raw(&mesh).await;
    client.send(&whole).await.expect("sent");
    let mut upstream = resetting.accept().await.expect("a connection");
    upstream.receive(whole.len()).await.expect("the hello");
    upstream.send(b"hello").await.expect("sent");
    assert_eq!(client.receive(5).await.expect("an answer"), b"hello");
    upstream.reset().expect("gone");
    client.drain().await;
    // One that stays has minutes to fetch what was sent to it.
    drop(client);
    says(&mesh, Reason::UpstreamReset).await;
}

/// Everything that a line is to say of a connection that was served.
fn assert_whole(mesh: &Mesh, line: &serde_json::Value) {
    let host = "hello.default.svc.cluster.local";
    for (pointer, value) in [
        ("/reason", "done"),
        ("/stage", "relay"),
        ("/blame", "nobody"),
        ("/flag", "-"),
        ("/role", "inbound"),
        (
            "/listener",
            mesh.address(Role::Inbound).to_string().as_str(),
        ),
        ("/sni", HELLO_NAME),
        ("/alpn", "istio,istio-peer-exchange"),
        ("/route/name", HELLO_NAME),
        ("/route/service", host),
        ("/endpoint/cluster", HERE.cluster),
        ("/endpoint/network", HERE.network),
        ("/endpoint/locality", HERE.locality),
        ("/attempts/0/outcome", "connected"),
    ] {
        let said = line.pointer(pointer).and_then(|said| said.as_str());
        assert_eq!(said, Some(value), "{pointer} of {line}");
    }
    let client: Option<SocketAddr> = line["client"].as_str().and_then(|it| it.parse().ok());
    assert!(client.is_some_and(|it| it.ip().is_loopback()), "{line}");
    let start = line["start"].as_str().unwrap_or_default();
    assert!(start.len() == 24 && start.ends_with('Z'), "{line}");
    assert!(line["durationMs"].as_f64() >= line["firstByteMs"].as_f64());
    assert!(line["attempts"][0]["ms"].as_f64() > Some(0.0), "{line}");
    assert_eq!(line["route"]["port"], 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_too_many() {
    let (mesh, _backend) = before_one(|config| config.limits.connections = Some(1)).await;
    let mut first = mesh
        .client(Role::Inbound)
        .connect()
        .await
        .expect("a connection");
    assert_eq!(
        send(&mesh, &hello().bytes()).await,
        [0x15, 3, 3, 0, 2, 2, 80]
    );
    says(&mesh, Reason::Overloaded).await;
    first.ask().await.expect("the first one is served on");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_headers() {
    let from = |list: &str| {
        let from = vec![list.parse().expect("a network")];
        move |config: &mut Gateway| {
            config.listeners[0].proxy_protocol = Some(ProxyProtocol { from })
        }
    };
    let (strict, _backend) = before_one(from("10.0.0.0/8")).await;
    send(&strict, b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 15443\r\n").await;
    says(&strict, Reason::ProxySourceRefused).await;

    let (mesh, backend) = before_one(from("127.0.0.0/8")).await;
    send(&mesh, &hello().bytes()).await;
    says(&mesh, Reason::ProxyHeaderMissing).await;
    backend.set(Behaviour::Reset).await.expect("it resets");
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 15443\r\n";
    let mut client = raw(&mesh).await;
    // Cut within the header, and the rest of it together with the hello.
    client.send(&header[..9]).await.expect("sent");
    client
        .send(&[&header[9..], &hello().bytes()].concat())
        .await
        .expect("sent");
    client.drain().await;
    says(&mesh, Reason::UpstreamClosedEarly).await;
    let line = mesh.access_log().pop().expect("a line");
    assert_eq!(line["client"], "192.0.2.7:4711");
    assert!(
        line["peer"]
            .as_str()
            .is_some_and(|peer| peer.starts_with("127.")),
        "{line}"
    );
    // The second version of it (proxy-protocol.txt, 2.2): signature, PROXY over TCP4, twelve bytes of addresses and ports.
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 9, 192, 0, 2, 8, 0x12, 0x67, 0x3c, 0x53]);
    send(&mesh, &[header, hello().bytes()].concat()).await;
    until_async("the log names the client of version 2", async || {
        let log = mesh.access_log();
        log.iter().any(|line| line["client"] == "192.0.2.9:4711")
    })
    .await;
    // A load balancer's own check says that it speaks for nobody.
    let mut check = raw(&mesh).await;
    check.send(b"PROXY UNKNOWN\r\n").await.expect("sent");
    check.finish().await.expect("closed");
    says(&mesh, Reason::Probe).await;
}

/// What is provoked elsewhere, or not at all.
const ELSEWHERE: [Reason; 2] = [
    // weather: a gateway without descriptors, as a child.
    Reason::DialUnable,
    // A defect of ours cannot be provoked.
    Reason::Internal,
];

#[test]
fn every_reason_is_provoked() {
    let sources = [
        include_str!("reasons.rs"),
        include_str!("closing.rs"),
        include_str!("../weather/vanished.rs"),
    ]
    .concat();
    for reason in Reason::ALL {
        let whose = ["&mesh", "&strict", "mesh"];
        let mut calls = whose
            .map(|whose| format!("says({whose}, Reason::{reason:?})"))
            .into_iter();
        let told = calls.any(|call| sources.contains(&call));
        assert_ne!(told, ELSEWHERE.contains(reason), "{reason:?}");
    }
}
