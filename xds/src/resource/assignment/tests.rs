//! Who is seen, how close and how heavy, by example. That it is what the outbound listener does rests on the model's functions,
//! which both call.

use model::{
    Audience, Chunked, Distribute, Gateway, Hostname, Labels, LocalityPolicy, Origin, Policy, Port,
    PortMap, Protocol,
};

use super::*;

/// `address network locality`, then words: a state, `plain`, `w=N`.
pub(in crate::resource) fn endpoint(text: &str) -> Endpoint {
    let mut words = text.split_whitespace();
    let mut next = || words.next().expect("a word");
    let (address, network, locality) = (next(), next(), next());
    let address: SocketAddr = address.parse().expect("an address");
    let mut endpoint = Endpoint {
        address: address.ip(),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: Arc::new(PortMap::from([("http".into(), address.port())])),
        labels: Arc::new(Labels::new()),
        origin: Arc::new(Origin {
            cluster: network.into(),
            network: network.into(),
            locality: locality.into(),
            ..Origin::default()
        }),
    };
    for word in words {
        match word {
            "degraded" => endpoint.health = Health::Degraded,
            "unhealthy" => endpoint.health = Health::Unhealthy,
            "terminating" => endpoint.health = Health::Terminating,
            "plain" => endpoint.tls = TlsMode::Disabled,
            weight => {
                endpoint.weight = weight[2..].parse().expect("a weight");
            }
        }
    }
    endpoint
}

pub(in crate::resource) fn service(endpoints: &[&str], policy: Policy) -> Service {
    Service {
        host: Hostname::parse("hello.default.svc.cluster.local").expect("a host"),
        ports: vec![Port {
            number: 5000,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::new(policy),
        endpoints: Chunked::from_items(endpoints.iter().map(|text| endpoint(text)).collect()),
    }
}

pub(in crate::resource) fn from(network: &str, locality: &str) -> Viewpoint {
    Viewpoint {
        cluster: network.into(),
        network: network.into(),
        locality: locality.into(),
        regions: vec!["us".into(), "eu".into(), "ap".into()],
        ..Viewpoint::default()
    }
}

pub(in crate::resource) fn networks(of: &[(&str, &[&str])]) -> BTreeMap<NetworkId, Network> {
    let gateway = |address: &&str| Gateway {
        address: address.parse().expect("an address"),
        name: None,
        clusters: Vec::new(),
    };
    of.iter()
        .map(|(id, gateways)| {
            let gateways = gateways.iter().map(gateway).collect();
            ((*id).into(), Network { gateways })
        })
        .collect()
}

/// `priority group address state weight` for each host, weights in endpoints.
fn seen(service: &Service, around: &Surroundings<'_>) -> (Vec<String>, LeftOut) {
    let join = service.join(5000, "", Audience::Mesh).expect("a route");
    let assignment = Assignment::of(service, &join, around);
    let mut lines = Vec::new();
    for (priority, tier) in assignment.tiers.iter().enumerate() {
        for ((group, _), hosts) in &tier.groups {
            for host in hosts {
                let weight = host.weight as f64 / WEIGHT_SCALE as f64;
                let mode = if host.mesh { "mesh" } else { "plain" };
                lines.push(format!(
                    "{priority} {group} {} {:?} {weight} {mode} {}",
                    host.address, host.state, host.locality
                ));
            }
        }
    }
    (lines, assignment.left_out)
}

#[test]
fn the_own_network_is_direct_and_others_are_their_gateways() {
    let service = service(
        &[
            "10.0.0.1:80 n1 us/a",
            "10.0.0.2:80 n1 us/b",
            "10.0.0.3:80 n1 us/b unhealthy",
            "10.0.0.4:80 n1 us/a terminating",
            "10.0.0.5:80 n1 us/a plain",
            "127.0.0.1:80 n1 us/a",
            "10.0.0.1:80 n2 eu/a w=3", // the same address as here: another network's
            "10.0.0.2:80 n2 eu/b",
            "10.0.0.3:80 n2 eu/b unhealthy",
            "10.0.0.4:80 n2 eu/b plain",
            "10.0.0.1:80 n3 ap/a unhealthy",
            "10.0.0.1:80 n4 ap/a",
        ],
        Policy::default(),
    );
    let networks = networks(&[
        ("n1", &["192.0.2.1:15443"]),
        ("n2", &["192.0.2.2:15443", "192.0.2.3:15443"]),
        ("n3", &["192.0.2.4:15443"]),
    ]);
    let dead = BTreeSet::new();
    let us = from("n1", "us/a");
    let mut around = Surroundings {
        from: &us,
        networks: &networks,
        dead: &dead,
        allow_loopback: false,
        through_gateways: true,
    };
    let (hosts, left_out) = seen(&service, &around);
    assert_eq!(
        hosts,
        [
            "0 0 10.0.0.1:80 Healthy 1 mesh us/a",
            "0 0 10.0.0.5:80 Healthy 1 plain us/a",
            "1 0 10.0.0.2:80 Healthy 1 mesh us/b",
            "1 0 10.0.0.3:80 Unhealthy 1 mesh us/b",
            "2 1 192.0.2.2:15443 Healthy 2 mesh eu",
            "2 1 192.0.2.3:15443 Healthy 2 mesh eu",
            "3 1 192.0.2.4:15443 Unhealthy 1 mesh ap",
        ]
    );
    let expected = LeftOut {
        no_gateway: 1,
        not_mesh: 1,
        forbidden: 1,
        behind_gateway: 0,
    };
    assert_eq!(left_out, expected);

    // Probes find one gateway dead: the other one takes all.
    let dead = BTreeSet::from([networks[&NetworkId::from("n2")].gateways[0].address]);
    let (hosts, _) = seen(
        &service,
        &Surroundings {
            dead: &dead,
            ..around
        },
    );
    assert_eq!(
        hosts[4..6],
        [
            "2 1 192.0.2.2:15443 Unhealthy 2 mesh eu",
            "2 1 192.0.2.3:15443 Healthy 4 mesh eu",
        ]
    );

    // Seen from n2 it is the other way round.
    let eu = from("n2", "eu/b");
    let (hosts, _) = seen(
        &service,
        &Surroundings {
            from: &eu,
            ..around
        },
    );
    assert_eq!(
        hosts,
        [
            "0 0 10.0.0.2:80 Healthy 1 mesh eu/b",
            "0 0 10.0.0.3:80 Unhealthy 1 mesh eu/b",
            "0 0 10.0.0.4:80 Healthy 1 plain eu/b",
            "1 0 10.0.0.1:80 Healthy 3 mesh eu/a",
            "2 1 192.0.2.1:15443 Healthy 3 mesh us", // what is forbidden there is that gateway's business
            "3 1 192.0.2.4:15443 Unhealthy 1 mesh ap",
        ]
    );

    // And gRPC goes through no gateway.
    around.through_gateways = false;
    let (hosts, left_out) = seen(&service, &around);
    assert_eq!(hosts.len(), 4);
    assert_eq!((left_out.behind_gateway, left_out.no_gateway), (5, 0));
}

/// Where everything is dead, it is told as if nothing were; with anything else there, it is not.
#[test]
fn the_dead_are_told_when_nothing_else_is_left() {
    let networks = networks(&[("n2", &["192.0.2.2:15443"]), ("n3", &["192.0.2.3:15443"])]);
    let dead = BTreeSet::from(
        ["192.0.2.2", "192.0.2.3"].map(|ip| SocketAddr::new(ip.parse().expect("an ip"), 15443)),
    );
    let from = from("n1", "us/a");
    let around = Surroundings {
        from: &from,
        networks: &networks,
        dead: &dead,
        allow_loopback: false,
        through_gateways: true,
    };
    let remote = ["10.0.0.1:80 n2 eu/a", "10.0.0.1:80 n3 ap/a"];
    let (hosts, _) = seen(&service(&remote, Policy::default()), &around);
    let all = [
        "0 1 192.0.2.2:15443 Healthy 1 mesh eu",
        "1 1 192.0.2.3:15443 Healthy 1 mesh ap",
    ];
    assert_eq!(hosts, all);
    let with_own = [remote[0], remote[1], "10.0.0.9:80 n1 us/b degraded"];
    let (hosts, _) = seen(&service(&with_own, Policy::default()), &around);
    assert!(
        hosts[1..].iter().all(|host| host.contains("Unhealthy")),
        "{hosts:?}"
    );
}

/// One gateway is that of two networks, and is also listed as an endpoint further away; two clusters list one pod.
#[test]
fn an_address_stands_once_in_the_closest_place() {
    let mut service = service(
        &[
            "10.0.0.9:80 n2 eu/a w=2",
            "10.0.0.9:80 n3 ap/a w=5",
            "192.0.2.2:15443 n1 us/z",
        ],
        Policy::default(),
    );
    let mut twin = endpoint("10.0.0.1:80 n1 us/a");
    let mut endpoints: Vec<_> = service.endpoints.iter().cloned().collect();
    endpoints.push(twin.clone());
    twin.origin = Arc::new(Origin {
        cluster: "other".into(),
        ..Origin::clone(&twin.origin)
    });
    endpoints.push(twin);
    service.endpoints = Chunked::from_items(endpoints);
    let around = Surroundings {
        from: &from("n1", "us/a"),
        networks: &networks(&[("n2", &["192.0.2.2:15443"]), ("n3", &["192.0.2.3:15443"])]),
        dead: &BTreeSet::new(),
        allow_loopback: false,
        through_gateways: true,
    };
    let (hosts, _) = seen(&service, &around);
    assert_eq!(
        hosts,
        [
            "0 0 10.0.0.1:80 Healthy 2 mesh us/a",
            "1 0 192.0.2.2:15443 Healthy 1 mesh us/z",
            "2 1 192.0.2.3:15443 Healthy 5 mesh ap",
        ]
    );
}

/// `rule's number, its percent: address share, …` of each group, where `eu` is behind one gateway and `distribute` gives its zones
/// a part each.
fn shares(endpoints: &[&str], to: &[(&str, u32)]) -> Vec<String> {
    let rule = Distribute {
        from: "us/*".into(),
        to: to.iter().map(|(at, part)| ((*at).into(), *part)).collect(),
    };
    let policy = Policy {
        locality: LocalityPolicy {
            distribute: vec![rule],
            ..LocalityPolicy::default()
        },
        ..Policy::default()
    };
    let service = service(endpoints, policy);
    let around = Surroundings {
        from: &from("n1", "us/a"),
        networks: &networks(&[("n2", &["192.0.2.2:15443"])]),
        dead: &BTreeSet::new(),
        allow_loopback: false,
        through_gateways: true,
    };
    let join = service.join(5000, "", Audience::Mesh).expect("a route");
    let assignment = Assignment::of(&service, &join, &around);
    assert!(assignment.distributed);
    let [tier] = &assignment.tiers[..] else {
        panic!("one tier: {:?}", assignment.tiers);
    };
    let group = |((number, percent), hosts): (&(u16, u32), &Vec<Host>)| {
        let all: u64 = hosts.iter().map(|host| host.weight).sum();
        let share = |host: &Host| {
            let part = host.weight as f64 / all as f64;
            format!("{} {:.2}", host.address, f64::from(*percent) * part)
        };
        let hosts: Vec<_> = hosts.iter().map(share).collect();
        format!("{number}, {percent}: {}", hosts.join(", "))
    };
    tier.groups.iter().map(group).collect()
}

/// Envoy knows a gateway once in a priority: what several rules give it, it gets in one place.
#[test]
fn a_gateway_gets_what_all_rules_for_its_network_give() {
    let to = [("eu/a", 20), ("eu/b", 30), ("us/*", 50)];
    let alone = [
        "10.0.0.1:80 n1 us/a",
        "10.0.0.1:80 n2 eu/a",
        "10.0.0.2:80 n2 eu/b w=5",
    ];
    assert_eq!(
        shares(&alone, &to),
        ["0, 50: 192.0.2.2:15443 50.00", "2, 50: 10.0.0.1:80 50.00"]
    );
    // Beside others of the first rule it has a half of that and all of the second.
    let beside = [alone[0], alone[1], alone[2], "10.0.0.9:80 n1 eu/a"];
    assert_eq!(
        shares(&beside, &to),
        [
            "0, 50: 10.0.0.9:80 10.00, 192.0.2.2:15443 40.00",
            "2, 50: 10.0.0.1:80 50.00"
        ]
    );
    // Where nobody is ready a rule gives nothing, here as anywhere.
    let unready = [alone[0], alone[1], "10.0.0.2:80 n2 eu/b unhealthy"];
    assert_eq!(
        shares(&unready, &to),
        ["0, 20: 192.0.2.2:15443 20.00", "2, 50: 10.0.0.1:80 50.00"]
    );
}

/// What no rule names gets nothing, also where its gateway is that of what one names.
#[test]
fn what_no_rule_names_adds_nothing() {
    let endpoints = [
        "10.0.0.1:80 n1 us/a",
        "10.0.0.1:80 n2 eu/a",
        "10.0.0.2:80 n2 eu/b",
        "10.0.0.9:80 n1 eu/b",
    ];
    assert_eq!(
        shares(&endpoints, &[("eu/a", 20), ("us/*", 80)]),
        [
            "0, 20: 192.0.2.2:15443 20.00",
            "1, 80: 10.0.0.1:80 80.00",
            "65535, 0: 10.0.0.9:80 0.00",
        ]
    );
}
