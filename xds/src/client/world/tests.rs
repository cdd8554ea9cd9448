//! What follows from resources: names, tiers, weights, weighted chains.

use model::{Audience, Destination, EndpointKey, Health, LoadBalancer, PassthroughRoute};

use super::*;
use crate::client::samples::{self, MESH, One, chain, cluster, mesh_chain};
use crate::proto::core::HealthStatus as S;
use crate::proto::endpoint::ClusterLoadAssignment;
use crate::proto::{self, pack};

const WHOLE: &str = "outbound_.80_._.a";
const V1: &str = "outbound_.80_.v1_.a";
const PLAIN: &str = "outbound|80||a";

fn put(world: &mut World, kind: Kind, body: &proto::protobuf::Any) {
    world.put(kind, &body.value, "").expect("a good resource");
}

fn world(chains: Vec<proto::listener::FilterChain>, endpoints: &[ClusterLoadAssignment]) -> World {
    let mut world = World::new("n1".into());
    for of in endpoints {
        put(
            &mut world,
            Kind::Clusters,
            &pack(&cluster(&of.cluster_name)),
        );
        put(&mut world, Kind::Endpoints, &pack(of));
    }
    put(
        &mut world,
        Kind::Listeners,
        &pack(&samples::listener(15443, chains)),
    );
    world
}

fn service(snapshot: &Snapshot) -> &Arc<Service> {
    let host = Hostname::parse("a").expect("a host name");
    snapshot.service(&host).expect("the service")
}

/// Tier, address, weight and health of a name's endpoints.
fn found(
    snapshot: &Snapshot,
    subset: &str,
    audience: Audience,
) -> Vec<(usize, String, u32, Health)> {
    let service = service(snapshot);
    let join = service.join(80, subset, audience).expect("a route");
    assert!(join.assigned);
    let mut found = Vec::new();
    for endpoint in service.endpoints.iter() {
        for (tier, name) in join.port_names.iter().enumerate() {
            if let Some(EndpointKey(address)) = endpoint.dial_key(name) {
                found.push((tier, address.to_string(), endpoint.weight, endpoint.health));
            }
        }
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    found
}

const HOSTS: &[One<'_>] = &[
    ("10.0.0.1", 8080, S::Healthy, 1),
    ("10.0.0.2", 8080, S::Healthy, 1),
];

/// A subset's DestinationRule may have outlier detection of its own, and then only the subset has priorities.
#[test]
fn each_name_has_the_tiers_that_it_was_given() {
    let whole = samples::endpoints(WHOLE, &[(0, "us/a", 1, HOSTS)]);
    let near = &[("10.0.0.2", 8080, S::Healthy, 1)];
    let far = &[("10.0.0.1", 8080, S::Healthy, 1)];
    let v1 = samples::endpoints(V1, &[(5, "us/a", 1, far), (0, "us/b", 1, near)]);
    let mut world = world(vec![mesh_chain(WHOLE), mesh_chain(V1)], &[whole, v1]);
    let snapshot = world.snapshot(&Arc::default());
    let of = |tier, n, weight| (tier, format!("10.0.0.{n}:8080"), weight, Health::Healthy);
    assert_eq!(
        found(&snapshot, "", Audience::Mesh),
        [of(0, 1, 1), of(0, 2, 1)]
    );
    assert_eq!(
        found(&snapshot, "v1", Audience::Mesh),
        [of(0, 2, 1), of(1, 1, 1)]
    );
    // 10.0.0.1 stands in the same zone for both names, so it is one endpoint; 10.0.0.2 does not.
    assert_eq!(service(&snapshot).endpoints.len(), 3);
    assert_eq!(service(&snapshot).join(80, "", Audience::Plain), None);
    assert_eq!(service(&snapshot).join(80, "v2", Audience::Mesh), None);
}

#[test]
fn names_without_a_chain_are_no_routes_though_their_clusters_are_there() {
    let endpoints = [WHOLE, V1].map(|name| samples::endpoints(name, &[(0, "", 1, HOSTS)]));
    let mut world = world(vec![mesh_chain(V1)], &endpoints);
    let snapshot = world.snapshot(&Arc::default());
    assert_eq!(service(&snapshot).join(80, "", Audience::Mesh), None);
    assert_eq!(found(&snapshot, "v1", Audience::Mesh).len(), 2);
    assert_eq!(
        world.count(Kind::Endpoints),
        2,
        "until somebody asks what is wanted"
    );
    assert_eq!(world.wanted(), [V1.into()].into());
    assert_eq!(world.count(Kind::Endpoints), 1);
}

#[test]
fn weights_are_of_the_endpoint_or_of_its_locality() {
    let groups: &[(u32, &str, u32, &[One<'_>])] = &[
        (0, "us/a", 80, &[("10.0.0.1", 1, S::Healthy, 1)]),
        (
            0,
            "us/b",
            20,
            &[
                ("10.0.0.2", 1, S::Healthy, 3),
                ("10.0.0.3", 1, S::Unhealthy, 3),
            ],
        ),
        // Envoy keeps the first of an address.
        (
            0,
            "us/c",
            0,
            &[
                ("10.0.0.2", 1, S::Healthy, 9),
                ("10.0.0.4", 1, S::Healthy, 1),
            ],
        ),
    ];
    let mut world = world(
        vec![mesh_chain(WHOLE)],
        &[samples::endpoints(WHOLE, groups)],
    );
    let weights = |snapshot: &Snapshot| {
        let found = found(snapshot, "", Audience::Mesh).into_iter();
        found.map(|(_, _, weight, _)| weight).collect::<Vec<_>>()
    };
    let plain = world.snapshot(&Arc::default());
    assert_eq!(weights(&plain), [1, 3, 3, 1]);
    let mut by_locality = cluster(WHOLE);
    by_locality.common_lb_config = Some(proto::cluster::cluster::CommonLbConfig {
        locality_config_specifier: Some(
            proto::cluster::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                Default::default(),
            ),
        ),
        ..Default::default()
    });
    put(&mut world, Kind::Clusters, &pack(&by_locality));
    // us/b has 70 % of its 20 left (1.4 * 1 of 2), us/c has no weight.
    let weighted = world.snapshot(&plain);
    assert_eq!(weights(&weighted), [80 * 1024, 14 * 1024, 14 * 1024]);
}

#[test]
fn plain_chains_lead_to_weighted_clusters_and_expose_no_mesh_name() {
    let v1 = "outbound|80|v1|a";
    let to = &[(PLAIN, 3), (v1, 1)];
    let chains = vec![chain(&["a.example", "*.b"], &[], to)];
    let endpoints = [PLAIN, v1].map(|name| samples::endpoints(name, &[(0, "", 1, HOSTS)]));
    let mut world = world(chains, &endpoints);
    let snapshot = world.snapshot(&Arc::default());
    let destination = |subset: &str, weight| Destination {
        host: Hostname::parse("a").expect("a host name"),
        port: 80,
        subset: subset.into(),
        weight,
    };
    let route = PassthroughRoute {
        hosts: vec!["a.example".into(), "*.b".into()],
        port: Some(15443),
        to: vec![destination("", 3), destination("v1", 1)],
    };
    assert_eq!(*snapshot.passthrough, [route]);
    assert_eq!(found(&snapshot, "v1", Audience::Plain).len(), 2);
    for subset in ["", "v1"] {
        assert_eq!(service(&snapshot).join(80, subset, Audience::Mesh), None);
    }
}

/// Clients reach what is not in the mesh by plain names alone, and both may have endpoints of their own.
#[test]
fn a_port_has_endpoints_for_each_audience() {
    let more = &[
        ("10.0.0.1", 8080, S::Healthy, 1),
        ("10.0.0.9", 8080, S::Healthy, 1),
    ];
    let mut plain = samples::endpoints(PLAIN, &[(0, "us/a", 1, more)]);
    plain.endpoints[0].lb_endpoints[1].metadata = None;
    let mesh = samples::endpoints(WHOLE, &[(0, "us/a", 1, &more[..1])]);
    let chains = vec![mesh_chain(WHOLE), chain(&["a.example"], &[], &[(PLAIN, 1)])];
    let snapshot = world(chains, &[plain, mesh]).snapshot(&Arc::default());
    assert_eq!(found(&snapshot, "", Audience::Mesh).len(), 1);
    assert_eq!(found(&snapshot, "", Audience::Plain).len(), 2);
    assert_eq!(
        service(&snapshot).endpoints.len(),
        2,
        "what both have is one endpoint"
    );
}

#[test]
fn a_route_comes_when_the_endpoints_of_all_its_clusters_are_known() {
    let other = "other";
    let chains = vec![chain(&["a.example"], &[], &[(PLAIN, 1), (other, 1)])];
    let mut world = world(chains, &[samples::endpoints(PLAIN, &[(0, "", 1, HOSTS)])]);
    put(&mut world, Kind::Clusters, &pack(&cluster(other)));
    let before = world.snapshot(&Arc::default());
    assert_eq!(before.passthrough.len(), 0);
    assert_eq!(world.missing(), [other.into()]);
    put(
        &mut world,
        Kind::Endpoints,
        &pack(&samples::endpoints(other, &[])),
    );
    let after = world.snapshot(&before);
    // A cluster with another kind of name is a service of that name.
    let to = &after.passthrough[0].to[1];
    assert_eq!((to.host.as_str(), to.port, &*to.subset), ("other", 0, ""));
    assert!(
        after
            .service(&to.host)
            .expect("a service")
            .join(0, "", Audience::Plain)
            .is_some()
    );
}

/// Where its names lead, with the addresses there; `None`: it has no such name.
fn mesh(snapshot: &Snapshot, subset: &str) -> Option<Vec<String>> {
    service(snapshot).join(80, subset, Audience::Mesh)?;
    let found = found(snapshot, subset, Audience::Mesh).into_iter();
    Some(found.map(|(_, address, ..)| address).collect())
}

/// Envoy keeps a cluster until the one in its place is warm; were it otherwise, all connections would be refused meanwhile.
#[test]
fn what_is_there_stays_until_what_takes_its_place_is_there() {
    let one = |name: &str, n: u8| {
        let address = format!("10.0.0.{n}");
        let host = (&*address, 80, S::Healthy, 1);
        pack(&samples::endpoints(name, &[(0, "", 1, &[host])]))
    };
    let (v1, v2) = ("outbound|80|v1|a", "outbound|80|v2|a");
    let routes = |to: &[(&str, u32)], whole: &str| {
        let mesh = chain(&[WHOLE], MESH, &[(whole, 1)]);
        let plain = chain(&["a.example"], &[], to);
        pack(&samples::listener(15443, vec![mesh, plain, mesh_chain(V1)]))
    };
    let mut world = World::new("n1".into());
    for name in [v1, v2, WHOLE, V1, "other"] {
        put(&mut world, Kind::Clusters, &pack(&cluster(name)));
    }
    put(&mut world, Kind::Listeners, &routes(&[(v1, 1)], WHOLE));
    for name in [v1, WHOLE, V1] {
        put(&mut world, Kind::Endpoints, &one(name, 1));
    }
    let before = world.snapshot(&Arc::default());
    let to = |snapshot: &Snapshot| snapshot.passthrough[0].to.len();
    assert_eq!(to(&before), 1);

    // A route gets a second target, a mesh name another cluster, and a cluster another name for its endpoints.
    put(
        &mut world,
        Kind::Listeners,
        &routes(&[(v1, 90), (v2, 10)], "other"),
    );
    let mut renamed = cluster(V1);
    renamed.eds_cluster_config = Some(proto::cluster::cluster::EdsClusterConfig {
        service_name: "elsewhere".into(),
        ..Default::default()
    });
    put(&mut world, Kind::Clusters, &pack(&renamed));
    let missing = ["elsewhere", "other", v2].map(Arc::<str>::from);
    assert_eq!(world.missing(), missing);
    assert!(Arc::ptr_eq(&before, &world.snapshot(&before)));

    // What is in force goes on being followed, and comes to its end with the last of what is waited for.
    put(&mut world, Kind::Endpoints, &one(V1, 2));
    for name in ["elsewhere", "other"] {
        put(&mut world, Kind::Endpoints, &one(name, 3));
    }
    let meanwhile = world.snapshot(&before);
    assert_eq!(to(&meanwhile), 1);
    let at = |n: u8| Some(vec![format!("10.0.0.{n}:80")]);
    assert_eq!(
        (mesh(&meanwhile, ""), mesh(&meanwhile, "v1")),
        (at(1), at(2))
    );
    let mut snapshot = meanwhile;
    for (end, there) in [("given up", 0), ("refused", 0), ("there", 1)] {
        match end {
            "given up" => world.give_up(),
            "refused" => {
                let unread = &[("nowhere", 80, S::Healthy, 1)];
                let unread = pack(&samples::endpoints(v2, &[(0, "", 1, unread)]));
                let refusal = world.put(Kind::Endpoints, &unread.value, "");
                assert!(refusal.is_err());
            }
            _ => put(&mut world, Kind::Endpoints, &one(v2, 4)),
        }
        assert_eq!(world.missing(), []);
        snapshot = world.snapshot(&snapshot);
        assert_eq!(to(&snapshot), 2, "{end}");
        assert_eq!((mesh(&snapshot, ""), mesh(&snapshot, "v1")), (at(3), at(3)));
        assert_eq!(found(&snapshot, "v2", Audience::Plain).len(), there);
        // Once more from the beginning.
        if there == 0 {
            put(&mut world, Kind::Listeners, &routes(&[(v1, 1)], "other"));
            assert_eq!(world.missing(), []);
            snapshot = world.snapshot(&snapshot);
            assert_eq!(to(&snapshot), 1);
            put(
                &mut world,
                Kind::Listeners,
                &routes(&[(v1, 90), (v2, 10)], "other"),
            );
            assert_eq!(world.missing(), [v2.into()]);
            assert_eq!(to(&world.snapshot(&snapshot)), 1);
        }
    }
    assert_eq!(
        world.names(Kind::Endpoints).len(),
        4,
        "the others are forgotten"
    );
}

/// They are served as without endpoints, so that has to be said.
#[test]
fn clusters_whose_endpoints_are_not_followed_are_named() {
    let plain = chain(&["a.example"], &[], &[(PLAIN, 1), ("outbound|443||*.b", 1)]);
    let mut world = world(vec![mesh_chain(WHOLE), plain], &[]);
    for (name, kind) in [
        (WHOLE, proto::cluster::cluster::DiscoveryType::StrictDns),
        (PLAIN, proto::cluster::cluster::DiscoveryType::OriginalDst),
        (V1, proto::cluster::cluster::DiscoveryType::StrictDns),
    ] {
        let mut given = cluster(name);
        let kind = proto::cluster::cluster::ClusterDiscoveryType::Type(kind.into());
        given.cluster_discovery_type = Some(kind);
        put(&mut world, Kind::Clusters, &pack(&given));
    }
    let snapshot = world.snapshot(&Arc::default());
    assert_eq!(found(&snapshot, "", Audience::Mesh), []);
    let left_out = world.unused().left_out;
    let said: Vec<_> = left_out
        .iter()
        .map(|of| (of.kind, &*of.name, &*of.what))
        .collect();
    // Nothing leads to the third; and a wildcard is no service.
    assert_eq!(
        said,
        [
            (
                Kind::Listeners,
                "0.0.0.0_15443",
                "the target 'outbound|443||*.b' of a.example: its name is no host name"
            ),
            (
                Kind::Clusters,
                WHOLE,
                "every endpoint: its endpoints are names in DNS, which are not looked up here"
            ),
            (
                Kind::Clusters,
                PLAIN,
                "every endpoint: its endpoints are wherever a client wanted to go"
            ),
        ]
    );
}

#[test]
fn a_hash_of_the_clients_address_needs_both_cluster_and_chain() {
    let mut hashed = chain(&[WHOLE], MESH, &[(WHOLE, 1)]);
    let source = proto::percent::hash_policy::PolicySpecifier::SourceIp(Default::default());
    let proxy = proto::tcp_proxy::TcpProxy {
        hash_policy: vec![proto::percent::HashPolicy {
            policy_specifier: Some(source),
        }],
        cluster_specifier: Some(proto::tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(
            WHOLE.into(),
        )),
        ..Default::default()
    };
    hashed.filters = vec![samples::filter("tcp", pack(&proxy))];
    for (chain, expected) in [
        (hashed, LoadBalancer::SourceIp),
        (mesh_chain(WHOLE), LoadBalancer::Random),
    ] {
        let mut world = world(vec![chain], &[samples::endpoints(WHOLE, &[])]);
        let mut maglev = cluster(WHOLE);
        maglev.lb_policy = proto::cluster::cluster::LbPolicy::Maglev.into();
        put(&mut world, Kind::Clusters, &pack(&maglev));
        let snapshot = world.snapshot(&Arc::default());
        assert_eq!(service(&snapshot).policy.load_balancer, expected);
    }
}

/// A DestinationRule's settings for one port are that port's alone.
#[test]
fn policies_are_of_a_port_and_subset() {
    let other = "outbound_.81_._.a";
    let endpoints = [WHOLE, other, V1].map(|name| samples::endpoints(name, &[]));
    let mut world = world([WHOLE, other, V1].map(mesh_chain).into(), &endpoints);
    let mut limited = cluster(other);
    limited.lb_policy = proto::cluster::cluster::LbPolicy::Random.into();
    put(&mut world, Kind::Clusters, &pack(&limited));
    let snapshot = world.snapshot(&Arc::default());
    let of = |port, subset| {
        let join = service(&snapshot)
            .join(port, subset, Audience::Mesh)
            .expect("a route");
        join.policy.load_balancer
    };
    assert_eq!(of(80, ""), LoadBalancer::RoundRobin);
    assert_eq!(of(81, ""), LoadBalancer::Random);
    assert_eq!(of(80, "v1"), LoadBalancer::RoundRobin);
}

#[test]
fn a_change_of_endpoints_touches_their_service_alone() {
    let other = "outbound_.80_._.b";
    let endpoints = [WHOLE, other].map(|name| samples::endpoints(name, &[(0, "", 1, HOSTS)]));
    let mut world = world([WHOLE, other].map(mesh_chain).into(), &endpoints);
    let before = world.snapshot(&Arc::default());
    assert!(
        Arc::ptr_eq(&before, &world.snapshot(&before)),
        "nothing has changed"
    );
    put(
        &mut world,
        Kind::Endpoints,
        &pack(&samples::endpoints(other, &[])),
    );
    let after = world.snapshot(&before);
    assert_eq!(after.version, before.version + 1);
    assert!(Arc::ptr_eq(service(&before), service(&after)));
    // The same again, and a listener that only looks different, change nothing.
    put(
        &mut world,
        Kind::Endpoints,
        &pack(&samples::endpoints(other, &[])),
    );
    put(
        &mut world,
        Kind::Listeners,
        &pack(&samples::listener(
            15443,
            [other, WHOLE].map(mesh_chain).into(),
        )),
    );
    assert!(Arc::ptr_eq(&after, &world.snapshot(&after)));
}
