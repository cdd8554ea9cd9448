//! Which endpoints a route takes: by port name, by TLS, by subset; and a gateway that is ejected.

use model::{OutlierDetection, Subset};

use super::*;

#[test]
fn an_endpoint_without_the_port_or_the_meshs_tls_is_left_out_and_counted() {
    let mut other_port = endpoint(1, "us-west/a", Health::Healthy);
    other_port.ports = Arc::new(PortMap::from([("grpc".into(), 80)]));
    let mut plain = endpoint(2, "us-west/a", Health::Healthy);
    plain.tls = TlsMode::Disabled;
    let good = endpoint(3, "us-west/a", Health::Healthy);
    let route = Bench::new().apply(service(vec![other_port, plain, good], random()), &[]);
    let unused = Unused {
        no_port: 1,
        not_mesh: 1,
        ..Unused::default()
    };
    assert_eq!(route.balancer().unused(), unused);
    let picked = shares(&route, 1_000, |choice| choice.address().to_string());
    assert_eq!(picked.into_keys().collect::<Vec<_>>(), ["10.0.0.3:80"]);
}

/// A subset takes the endpoints that bear its labels and no other, under its own policy; the service keeps its own.
#[test]
fn a_subset_has_its_endpoints_and_its_policy() {
    let labelled = |n, version: &str| Endpoint {
        labels: Arc::new([("version".into(), version.into())].into()),
        ..endpoint(n, "us-west/a", Health::Healthy)
    };
    let strict = OutlierDetection {
        consecutive_failures: 1,
        ..OutlierDetection::default()
    };
    let subset = Subset {
        labels: [("version".into(), "v2".into())].into(),
        policy: Some(Arc::new(Policy {
            outlier_detection: Some(strict),
            max_connections: Some(7),
            ..Policy::default()
        })),
        ..Subset::default()
    };
    let service = Service {
        subsets: [("v2".into(), subset)].into(),
        ..service(
            vec![labelled(1, "v1"), labelled(2, "v2"), labelled(3, "v2")],
            Policy::default(),
        )
    };
    let mut bench = Bench::new();
    let whole = bench.apply(service, &[]);
    let table = bench.tables.load();
    let v2 = table.find(Role::Outbound, 0, "outbound_.80_.v2_.s");
    let v2 = v2.expect("a route").clone();

    let addresses = |route: &Arc<Route>| {
        let picked = shares(route, 1_000, |choice| choice.address().to_string());
        let mut addresses: Vec<_> = picked.into_keys().collect();
        addresses.sort();
        addresses
    };
    assert_eq!(addresses(&v2), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert_eq!(addresses(&whole).len(), 3);
    let rules = |route: &Arc<Route>| {
        let balancer = route.balancer();
        (balancer.outlier(), balancer.max_connections())
    };
    assert_eq!(rules(&v2), (strict, Some(7)));
    assert_eq!(rules(&whole), (OutlierDetection::default(), None));
}

/// One of two gateways is ejected: all of its network's weight goes through the other. Both are: the network has nothing
/// ready, and its traffic goes to the next tier.
#[test]
fn an_ejected_gateway_leaves_its_weight_to_the_other() {
    let gateway = |last: u8| Gateway {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)), 15443),
        name: None,
        clusters: vec!["eu".into()],
    };
    let mut endpoints: Vec<_> = (0..4)
        .map(|n| away(100 + n, "eu", "n3", "us-west/a", Health::Healthy))
        .collect();
    endpoints.push(away(200, "ap", "n4", "us-west/a", Health::Healthy));
    let networks = [
        ("n3", vec![gateway(1), gateway(2)]),
        (
            "n4",
            vec![Gateway {
                clusters: vec![],
                ..gateway(9)
            }],
        ),
    ];
    let mut bench = Bench::new();
    let route = bench.apply(service(endpoints, random()), &networks);
    let to = |route: &Arc<Route>| shares(route, 4_000, |choice| choice.address().ip().to_string());
    let before = to(&route);
    assert!(
        before["203.0.113.1"] > 20.0 && before["203.0.113.2"] > 20.0,
        "{before:?}"
    );
    let eject = |bench: &mut Bench, address: &str| {
        let picks = (0..1_000).filter_map(|_| route.pick(SOURCE, NOW, &Tried::default()).ok());
        let choice = picks
            .into_iter()
            .find(|choice| choice.address().ip().to_string() == address);
        let choice = choice.expect("it is picked");
        (0..3).for_each(|_| choice.dial_failed(&route, NOW));
        bench.control.on_event(Event::Dirty(route.clone()), NOW);
    };
    eject(&mut bench, "203.0.113.1");
    let after = to(&route);
    assert_eq!(after.get("203.0.113.1"), None);
    let others = (before["203.0.113.9"], after["203.0.113.9"]);
    assert!(
        (others.0 - others.1).abs() < 3.0,
        "the network's share is what it was: {others:?}"
    );
    eject(&mut bench, "203.0.113.2");
    let last = to(&route);
    assert_eq!(last.keys().collect::<Vec<_>>(), ["203.0.113.9"]);
}
