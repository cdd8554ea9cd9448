//! Who reaches whom, and who reaches nobody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use discovery::Span;
use gateway::config::Role;
use model::{Destination, Gateway, Hostname, Labels, PassthroughRoute, Subset};
use proxy::close::{Reason, Stage};
use sidecar::{AlertDescription, Backend, Kind};
use tests::{Mesh, Place, endpoint, hello_service, in_namespace, until};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};
const NEXT_ZONE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/b",
};
const AWAY: Place = Place {
    cluster: "eu",
    network: "n3",
    locality: "eu-west/a",
};

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reaches_an_endpoint_on_both_families() {
    for ip in [V4, V6] {
        let mesh = Mesh::start(ip, |_| {}).await;
        let backend = if ip.is_ipv4() {
            mesh.backend("us-west/a/1").await
        } else {
            let started = Backend::start(&mesh.pki, "us-west/a/1", ip).await;
            started.expect("an endpoint on ::1")
        };
        mesh.publish(
            vec![hello_service(vec![endpoint(backend.address(), HERE)])],
            &[],
        )
        .await;
        for role in [Role::Inbound, Role::Outbound] {
            let answer = mesh.client(role).ask().await.expect("an answer");
            assert_eq!(answer.who, "us-west/a/1");
        }
        until("both are counted", || mesh.count(Reason::Done) == 2).await;
        mesh.stop().await;
    }
}

/// One listener on `[::]` takes clients of both, whatever net.ipv6.bindv6only says.
#[tokio::test(flavor = "multi_thread")]
async fn the_wildcard_of_ipv6_serves_both_families() {
    let mesh = Mesh::start(Ipv6Addr::UNSPECIFIED.into(), |_| {}).await;
    let backends = [
        mesh.backend("v4").await,
        Backend::start(&mesh.pki, "v6", V6)
            .await
            .expect("an endpoint on ::1"),
    ];
    let endpoints = backends.iter().map(|one| endpoint(one.address(), HERE));
    mesh.publish(vec![hello_service(endpoints.collect())], &[])
        .await;
    let port = mesh.address(Role::Inbound).port();
    let mut answered = [0; 2];
    for round in 0..40 {
        let ip = if round % 2 == 0 { V4 } else { V6 };
        let client = sidecar::Client::new(&mesh.pki, SocketAddr::new(ip, port));
        let answer = client.ask().await.expect("an answer");
        answered[usize::from(answer.who == "v6")] += 1;
    }
    // Whatever family a client has, it reaches endpoints of both.
    assert!(answered.iter().all(|count| *count > 0), "{answered:?}");
    until("all are counted", || mesh.count(Reason::Done) == 40).await;
}

/// So do the HTTP servers: a kubelet asks by the Pod's address, of whichever family that is.
#[tokio::test(flavor = "multi_thread")]
async fn the_wildcard_of_ipv6_is_both_families_where_the_kernel_would_have_it_else() {
    if !in_namespace(
        "routing::the_wildcard_of_ipv6_is_both_families_where_the_kernel_would_have_it_else",
    ) {
        return;
    }
    std::fs::write("/proc/sys/net/ipv6/bindv6only", "1").expect("it is ours");
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let mesh = Mesh::start(any.ip(), |config| {
        config.stats.address = any;
        config.ready.address = any;
        config.xds.address = Some(any);
        config.xds.plaintext = true;
    })
    .await;
    let bound = mesh.app.addresses();
    let ports = [bound.listeners[0], bound.stats, bound.ready];
    for address in ports.into_iter().chain(bound.xds) {
        for ip in [V4, V6] {
            let address = SocketAddr::new(ip, address.port());
            let connected = tokio::net::TcpStream::connect(address).await;
            connected.unwrap_or_else(|fault| panic!("{address}: {fault}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_zone_comes_first_and_other_networks_last() {
    // Nobody else is dialled beside who comes first, however late a busy machine tells that he has answered.
    let mesh = Mesh::start(V4, |config| {
        config.timeouts.stagger = Span(Duration::from_secs(5))
    })
    .await;
    let away = Mesh::start(V4, |config| {
        config.cluster = "eu".into();
        config.network = "n3".into();
    })
    .await;
    let (near, next) = (mesh.backend("here").await, mesh.backend("next").await);
    let far = Backend::start(&mesh.pki, "away", sidecar::fresh_loopback())
        .await
        .expect("an endpoint");
    let services = |healthy: [bool; 2]| {
        let mut all = [
            endpoint(near.address(), HERE),
            endpoint(next.address(), NEXT_ZONE),
        ];
        for (endpoint, healthy) in all.iter_mut().zip(healthy) {
            if !healthy {
                endpoint.health = model::Health::Unhealthy;
            }
        }
        let [near, next] = all;
        vec![hello_service(vec![
            near,
            next,
            endpoint(far.address(), AWAY),
        ])]
    };
    let gateway = Gateway {
        address: away.address(Role::Inbound),
        name: None,
        clusters: vec!["eu".into()],
    };
    let networks = [("n3", vec![gateway])];
    away.publish(services([true, true]), &[]).await;
    for (healthy, expected) in [
        ([true, true], "here"),
        ([false, true], "next"),
        ([false, false], "away"),
        ([true, true], "here"),
    ] {
        mesh.publish(services(healthy), &networks).await;
        for _ in 0..10 {
            let answer = mesh.client(Role::Outbound).ask().await.expect("an answer");
            assert_eq!(answer.who, expected, "with {healthy:?}");
        }
    }
    // Inbound sees its own network only.
    mesh.publish(services([false, false]), &networks).await;
    let refused = mesh
        .client(Role::Inbound)
        .ask()
        .await
        .expect_err("nothing in this network");
    assert_eq!(refused.kind, Kind::Alert(AlertDescription::InternalError));
    until("it is counted", || mesh.count(Reason::NoEndpoint) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_goes_nowhere() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let backend = mesh.backend("here").await;
    mesh.publish(
        vec![hello_service(vec![endpoint(backend.address(), HERE)])],
        &[],
    )
    .await;
    let host = "hello.default.svc.cluster.local";
    for (name, reason) in [
        (format!("outbound_.5001_._.{host}"), Reason::UnknownPort),
        (format!("outbound_.9898_._.{host}"), Reason::UnknownPort),
        (format!("outbound_.5000_.v9_.{host}"), Reason::UnknownSubset),
        (
            "outbound_.5000_._.other.default.svc.cluster.local".into(),
            Reason::UnknownService,
        ),
        (format!("outbound_.05000_._.{host}"), Reason::NotMeshName),
        (format!("inbound_.5000_._.{host}"), Reason::NotMeshName),
        (host.into(), Reason::NotMeshName),
    ] {
        let client = mesh.client(Role::Inbound).named(&name).expect("a name");
        let refused = client.ask().await.expect_err(&name);
        assert_eq!(
            refused.kind,
            Kind::Alert(AlertDescription::UnrecognisedName),
            "{name}"
        );
        until(&name, || mesh.count(reason) > 0).await;
    }
    let h2 = mesh.pki.client_config(&["h2", "http/1.1"]);
    for role in [Role::Inbound, Role::Outbound] {
        let client = mesh.client(role).with_config(h2.clone());
        let refused = client.ask().await.expect_err("no mesh ALPN");
        assert_eq!(
            refused.kind,
            Kind::Alert(AlertDescription::UnrecognisedName)
        );
    }
    until("the gate is counted", || {
        mesh.count(Reason::AlpnRefused) == 2
    })
    .await;
    assert_eq!(backend.connections(), 0);
    let stages: Vec<_> = mesh
        .proxy()
        .totals()
        .closes
        .iter()
        .map(|(stage, ..)| *stage)
        .collect();
    assert!(
        stages.iter().all(|stage| *stage == Stage::Route),
        "{stages:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn upper_case_and_a_trailing_dot_do_not_matter() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let backend = mesh.backend("here").await;
    mesh.publish(
        vec![hello_service(vec![endpoint(backend.address(), HERE)])],
        &[],
    )
    .await;
    let client = mesh
        .client(Role::Inbound)
        .named("OUTBOUND_.5000_._.Hello.default.svc.cluster.LOCAL");
    assert_eq!(
        client.expect("a name").ask().await.expect("an answer").who,
        "here"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subset_takes_only_its_own() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let (one, two) = (mesh.backend("v1").await, mesh.backend("v2").await);
    let labels = |version: &str| Labels::from([("version".into(), version.into())]);
    let of = |backend: &Backend, version: &str| model::Endpoint {
        labels: Arc::new(labels(version)),
        ..endpoint(backend.address(), HERE)
    };
    let mut service = hello_service(vec![of(&one, "v1"), of(&two, "v2")]);
    service.subsets.insert(
        "v2".into(),
        Subset {
            labels: labels("v2"),
            ..Subset::default()
        },
    );
    mesh.publish(vec![service], &[]).await;
    let name = "outbound_.5000_.v2_.hello.default.svc.cluster.local";
    for _ in 0..10 {
        let client = mesh.client(Role::Inbound).named(name).expect("a name");
        assert_eq!(client.ask().await.expect("an answer").who, "v2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passthrough_routes_plain_names() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let backend = mesh.backend("here").await;
    let service = hello_service(vec![model::Endpoint {
        tls: model::TlsMode::Disabled,
        ..endpoint(backend.address(), HERE)
    }]);
    let host = Hostname::parse("hello.default.svc.cluster.local").expect("a host name");
    let routes = [PassthroughRoute {
        hosts: vec!["exact.example".into(), "*.wild.example".into()],
        port: None,
        to: vec![Destination {
            host,
            port: 5000,
            subset: "".into(),
            weight: 1,
        }],
    }];
    mesh.publish_all(vec![service.clone()], &[], &routes).await;
    let mut outcomes = HashMap::new();
    for name in [
        "exact.example",
        "a.wild.example",
        "a.b.wild.example",
        "wild.example",
        "other.example",
    ] {
        let client = mesh.client(Role::Passthrough).named(name).expect("a name");
        outcomes.insert(name, client.ask().await.is_ok());
    }
    assert_eq!(
        outcomes,
        HashMap::from([
            ("exact.example", true),
            ("a.wild.example", true),
            ("a.b.wild.example", true),
            ("wild.example", false),
            ("other.example", false),
        ])
    );
    // A rule for every name is asked last.
    let mut every = routes[0].clone();
    every.hosts = vec!["*".into()];
    let backend = mesh.backend("there").await;
    let other = Hostname::parse("other.default.svc.cluster.local").expect("a host name");
    every.to[0].host = other.clone();
    let elsewhere = model::Service {
        host: other,
        ..hello_service(vec![model::Endpoint {
            tls: model::TlsMode::Disabled,
            ..endpoint(backend.address(), HERE)
        }])
    };
    let [route] = routes;
    mesh.publish_all(vec![service, elsewhere], &[], &[route, every])
        .await;
    for (name, expected) in [("a.wild.example", "here"), ("wild.example", "there")] {
        let client = mesh.client(Role::Passthrough).named(name).expect("a name");
        assert_eq!(
            client.ask().await.expect("an answer").who,
            expected,
            "{name}"
        );
    }
    // An endpoint without the mesh's TLS is none for mesh listeners.
    let refused = mesh
        .client(Role::Inbound)
        .ask()
        .await
        .expect_err("not of the mesh");
    assert_eq!(refused.kind, Kind::Alert(AlertDescription::InternalError));
}
