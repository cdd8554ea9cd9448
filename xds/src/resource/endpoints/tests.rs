//! What EDS says of an assignment: the rules of Envoy and gRPC that a client would otherwise refuse it for, and the shares.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn host(at: u16, state: HostState, weight: u64, locality: &str) -> Host {
    Host {
        address: ([10, 0, 0, 1], at).into(),
        state,
        weight,
        mesh: at.is_multiple_of(2),
        locality: locality.into(),
        gateway: false,
    }
}

fn any_state() -> impl Strategy<Value = HostState> {
    prop_oneof![
        3 => Just(HostState::Healthy),
        1 => Just(HostState::Degraded),
        1 => Just(HostState::Unhealthy)
    ]
}

fn any_assignment() -> impl Strategy<Value = Assignment> {
    let weight = prop_oneof![Just(WEIGHT), Just(3 * WEIGHT), WEIGHT / 16..1_u64 << 59];
    let host = (
        any_state(),
        weight,
        prop::sample::select(vec!["us/a", "us/b", "eu"]),
    );
    let group = (0_u16..3, prop::collection::vec(host, 1..5));
    let tier = prop::collection::vec(group, 1..4);
    let tiers = prop::collection::vec(tier, 0..4);
    (any::<bool>(), tiers).prop_map(|(distributed, tiers)| {
        let mut port = 0;
        let mut made = Assignment {
            distributed,
            ..Assignment::default()
        };
        for groups in tiers {
            let mut tier = Tier::default();
            for (group, hosts) in groups {
                // Without `distribute` there are but two groups, of 100 % each.
                let key = match distributed {
                    true => (group, 20 * u32::from(group)),
                    false => (group.min(1), 100),
                };
                for (state, weight, locality) in hosts {
                    port += 1;
                    let hosts = tier.groups.entry(key).or_default();
                    hosts.push(self::host(port, state, weight, locality));
                }
            }
            made.tiers.push(tier);
        }
        made
    })
}

const WEIGHT: u64 = model::WEIGHT_SCALE;

proptest! {
    /// Contiguous priorities from 0, an address once, a locality once in a priority, weights everywhere, sums within 32
    /// bits: what either client refuses a whole assignment for. And the shares are those of the weights.
    #[test]
    fn no_client_can_refuse_it(assignment in any_assignment()) {
        for flavour in [Flavour::Envoy, Flavour::Grpc] {
            let said = load_assignment("c", &assignment, flavour);
            let mut addresses = BTreeSet::new();
            let mut localities = BTreeSet::new();
            let mut next = 0;
            let mut sums = Vec::new();
            for group in &said.endpoints {
                prop_assert!(group.priority == next || group.priority + 1 == next, "{next}");
                next = group.priority + 1;
                sums.resize(group.priority as usize + 1, 0_u64);
                let weight = group.load_balancing_weight.expect("a weight").value;
                prop_assert!(weight > 0);
                sums[group.priority as usize] += u64::from(weight);
                let at = group.locality.clone().expect("a locality");
                prop_assert!(localities.insert((group.priority, at.region, at.zone, at.sub_zone)));
                let mut of_hosts = 0_u64;
                for host in &group.lb_endpoints {
                    of_hosts += u64::from(host.load_balancing_weight.expect("a weight").value);
                    let Some(HostIdentifier::Endpoint(endpoint)) = &host.host_identifier else {
                        panic!("an address");
                    };
                    let address = format!("{endpoint:?}");
                    prop_assert!(addresses.insert(address));
                    if flavour == Flavour::Grpc {
                        prop_assert_ne!(host.health_status, i32::from(HealthStatus::Unhealthy));
                    }
                }
                prop_assert!(of_hosts <= u64::from(u32::MAX));
            }
            prop_assert!(sums.iter().all(|sum| *sum <= u64::from(u32::MAX)));
        }
    }

    /// Envoy draws hosts of a priority by weight, gRPC localities by weight and hosts within them in turn: either way a
    /// healthy host gets its part of the healthy weight, within 1 %.
    #[test]
    fn shares_are_those_of_the_weights(
        hosts in prop::collection::vec((1_u64..50, prop::sample::select(vec!["us/a", "us/b"])), 1..12),
    ) {
        let hosts: Vec<Host> = (1_u16..).zip(&hosts)
            .map(|(at, (weight, locality))| host(at, HostState::Healthy, weight * WEIGHT / 3, locality))
            .collect();
        let total: u64 = hosts.iter().map(|host| host.weight).sum();
        let tier = Tier { groups: [((0, 100), hosts.clone())].into(), ..Tier::default() };
        let assignment = Assignment { tiers: vec![tier], ..Assignment::default() };
        for flavour in [Flavour::Envoy, Flavour::Grpc] {
            let said = load_assignment("c", &assignment, flavour);
            let value = |weight: Option<UInt32Value>| f64::from(weight.expect("a weight").value);
            let all: f64 = match flavour {
                Flavour::Envoy => said.endpoints.iter().flat_map(|group| &group.lb_endpoints)
                    .map(|host| value(host.load_balancing_weight)).sum(),
                Flavour::Grpc => said.endpoints.iter().map(|group| value(group.load_balancing_weight)).sum(),
            };
            for group in &said.endpoints {
                for got in &group.lb_endpoints {
                    let share = match flavour {
                        Flavour::Envoy => value(got.load_balancing_weight) / all,
                        Flavour::Grpc => value(group.load_balancing_weight) / all / group.lb_endpoints.len() as f64,
                    };
                    let host = hosts.iter().find(|host| lb_endpoint(host, &Scale { divisor: 1, multiplier: 1.0 }).host_identifier == got.host_identifier);
                    let due = host.expect("known").weight as f64 / total as f64;
                    prop_assert!((share - due).abs() < 0.01, "{share} instead of {due}");
                }
            }
        }
    }
}

/// `distribute`: each rule is one locality with the rule's percent; what no rule names is left out.
#[test]
fn a_rule_of_distribute_is_one_locality() {
    let tier = Tier {
        groups: [
            (
                (0, 80),
                vec![
                    host(1, HostState::Healthy, WEIGHT, "us/a"),
                    host(2, HostState::Unhealthy, WEIGHT, "us/b"),
                ],
            ),
            ((1, 20), vec![host(3, HostState::Healthy, WEIGHT, "eu/a/1")]),
            (
                (u16::MAX, 0),
                vec![host(4, HostState::Healthy, WEIGHT, "ap")],
            ),
        ]
        .into(),
        ..Tier::default()
    };
    let assignment = Assignment {
        tiers: vec![tier],
        distributed: true,
        ..Assignment::default()
    };
    let said = load_assignment("c", &assignment, Flavour::Envoy);
    let groups: Vec<_> = said
        .endpoints
        .iter()
        .map(|group| {
            let at = group.locality.clone().expect("a locality");
            let weight = group.load_balancing_weight.expect("a weight").value;
            (at.region, at.zone, group.lb_endpoints.len(), weight)
        })
        .collect();
    assert_eq!(
        groups,
        [
            ("eu".to_owned(), "a".to_owned(), 1, 20),
            ("us".to_owned(), String::new(), 2, 80),
        ]
    );
}

/// One rule for all is `distribute`, too: its cluster says so, so that Envoy scales a locality's weight by how much of it is
/// ready, and were there one for each zone, weighted by what is ready there, what is not would count twice.
#[test]
fn one_rule_for_all_is_one_locality() {
    let hosts = vec![
        host(1, HostState::Healthy, WEIGHT, "us/a"),
        host(2, HostState::Healthy, WEIGHT, "us/b"),
        host(3, HostState::Unhealthy, WEIGHT, "us/b"),
    ];
    let tier = Tier {
        groups: [((0, 100), hosts)].into(),
        ..Tier::default()
    };
    for (distributed, count) in [(true, 1), (false, 2)] {
        let assignment = Assignment {
            tiers: vec![tier.clone()],
            distributed,
            ..Assignment::default()
        };
        let said = load_assignment("c", &assignment, Flavour::Envoy);
        assert_eq!(said.endpoints.len(), count);
    }
}

#[test]
fn states_and_the_mesh_mark_are_told() {
    let tier = Tier {
        groups: [(
            (0, 100),
            vec![
                host(1, HostState::Degraded, WEIGHT, "us"),
                host(2, HostState::Unhealthy, WEIGHT, "us"),
            ],
        )]
        .into(),
        ..Tier::default()
    };
    let assignment = Assignment {
        tiers: vec![tier],
        ..Assignment::default()
    };
    let said = load_assignment("c", &assignment, Flavour::Envoy);
    let hosts = &said.endpoints[0].lb_endpoints;
    assert_eq!(hosts[0].health_status(), HealthStatus::Degraded);
    assert_eq!(hosts[0].metadata, None);
    assert_eq!(hosts[1].health_status(), HealthStatus::Unhealthy);
    let mark = hosts[1].metadata.as_ref().expect("metadata");
    assert_eq!(mark.filter_metadata[SOCKET_MATCH], mesh_match());
}
