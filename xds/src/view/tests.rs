//! A view follows snapshots as if it were made anew each time, and does little for it.

use std::collections::BTreeMap;

use model::{
    Chunked, Endpoint, Gateway, Health, Labels, Network, Origin, Policy, Port, PortMap, Protocol,
    Subset, TlsMode,
};
use proptest::prelude::*;

use super::*;
use crate::resource::SecretSource;

fn settings() -> Settings {
    Settings {
        own: Viewpoint::default(),
        mesh_tls: MeshTls::Secrets {
            certificate: "default".into(),
            ca: "ROOTCA".into(),
            source: SecretSource::Bootstrap,
        },
        connect_timeout: Duration::from_secs(3),
        allow_loopback: false,
    }
}

fn key(flavour: Flavour) -> ViewKey {
    ViewKey {
        flavour,
        cluster: "us".into(),
        network: "n1".into(),
        locality: "us/a".into(),
    }
}

fn endpoint(last: u8, network: &str, ready: bool) -> Endpoint {
    Endpoint {
        address: [10, 0, 0, last].into(),
        weight: 1,
        health: if ready {
            Health::Healthy
        } else {
            Health::Unhealthy
        },
        tls: TlsMode::Istio,
        ports: Arc::new(PortMap::from([("http".into(), 80), ("more".into(), 81)])),
        labels: Arc::new(Labels::from([("v".into(), "1".into())])),
        origin: Arc::new(Origin {
            network: network.into(),
            ..Origin::default()
        }),
    }
}

fn host(at: u8) -> Hostname {
    Hostname::parse(&format!("s{at}.d.svc")).expect("a host")
}

fn service(at: u8, ports: u8, subsets: u8, endpoints: Vec<Endpoint>) -> Arc<Service> {
    let port = |n: u8| Port {
        number: 8000 + u16::from(n),
        name: if n == 0 { "http" } else { "more" }.into(),
        protocol: Protocol::Tcp,
    };
    let subset = Subset {
        labels: Labels::from([("v".into(), "1".into())]),
        ..Subset::default()
    };
    Arc::new(Service {
        host: host(at),
        ports: (0..ports).map(port).collect(),
        subsets: (0..subsets)
            .map(|n| (format!("v{n}").into(), subset.clone()))
            .collect(),
        policy: Arc::new(Policy::default()),
        endpoints: Chunked::from_items(endpoints),
    })
}

fn gateways(last: u8) -> BTreeMap<NetworkId, Network> {
    let gateway = Gateway {
        address: ([192, 0, 2, last], 15443).into(),
        name: None,
        clusters: Vec::new(),
    };
    let network = Network {
        gateways: vec![gateway],
    };
    [("n2".into(), network)].into()
}

/// Names and versions of everything.
fn tags(shelves: &Shelves) -> Vec<Vec<(Arc<str>, u64)>> {
    let of = |shelf: &Arc<Shelf>| {
        let items = shelf.items().iter();
        items
            .map(|item| (item.tag.name.clone(), item.tag.version))
            .collect()
    };
    shelves.kinds.iter().map(of).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Service(u8, u8, u8, u8, bool),
    Remove(u8),
    Gateway(u8),
    Dead(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..6, 1_u8..3, 0_u8..3, 0_u8..4, any::<bool>())
            .prop_map(|(at, ports, subsets, count, ready)| Step::Service(at, ports, subsets, count, ready)),
        1 => (0_u8..6).prop_map(Step::Remove),
        1 => (1_u8..3).prop_map(Step::Gateway),
        1 => any::<bool>().prop_map(Step::Dead),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn following_is_the_same_as_beginning_anew(steps in prop::collection::vec(step(), 1..20)) {
        let mut snapshot = Arc::new(Snapshot { networks: Arc::new(gateways(1)), ..Snapshot::default() });
        let mut dead = Dead::default();
        for flavour in [Flavour::Envoy, Flavour::Grpc] {
            let mut view = View::new(&key(flavour), &settings());
            for step in &steps {
                snapshot = Arc::new(match step {
                    Step::Service(at, ports, subsets, count, ready) => {
                        let endpoints = (0..*count).map(|n| {
                            let network = if n % 2 == 0 { "n1" } else { "n2" };
                            endpoint(n + 1, network, *ready)
                        });
                        snapshot.with_service(service(*at, *ports, *subsets, endpoints.collect()))
                    }
                    Step::Remove(at) => snapshot.without_service(&host(*at)),
                    Step::Gateway(last) => Snapshot {
                        networks: Arc::new(gateways(*last)),
                        ..Snapshot::clone(&snapshot)
                    },
                    Step::Dead(is_dead) => {
                        let of = gateways(1);
                        let address = of[&NetworkId::from("n2")].gateways[0].address;
                        dead = Arc::new(is_dead.then_some(address).into_iter().collect());
                        Snapshot::clone(&snapshot)
                    }
                });
                view.update(&settings(), &snapshot, &dead);
                let mut anew = View::new(&key(flavour), &settings());
                anew.update(&settings(), &snapshot, &dead);
                prop_assert_eq!(tags(view.shelves()), tags(anew.shelves()));
                prop_assert_eq!(view.shelves().left_out, anew.shelves().left_out);
                for shelf in &view.shelves().kinds {
                    prop_assert!(shelf.items().is_sorted_by(|a, b| a.tag.name < b.tag.name));
                }
            }
        }
    }
}

#[test]
fn each_port_and_subset_is_a_cluster_and_grpc_asks_for_ports() {
    let mut service = Service::clone(&service(1, 2, 1, vec![endpoint(1, "n1", true)]));
    service.ports.insert(
        1,
        Port {
            protocol: Protocol::Udp,
            ..service.ports[0].clone()
        },
    );
    let snapshot = Arc::new(Snapshot::default().with_service(Arc::new(service)));
    let clusters = [
        "outbound|8000|v0|s1.d.svc",
        "outbound|8000||s1.d.svc",
        "outbound|8001|v0|s1.d.svc",
        "outbound|8001||s1.d.svc",
    ];
    let targets = ["s1.d.svc:8000", "s1.d.svc:8001"];
    for (flavour, by_target) in [(Flavour::Envoy, &[][..]), (Flavour::Grpc, &targets)] {
        let mut view = View::new(&key(flavour), &settings());
        view.update(&settings(), &snapshot, &Dead::default());
        let names = |kind| {
            let items = view.shelves().of(kind).items().iter();
            items.map(|item| &*item.tag.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Kind::Cluster), clusters);
        assert_eq!(names(Kind::Endpoints), clusters);
        assert_eq!(names(Kind::Listener), by_target);
        assert_eq!(names(Kind::Routes), by_target);
    }
}

/// Gateways let in nobody without the mesh's TLS: whoever has none is not told of them, and that is counted.
#[test]
fn without_the_meshs_certificates_no_gateway_is_told() {
    let both = vec![endpoint(1, "n1", true), endpoint(2, "n2", true)];
    let snapshot = Arc::new(Snapshot {
        networks: Arc::new(gateways(1)),
        services: Chunked::from_items(vec![service(1, 1, 0, both)]),
        ..Snapshot::default()
    });
    let off = Settings {
        mesh_tls: MeshTls::Off,
        ..settings()
    };
    for (settings, behind_gateway) in [(settings(), 0), (off, 1)] {
        let mut view = View::new(&key(Flavour::Envoy), &settings);
        view.update(&settings, &snapshot, &Dead::default());
        let left_out = view.shelves().left_out;
        assert_eq!(left_out.behind_gateway, behind_gateway);
    }
}

#[test]
fn one_endpoint_encodes_one_resource() {
    let services = (0..50).map(|at| {
        service(
            at,
            1,
            0,
            vec![endpoint(1, "n1", true), endpoint(2, "n2", true)],
        )
    });
    let mut snapshot = Arc::new(Snapshot {
        networks: Arc::new(gateways(1)),
        services: Chunked::from_items(services.collect()),
        ..Snapshot::default()
    });
    let mut view = View::new(&key(Flavour::Envoy), &settings());
    view.update(&settings(), &snapshot, &Dead::default());
    let before = view.shelves().clone();
    assert_eq!(before.of(Kind::Endpoints).items().len(), 50);

    let changed = service(
        7,
        1,
        0,
        vec![endpoint(1, "n1", false), endpoint(2, "n2", true)],
    );
    snapshot = Arc::new(snapshot.with_service(changed));
    view.update(&settings(), &snapshot, &Dead::default());
    let after = view.shelves();
    assert!(
        Arc::ptr_eq(before.of(Kind::Cluster), after.of(Kind::Cluster)),
        "clusters did not change"
    );
    let both = before
        .of(Kind::Endpoints)
        .items()
        .iter()
        .zip(after.of(Kind::Endpoints).items());
    let anew: Vec<_> = both
        .filter(|(old, new)| !Arc::ptr_eq(old, new))
        .map(|(_, new)| new.tag.name.to_string())
        .collect();
    assert_eq!(anew, ["outbound|8000||s7.d.svc"]);

    // Weights come from what is ready alone, so this is not even a change for clients.
    let unready = service(
        8,
        1,
        0,
        vec![endpoint(1, "n1", true), endpoint(2, "n2", true), {
            let mut gone = endpoint(3, "n1", true);
            gone.health = Health::Terminating;
            gone
        }],
    );
    let before = after.clone();
    snapshot = Arc::new(snapshot.with_service(unready));
    view.update(&settings(), &snapshot, &Dead::default());
    assert!(Arc::ptr_eq(
        before.of(Kind::Endpoints),
        view.shelves().of(Kind::Endpoints)
    ));
}
