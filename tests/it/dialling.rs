//! Endpoints that are marked healthy and are not: nobody fails, nobody waits long, and nobody waits once it is known.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use discovery::Span;
use gateway::config::Role;
use proxy::close::Reason;
use sidecar::{
    Backend, Behaviour, HELLO_NAME, RawBackend, RawClient, SIDECAR_ALPN, client_hello_bytes,
};
use tests::{
    Hello, Mesh, Place, endpoint, hello_service, in_namespace, in_one_of_three, until, until_async,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};
const ELSEWHERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-east/a",
};

async fn raw(mesh: &Mesh) -> RawClient {
    let address = mesh.address(Role::Inbound);
    RawClient::connect(address).await.expect("a connection")
}

/// The bound that is promised to users; three staggered attempts and the fourth are 0.75 s.
const PROMISE: Duration = Duration::from_millis(1_500);

async fn dead_first_tier(dead: usize, behaviour: Behaviour) {
    in_one_of_three(async || dead_first_tier_once(dead, behaviour).await).await;
}

/// Or which client waited too long.
async fn dead_first_tier_once(dead: usize, behaviour: Behaviour) -> Result<(), String> {
    let mesh = Mesh::start(V4, |_| {}).await;
    let mut backends = Vec::new();
    for _ in 0..dead {
        let backend = mesh.backend("dead").await;
        backend.set(behaviour).await.expect("it misbehaves");
        backends.push(backend);
    }
    let live = mesh.backend("live").await;
    let mut endpoints: Vec<_> = backends
        .iter()
        .map(|backend| endpoint(backend.address(), HERE))
        .collect();
    endpoints.push(endpoint(live.address(), ELSEWHERE));
    mesh.publish(vec![hello_service(endpoints)], &[]).await;

    let client = mesh.client(Role::Inbound);
    for n in 0..30 {
        let answer = client
            .ask()
            .await
            .unwrap_or_else(|fault| panic!("client {n}: {fault}"));
        assert_eq!(answer.who, "live");
        if answer.handshake >= PROMISE {
            return Err(format!("client {n} waited {:?}", answer.handshake));
        }
    }
    let all_out = || mesh.proxy().ejected() == u64::try_from(dead).unwrap_or(0);
    if !all_out() {
        // Outcomes of overtaken attempts come late; each further client adds three.
        for _ in 0..60 {
            if all_out() {
                break;
            }
            client.ask().await.expect("an answer");
        }
        until("every dead endpoint is ejected", all_out).await;
    }
    // Known to be dead, they are not dialled at all: by count, not by a clock.
    let dials = mesh.proxy().dials();
    for _ in 0..10 {
        client.ask().await.expect("an answer");
    }
    assert_eq!(mesh.proxy().dials() - dials, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_refuse() {
    dead_first_tier(2, Behaviour::Refuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_that_refuse() {
    dead_first_tier(20, Behaviour::Refuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_swallow() {
    dead_first_tier(2, Behaviour::Swallow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_that_swallow() {
    dead_first_tier(20, Behaviour::Swallow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_closes_on_the_hello_is_replaced_and_blamed() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let bad = mesh.backend("bad").await;
    bad.set(Behaviour::Reset).await.expect("it resets");
    let good = mesh.backend("good").await;
    let both = vec![
        endpoint(bad.address(), HERE),
        endpoint(good.address(), HERE),
    ];
    mesh.publish(vec![hello_service(both)], &[]).await;
    for _ in 0..30 {
        assert_eq!(
            mesh.client(Role::Inbound)
                .ask()
                .await
                .expect("an answer")
                .who,
            "good"
        );
    }
    until("the bad one is ejected", || mesh.proxy().ejected() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_everyone_resets_ejects_nobody() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let mut backends = Vec::new();
    for _ in 0..4 {
        let backend: Backend = mesh.backend("bad").await;
        backend.set(Behaviour::Reset).await.expect("it resets");
        backends.push(backend);
    }
    let endpoints = backends
        .iter()
        .map(|backend| endpoint(backend.address(), HERE))
        .collect();
    mesh.publish(vec![hello_service(endpoints)], &[]).await;
    let hello =
        client_hello_bytes(&mesh.pki, sidecar::HELLO_NAME, sidecar::SIDECAR_ALPN).expect("a hello");
    for _ in 0..1_000 {
        let mut client = raw(&mesh).await;
        client.send(&hello).await.expect("sent");
        let (answer, _) = client.drain().await;
        assert_eq!(answer.first(), Some(&0x15), "an alert, not {answer:?}");
    }
    assert_eq!(mesh.proxy().ejections(), 0);
    let closes = mesh.proxy().totals().closes;
    assert!(
        closes
            .iter()
            .all(|(_, reason, _)| *reason == Reason::UpstreamClosedEarly),
        "{closes:?}"
    );
}

/// A hello that is closed on gets two more endpoints, none of them twice. What may be more than a hello is given to one and to no
/// other: early data that was offered, and bytes behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_said_twice_is_not() {
    let hello = Hello::new(&[HELLO_NAME], SIDECAR_ALPN);
    let early_data = hello.clone().with(42, Vec::new()).bytes();
    let more = [&hello.bytes()[..], b"more"].concat();
    for (bytes, expected) in [(hello.bytes(), 3), (early_data, 1), (more, 1)] {
        let mesh = Mesh::start(V4, |_| {}).await;
        let heard = Arc::<AtomicU64>::default();
        let mut endpoints = Vec::new();
        for _ in 0..5 {
            let backend = RawBackend::bind((sidecar::fresh_loopback(), 0).into()).expect("bound");
            endpoints.push(endpoint(backend.address(), HERE));
            let (heard, length) = (heard.clone(), bytes.len());
            tokio::spawn(async move {
                while let Ok(mut client) = backend.accept().await {
                    // A connect that was overtaken says nothing.
                    if client.receive(length).await.is_ok() {
                        heard.fetch_add(1, Ordering::Relaxed);
                        client.reset().expect("reset");
                    }
                }
            });
        }
        mesh.publish(vec![hello_service(endpoints)], &[]).await;
        let mut client = raw(&mesh).await;
        client.send(&bytes).await.expect("sent");
        client.drain().await;
        until("it is over", || mesh.proxy().open() == 0).await;
        assert_eq!(heard.load(Ordering::Relaxed), expected, "{bytes:?}");
    }
}

/// Eight attempts, each at another endpoint, and the client is told.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_bounded_in_number() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let mut backends = Vec::new();
    for _ in 0..12 {
        let backend = mesh.backend("dead").await;
        backend.set(Behaviour::Refuse).await.expect("it refuses");
        backends.push(backend);
    }
    let all = backends.iter().map(|one| endpoint(one.address(), HERE));
    mesh.publish(vec![hello_service(all.collect())], &[]).await;
    let mut client = raw(&mesh).await;
    let hello = Hello::new(&[HELLO_NAME], SIDECAR_ALPN).bytes();
    client.send(&hello).await.expect("sent");
    assert_eq!(client.drain().await.0, [0x15, 3, 3, 0, 2, 2, 80]);
    until_async("it is written down", async || !mesh.access_log().is_empty()).await;
    let line = mesh.access_log().pop().expect("a line");
    assert_eq!(line["reason"], "dial_refused");
    let attempts = line["attempts"].as_array().expect("attempts").iter();
    let addresses: HashSet<_> = attempts.map(|tried| tried["address"].to_string()).collect();
    assert_eq!((addresses.len(), mesh.proxy().dials()), (8, 8), "{line}");
}

/// When the time of all attempts is over no other one begins, however many are left.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_bounded_in_time() {
    let mesh = Mesh::start(V4, |config| {
        config.timeouts.stagger = Span(Duration::from_millis(100));
        config.timeouts.dial = Span(Duration::from_millis(250));
        config.timeouts.connect = Span(Duration::from_millis(1_000));
    })
    .await;
    let mut backends = Vec::new();
    for _ in 0..8 {
        let backend = mesh.backend("dead").await;
        backend.set(Behaviour::Swallow).await.expect("it swallows");
        backends.push(backend);
    }
    let all = backends.iter().map(|one| endpoint(one.address(), HERE));
    mesh.publish(vec![hello_service(all.collect())], &[]).await;
    let mut client = raw(&mesh).await;
    let hello = Hello::new(&[HELLO_NAME], SIDECAR_ALPN).bytes();
    client.send(&hello).await.expect("sent");
    assert_eq!(client.drain().await.0, [0x15, 3, 3, 0, 2, 2, 80]);
    until("it is over", || mesh.count(Reason::DialTimeout) == 1).await;
    // At 0, 100 and 200 ms, or later.
    let dials = mesh.proxy().dials();
    assert!((1..=3).contains(&dials), "{dials} attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ejected_endpoint_comes_back_by_our_own_connect() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let backend = mesh.backend("one").await;
    let other = mesh.backend("other").await;
    backend.set(Behaviour::Refuse).await.expect("it refuses");
    let mut service = hello_service(vec![
        endpoint(backend.address(), HERE),
        endpoint(other.address(), ELSEWHERE),
    ]);
    service.policy = std::sync::Arc::new(model::Policy {
        outlier_detection: Some(model::OutlierDetection {
            base_ejection: Duration::from_millis(50),
            ..model::OutlierDetection::default()
        }),
        ..model::Policy::default()
    });
    mesh.publish(vec![service], &[]).await;
    for _ in 0..3 {
        assert_eq!(
            mesh.client(Role::Inbound)
                .ask()
                .await
                .expect("an answer")
                .who,
            "other"
        );
    }
    until("it is ejected, and again", || mesh.proxy().ejections() >= 2).await;
    backend.set(Behaviour::Serve).await.expect("it serves");
    until("it is back", || mesh.proxy().ejected() == 0).await;
    // On a ramp: what it does not get yet stays where it went.
    until_async("it serves again", async || {
        let answer = mesh.client(Role::Inbound).ask().await;
        answer.expect("an answer").who == "one"
    })
    .await;
}

/// A gateway that listens on all addresses is reached at each of its machine's, so an endpoint at one of them and our own port
/// would be a loop: each hello would come in again until there are no connections left.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_listener_is_not_dialled_whichever_address_it_is_given_by() {
    if !in_namespace("dialling::our_own_listener_is_not_dialled_whichever_address_it_is_given_by") {
        return;
    }
    let mesh = Mesh::start(V4, |config| {
        config.limits.connections = Some(20);
        config.listeners[0]
            .address
            .set_ip(Ipv4Addr::UNSPECIFIED.into());
    })
    .await;
    let port = mesh.address(Role::Inbound).port();
    let ourselves = endpoint((Ipv4Addr::new(10, 1, 2, 3), port).into(), HERE);
    mesh.publish(vec![hello_service(vec![ourselves])], &[])
        .await;
    let mut client = raw(&mesh).await;
    let hello = Hello::new(&[HELLO_NAME], SIDECAR_ALPN).bytes();
    client.send(&hello).await.expect("sent");
    assert_eq!(client.drain().await.0, [0x15, 3, 3, 0, 2, 2, 80]);
    until("it is over", || mesh.count(Reason::NoEndpoint) == 1).await;
    assert_eq!(mesh.proxy().dials(), 0);
}

/// Where IPv6 is switched off, the kernel's word for an IPv6 endpoint is the one for want of ports. It is out of reach like any other
/// that is dead: somebody else is tried, and it is ejected.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_a_family_that_is_switched_off_is_ejected() {
    if !in_namespace("dialling::an_endpoint_of_a_family_that_is_switched_off_is_ejected") {
        return;
    }
    std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").expect("it is ours");
    let mesh = Mesh::start(V4, |_| {}).await;
    let live = mesh.backend("live").await;
    let six = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 9898));
    let with = |endpoints| {
        let mut service = hello_service(endpoints);
        service.policy = Arc::new(model::Policy {
            outlier_detection: Some(model::OutlierDetection {
                base_ejection: Duration::from_millis(50),
                ..model::OutlierDetection::default()
            }),
            ..model::Policy::default()
        });
        vec![service]
    };
    let [six, live_one] = [endpoint(six, HERE), endpoint(live.address(), ELSEWHERE)];
    mesh.publish(with(vec![six, live_one.clone()]), &[]).await;
    until_async("it is ejected", async || {
        let answer = mesh.client(Role::Inbound).ask().await;
        assert_eq!(answer.expect("an answer").who, "live");
        mesh.proxy().ejected() == 1
    })
    .await;
    until("its check finds it dead", || mesh.proxy().ejections() >= 3).await;
    assert_eq!(mesh.count(Reason::DialUnable), 0);
    mesh.publish(with(vec![live_one]), &[]).await;
    until("it is forgotten", || mesh.proxy().ejected() == 0).await;
}
