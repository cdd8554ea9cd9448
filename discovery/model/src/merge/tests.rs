//! What becomes of services and networks that several parts know.

use proptest::prelude::*;

use super::*;
use crate::{Endpoint, Gateway, Health, Origin, Policy, Port, TlsMode};

fn endpoint(cluster: &str, last: u8) -> Endpoint {
    Endpoint {
        address: [10, 0, 0, last].into(),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: Arc::default(),
        labels: Arc::default(),
        origin: Arc::new(Origin {
            cluster: cluster.into(),
            ..Origin::default()
        }),
    }
}

fn service(host: &str, port: u16, endpoints: Vec<Endpoint>) -> Arc<Service> {
    Arc::new(Service {
        host: Hostname::parse(host).expect("a host name"),
        ports: vec![Port {
            number: port,
            name: "http".into(),
            protocol: crate::Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::new(Policy::default()),
        endpoints: Chunked::from_items(endpoints),
    })
}

fn part(services: Vec<Arc<Service>>) -> Part {
    Part {
        services: Chunked::from_items(services),
        ..Part::default()
    }
}

/// Two parts that claim the same address of the same cluster: our own part comes first, and its word counts.
#[test]
fn the_first_part_to_know_an_endpoint_decides() {
    let of = |weight| Endpoint {
        weight,
        ..endpoint("us", 1)
    };
    let [ours, theirs] = [3, 5].map(|weight| part(vec![service("a", 80, vec![of(weight)])]));
    let merged = merge(&[&ours, &theirs], 1);
    let service = merged.services.iter().next().expect("the service");
    let weights: Vec<_> = service.endpoints.iter().map(|e| e.weight).collect();
    assert_eq!(weights, [3]);
}

#[test]
fn one_name_is_one_service() {
    let ours = part(vec![
        service("a", 80, vec![endpoint("us", 1)]),
        service("b", 80, vec![]),
    ]);
    let theirs = part(vec![
        service("a", 81, vec![endpoint("eu", 2)]),
        service("c", 80, vec![]),
    ]);
    let merged = merge(&[&ours, &theirs], 7);
    assert_eq!(merged.version, 7);
    let hosts: Vec<_> = merged
        .services
        .iter()
        .map(|service| service.host.as_str())
        .collect();
    assert_eq!(hosts, ["a", "b", "c"]);
    let a = merged.services.iter().next().expect("a");
    assert_eq!(a.ports[0].number, 80, "the first part's ports");
    assert_eq!(a.endpoints.len(), 2);
    let b = ours.services.iter().nth(1).expect("b");
    assert!(
        Arc::ptr_eq(b, merged.service(&b.host).expect("b")),
        "shared, not copied"
    );
}

#[test]
fn gateways_are_joined_by_address() {
    let gateway = |clusters: &[&str]| Gateway {
        address: ([203, 0, 113, 7], 15443).into(),
        name: None,
        clusters: clusters.iter().map(|id| (*id).into()).collect(),
    };
    let network = |gateways| Part {
        networks: BTreeMap::from([("n".into(), Network { gateways })]),
        ..Part::default()
    };
    for (one, other, both) in [
        (vec!["a"], vec!["b"], vec!["a", "b"]),
        (vec!["a"], vec!["a"], vec!["a"]),
        (vec!["a"], vec![], vec![]),
        (vec![], vec!["a"], vec![]),
    ] {
        let (left, right) = (network(vec![gateway(&one)]), network(vec![gateway(&other)]));
        let merged = merge(&[&left, &right], 1);
        assert_eq!(
            merged.networks["n"].gateways,
            [gateway(&both)],
            "{one:?} and {other:?}"
        );
    }
}

proptest! {
    /// Endpoints are the union, whatever the order of the parts and however often one is given.
    #[test]
    fn order_and_repetition_do_not_matter(sets in prop::collection::vec(prop::collection::btree_set(0_u8..20, 0..10), 1..5)) {
        let parts: Vec<Part> = sets.iter().map(|set| {
            part(vec![service("a", 80, set.iter().map(|last| endpoint("us", *last)).collect())])
        }).collect();
        let forward: Vec<&Part> = parts.iter().collect();
        let backward: Vec<&Part> = parts.iter().rev().chain(&parts).collect();
        prop_assert_eq!(merge(&forward, 1), merge(&backward, 1));
    }
}
