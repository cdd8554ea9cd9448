//! Names whose endpoints and tiers another control plane has assigned.

use model::{Assigned, Subset};

use super::*;

/// An endpoint in a network that is not known, joined by these port names.
fn joined(n: u32, names: &[&str], health: Health) -> Endpoint {
    let ports = names.iter().map(|name| ((*name).into(), 9000));
    Endpoint {
        ports: Arc::new(ports.collect()),
        origin: Arc::new(Origin {
            locality: "eu/a".into(),
            cluster: "other".into(),
            ..Origin::default()
        }),
        ..endpoint(n, "", health)
    }
}

fn assigned(tiers: &[&str]) -> Subset {
    let mesh = tiers.iter().map(|name| (*name).into()).collect();
    let assigned = Assigned {
        mesh: Some(mesh),
        plain: None,
    };
    Subset {
        assigned: Some([(80, assigned)].into()),
        ..Subset::default()
    }
}

/// Addresses by tier, with each tier's share.
fn tiers(route: &Route) -> Vec<(u32, Vec<String>)> {
    let tiers = route.balancer().view(NOW).tiers.into_iter();
    let tiers = tiers.map(|tier| {
        let addresses = tier
            .addresses
            .iter()
            .map(|one| one.address.ip().to_string());
        (tier.share, addresses.collect())
    });
    tiers.collect()
}

#[test]
fn tiers_are_those_that_were_assigned_for_each_name() {
    let mut bench = Bench::new();
    let endpoints = vec![
        joined(1, &["80", "80/v1#1"], Health::Healthy),
        joined(2, &["80#1", "80/v1"], Health::Unhealthy),
        joined(3, &["80#1"], Health::Healthy),
    ];
    let mut service = service(endpoints, Policy::default());
    service.subsets = [
        ("".into(), assigned(&["80", "80#1"])),
        ("v1".into(), assigned(&["80/v1", "80/v1#1"])),
        ("v2".into(), assigned(&[])),
    ]
    .into();
    let whole = bench.apply(service.clone(), &[]);
    let address = |n: u32| format!("10.0.0.{n}");
    let expected = vec![(100, vec![address(1)]), (0, vec![address(3), address(2)])];
    assert_eq!(tiers(&whole), expected);
    // Nothing is missing in a name for being assigned to another.
    assert_eq!(whole.balancer().view(NOW).unused.no_port, 0);
    let table = bench.tables.load();
    let of = |name: &str| table.find(Role::Inbound, 0, name).cloned();
    let v1 = of("outbound_.80_.v1_.s").expect("a route");
    let expected = vec![(0, vec![address(2)]), (100, vec![address(1)])];
    assert_eq!(tiers(&v1), expected, "the inbound view has them all, too");
    let none = of("outbound_.80_.v2_.s").expect("a route");
    assert!(none.pick(SOURCE, NOW, &Tried::default()).is_err());
    drop(table);

    // A name that is taken away is unknown, though the subset stays.
    service.subsets.insert(
        "v1".into(),
        Subset {
            assigned: Some(BTreeMap::new()),
            ..Subset::default()
        },
    );
    bench.apply(service, &[]);
    let table = bench.tables.load();
    let gone = table.find(Role::Inbound, 0, "outbound_.80_.v1_.s");
    assert_eq!(gone.err(), Some(Reason::UnknownSubset));
}
