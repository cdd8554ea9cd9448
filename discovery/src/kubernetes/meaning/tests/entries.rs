//! ServiceEntries.

use model::Hostname;

use super::stage::{HELLO, Stage};
use crate::kubernetes::facts::Kind;

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default}
spec:
  hosts: [db.mesh.local, '*.wild.local']
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 5432, name: tcp, protocol: TCP, targetPort: 15432}, {number: 53, name: dns, protocol: UDP}]
  endpoints:
    - {address: 192.0.2.1, labels: {security.istio.io/tlsMode: istio, app: db}, locality: us-west/a, weight: 3}
    - {address: 192.0.2.2, serviceAccount: db, ports: {tcp: 6432}, network: network7}
    - {address: 192.0.2.3}
    - {address: 'unix:///var/run/x'}
";

const DB: &str = "db.mesh.local";

#[test]
fn an_entry_inside_the_mesh_is_a_service() {
    let mut stage = Stage::new().apply("us", ENTRY);
    assert_eq!(stage.hosts(), [DB]);
    let lines = [
        "192.0.2.3 us network1 plain",
        "192.0.2.1 us network1 us-west/a",
        "192.0.2.2 us network7",
    ];
    assert_eq!(stage.endpoints(DB), lines);
    let service = stage.service(DB).expect("db");
    let seen: Vec<_> = service
        .endpoints
        .iter()
        .map(|e| (e.weight, e.dial_key("tcp").map(|key| key.0.port())))
        .collect();
    assert_eq!(seen, [(1, Some(15432)), (3, Some(15432)), (1, Some(6432))]);
    let workload = &service
        .endpoints
        .iter()
        .nth(1)
        .expect("the second")
        .origin
        .workload;
    assert_eq!(
        (
            &*workload.namespace,
            &*workload.name,
            &*workload.canonical_name
        ),
        ("default", "db", "db")
    );
    stage.delete("us", Kind::ServiceEntry, "default", "db");
    assert!(stage.hosts().is_empty());
}

#[test]
fn what_is_outside_the_mesh_or_not_exported_is_not_exposed() {
    for entry in [
        ENTRY.replace("  location: MESH_INTERNAL\n", ""),
        ENTRY.replace("MESH_INTERNAL", "MESH_EXTERNAL"),
        ENTRY.replace(
            "resolution: STATIC",
            "resolution: STATIC\n  exportTo: ['.']",
        ),
    ] {
        assert!(
            Stage::new().apply("us", &entry).hosts().is_empty(),
            "{entry}"
        );
    }
    assert!(
        Stage::new().apply("eu", ENTRY).hosts().is_empty(),
        "our own cluster's alone count"
    );
}

#[test]
fn a_label_says_more_than_a_service_account() {
    let entry = ENTRY
        .replace(
            "{address: 192.0.2.2,",
            "{address: 192.0.2.2, labels: {security.istio.io/tlsMode: disabled},",
        )
        .replace(", network: network7", "");
    let mut stage = Stage::new().apply("us", &entry);
    let plain = "192.0.2.2 us network1 plain".to_owned();
    assert!(stage.endpoints(DB).contains(&plain));
}

#[test]
fn names_of_endpoints_are_resolved() {
    let names = ENTRY
        .replace("STATIC", "DNS")
        .replace("192.0.2.1", "db1.example");
    let itself = names[..names.find("  endpoints:").expect("endpoints")].to_owned();
    for (entry, name, expected) in [
        (
            &names,
            "db1.example",
            vec![
                "192.0.2.3 us network1 plain",
                "192.0.2.9 us network1 us-west/a",
                "192.0.2.2 us network7",
            ],
        ),
        (&itself, DB, vec!["192.0.2.9 us network1 plain"]),
    ] {
        let mut stage = Stage::new().apply("us", entry);
        let name = Hostname::parse(name).expect("a name");
        assert_eq!(stage.world.names_to_resolve(), std::slice::from_ref(&name));
        stage
            .world
            .resolved(&name, vec!["192.0.2.9".parse().expect("an address")]);
        assert_eq!(stage.endpoints(DB), expected);
        stage.world.resolved(&name, Vec::new());
        assert_eq!(stage.endpoints(DB).len(), expected.len() - 1);
    }
}

#[test]
fn an_entry_for_a_services_host_adds_its_endpoints() {
    let entry = ENTRY.replace("db.mesh.local", HELLO);
    let mut stage = Stage::new().hello().apply("us", &entry);
    assert_eq!(stage.endpoints(HELLO).len(), 4);
    let service = stage.service(HELLO).expect("hello");
    let ports: Vec<u16> = service.ports.iter().map(|port| port.number).collect();
    assert_eq!(ports, [53, 5000, 5432]);
    stage.delete("us", Kind::ServiceEntry, "default", "db");
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
}
