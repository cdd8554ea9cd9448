//! Weights of gateways, by example.

use std::sync::Arc;

use super::*;
use crate::{Labels, Origin, PortMap, TlsMode};

fn endpoint(network: &str, cluster: &str, health: Health, weight: u32) -> Endpoint {
    Endpoint {
        address: [10, 0, 0, 1].into(),
        weight,
        health,
        tls: TlsMode::Istio,
        ports: Arc::new(PortMap::new()),
        labels: Arc::new(Labels::new()),
        origin: Arc::new(Origin {
            cluster: cluster.into(),
            network: network.into(),
            ..Origin::default()
        }),
    }
}

fn at(closeness: u32) -> Place {
    Place {
        closeness: Closeness(closeness),
        group: 1,
        percent: 100,
    }
}

fn gateway(last: u8, clusters: &[&str]) -> Gateway {
    Gateway {
        address: SocketAddr::from(([192, 0, 2, last], 15443)),
        name: None,
        clusters: clusters.iter().map(|id| (*id).into()).collect(),
    }
}

fn sums(endpoints: &[(Endpoint, Place)]) -> RemoteSums {
    let mut sums = RemoteSums::new();
    for (endpoint, place) in endpoints {
        let sum = RemoteSum::of(endpoint, *place);
        sums.entry(remote_key(endpoint, *place))
            .and_modify(|known| known.join(&sum))
            .or_insert(sum);
    }
    sums
}

fn networks(gateways: Vec<Gateway>) -> BTreeMap<NetworkId, Network> {
    [("n2".into(), Network { gateways })].into()
}

/// Two clusters of one network: gateway 1 serves `a` alone, 2 serves both. Three ready endpoints in `a`, one in `b`, and one
/// that is not ready.
#[test]
fn a_gateway_weighs_what_is_ready_behind_it_for_its_clusters() {
    let remote = sums(&[
        (endpoint("n2", "a", Health::Healthy, 1), at(7)),
        (endpoint("n2", "a", Health::Healthy, 2), at(9)),
        (endpoint("n2", "a", Health::Unhealthy, 5), at(9)),
        (endpoint("n2", "b", Health::Healthy, 1), at(8)),
        (endpoint("n2", "b", Health::Degraded, 1), at(8)),
        (endpoint("n9", "c", Health::Healthy, 1), at(8)),
    ]);
    let networks = networks(vec![gateway(1, &["a"]), gateway(2, &[])]);
    let (groups, unreachable) = through_gateways(&remote, &networks, |_| GatewayState::Live);
    assert_eq!(unreachable, 1, "n9 has no gateway");
    assert_eq!(
        groups.keys().collect::<Vec<_>>(),
        [&at(7)],
        "the closest counts"
    );
    let group = &groups[&at(7)];
    let weights: Vec<_> = group.gateways.values().map(|load| load.weight).collect();
    let whole = WEIGHT_SCALE;
    assert_eq!(
        weights,
        [
            [whole * 3 / 2, 0, 0],
            [whole * 3 / 2 + whole, whole, 0] // half of `a`, all of `b`
        ]
    );
    assert_eq!(
        group.availability,
        Availability {
            healthy: 3,
            degraded: 1,
            total: 5
        }
    );
    let clusters: Vec<_> = group.gateways.values().map(|load| &load.cluster).collect();
    assert_eq!(clusters, [&ClusterId::from("a"), &ClusterId::default()]);
}

#[test]
fn a_dead_gateway_leaves_its_part_to_the_others_and_without_any_nothing_is_ready() {
    let remote = sums(&[
        (endpoint("n2", "a", Health::Healthy, 1), at(7)),
        (endpoint("n2", "a", Health::Healthy, 1), at(7)),
    ]);
    let networks = networks(vec![gateway(1, &[]), gateway(2, &[]), gateway(3, &[])]);
    let first = SocketAddr::from(([192, 0, 2, 1], 15443));
    let third = SocketAddr::from(([192, 0, 2, 3], 15443));
    let (groups, _) = through_gateways(&remote, &networks, |address| match address {
        address if address == first => GatewayState::Dead,
        address if address == third => GatewayState::Forbidden,
        _ => GatewayState::Live,
    });
    let weights: Vec<_> = groups[&at(7)]
        .gateways
        .values()
        .map(|load| load.weight)
        .collect();
    assert_eq!(
        weights,
        [[0, 0, WEIGHT_SCALE], [2 * WEIGHT_SCALE, 0, 0]],
        "two of three are there"
    );

    let (groups, _) = through_gateways(&remote, &networks, |_| GatewayState::Dead);
    let all = Availability {
        healthy: 0,
        degraded: 0,
        total: 2,
    };
    assert_eq!(groups[&at(7)].availability, all);
    let (groups, unreachable) = through_gateways(&remote, &networks, |_| GatewayState::Forbidden);
    assert_eq!((groups.len(), unreachable), (0, 2));
}
