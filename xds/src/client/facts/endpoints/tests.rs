//! What is read of an assignment, and what is refused.

use prost::Message;

use super::*;
use crate::client::samples;
use crate::proto::core::{EnvoyInternalAddress, HealthStatus as S};

fn read(given: &ClusterLoadAssignment) -> Result<(Endpoints, Notes), String> {
    let mut notes = Notes::default();
    let read = Endpoints::read(&given.encode_to_vec(), &mut notes);
    read.map(|(_, endpoints)| (endpoints, notes))
        .map_err(|(_, why)| why)
}

#[test]
fn everything_that_decides_is_read() {
    let healths = [
        S::Unknown,
        S::Healthy,
        S::Degraded,
        S::Unhealthy,
        S::Draining,
        S::Timeout,
    ];
    let hosts: Vec<_> = healths
        .iter()
        .zip(1..)
        .map(|(health, port)| ("::ffff:10.0.0.1", port, *health, port))
        .collect();
    let given = samples::endpoints("c", &[(3, "us/a", 7, &hosts), (0, "", 0, &[])]);
    let (endpoints, notes) = read(&given).expect("it is read");
    let [group, empty] = &*endpoints.groups else {
        panic!("{endpoints:?}");
    };
    assert_eq!(
        (group.priority, group.weight, &group.locality),
        (3, Some(7), &"us/a".into())
    );
    assert_eq!(
        (empty.priority, empty.weight, empty.hosts.len()),
        (0, None, 0)
    );
    let health: Vec<_> = group.hosts.iter().map(|host| host.health).collect();
    use Health::{Degraded, Healthy, Unhealthy};
    assert_eq!(
        health,
        [Healthy, Healthy, Degraded, Unhealthy, Unhealthy, Unhealthy]
    );
    let last = &group.hosts[5];
    assert_eq!((last.address, last.weight), (([10, 0, 0, 1], 6).into(), 6));
    assert_eq!((last.tls, &*last.cluster), (TlsMode::Istio, "us"));
    let workload = Workload {
        name: "pod".into(),
        namespace: "ns".into(),
        canonical_name: "canonical".into(),
        canonical_revision: "v1".into(),
    };
    assert_eq!(last.workload, workload);
    assert_eq!(notes, Notes::default());
}

#[test]
fn without_metadata_an_endpoint_speaks_no_mutual_tls() {
    let mut given = samples::endpoints("c", &[(0, "", 1, &[("::1", 80, S::Healthy, 1)])]);
    given.endpoints[0].lb_endpoints[0].metadata = None;
    let (endpoints, _) = read(&given).expect("it is read");
    let host = &endpoints.groups[0].hosts[0];
    assert_eq!((host.tls, &*host.cluster), (TlsMode::Disabled, ""));
    assert_eq!(host.workload, Workload::default());
}

#[test]
fn endpoints_that_are_not_dialled_are_left_out_alone() {
    let two = &[
        ("10.0.0.1", 80, S::Healthy, 1),
        ("10.0.0.2", 80, S::Healthy, 1),
    ];
    let mut given = samples::endpoints("c", &[(0, "", 1, two)]);
    if let Some(HostIdentifier::Endpoint(of)) =
        &mut given.endpoints[0].lb_endpoints[0].host_identifier
    {
        let inner = Address::EnvoyInternalAddress(EnvoyInternalAddress::default());
        of.address = Some(crate::proto::core::Address {
            address: Some(inner),
        });
    }
    let (endpoints, notes) = read(&given).expect("it is read");
    assert_eq!(endpoints.groups[0].hosts.len(), 1);
    assert_eq!(notes.left_out.len(), 1);
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason() {
    let one = |host: samples::One<'_>| samples::endpoints("c", &[(0, "", 1, &[host])]);
    let mut nowhere = one(("10.0.0.1", 80, S::Healthy, 1));
    nowhere.endpoints[0].lb_endpoints[0].host_identifier = None;
    for (given, expected) in [
        (
            one(("a.example", 80, S::Healthy, 1)),
            "'a.example' is not an IP address",
        ),
        (
            one(("10.0.0.1", 0, S::Healthy, 1)),
            "no port from 1 to 65535",
        ),
        (
            one(("10.0.0.1", 65536, S::Healthy, 1)),
            "no port from 1 to 65535",
        ),
        (
            one(("10.0.0.1", 80, S::Healthy, 0)),
            "10.0.0.1:80 has the weight 0",
        ),
        (
            samples::endpoints("c", &[(129, "", 1, &[])]),
            "priority 129",
        ),
        (samples::endpoints("", &[]), "no cluster_name"),
        (nowhere, "without an address"),
    ] {
        let why = read(&given).expect_err(expected);
        assert!(why.contains(expected), "{why}");
    }
    let (_, why) = Endpoints::read(b"\xff", &mut Notes::default()).expect_err("no message");
    assert!(why.contains("no assignment"), "{why}");
}
