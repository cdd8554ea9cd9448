//! Ports of services in several clusters, and how endpoints join them.

use super::stage::{HELLO, SERVICE, SLICE, Stage, system_namespace};

/// `hello` with these ports in our cluster and in `eu`.
fn both(ours: &str, theirs: &str) -> Stage {
    let service = |ports: &str| SERVICE.replace("ports: [{port: 5000, targetPort: 9898}]", ports);
    Stage::new()
        .apply("us", &service(ours))
        .apply("eu", &system_namespace("network2"))
        .apply("eu", &service(theirs))
}

fn ports(stage: &mut Stage) -> Vec<String> {
    let service = stage.service(HELLO).expect("hello");
    let ports = service.ports.iter();
    ports
        .map(|port| format!("{} {} {:?}", port.number, port.name, port.protocol))
        .collect()
}

#[test]
fn ports_of_all_clusters_are_known_by_their_numbers() {
    let mut stage = both(
        "ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]",
        "ports: [{name: http, port: 8080}, {name: grpc, port: 90}]",
    );
    assert_eq!(
        ports(&mut stage),
        ["53 dns Udp", "80 http Tcp", "90 grpc Tcp", "8080 http Tcp"]
    );
}

#[test]
fn one_number_may_stand_for_streams_and_datagrams() {
    let dns = "ports: [{name: dns-udp, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]";
    let mut stage = both(dns, dns);
    assert_eq!(ports(&mut stage), ["53 dns-tcp Tcp", "53 dns-udp Udp"]);
}

#[test]
fn endpoints_join_by_the_ports_name() {
    let slice = |port: &str| SLICE.replace("{port: 9898, protocol: TCP}", port);
    let mut stage = both(
        "ports: [{name: http, port: 80}]",
        "ports: [{name: web, port: 80}]",
    )
    .apply("eu", &slice("{name: web, port: 9898}"));
    assert_eq!(ports(&mut stage), ["80 http Tcp"]);
    let service = stage.service(HELLO).expect("hello");
    let endpoint = service.endpoints.iter().next().expect("an endpoint");
    assert_eq!(endpoint.dial_key("http"), None);
    let mismatch = format!("port_mismatch eu {HELLO} 1");
    assert!(stage.findings().contains(&mismatch));

    stage.put("eu", &slice("{name: http, port: 9090}"));
    stage.put(
        "eu",
        &SERVICE.replace("{port: 5000, targetPort: 9898}", "{name: http, port: 80}"),
    );
    let service = stage.service(HELLO).expect("hello");
    let endpoint = service.endpoints.iter().next().expect("an endpoint");
    assert_eq!(
        endpoint.dial_key("http").map(|key| key.0.port()),
        Some(9090)
    );
    assert!(
        !stage
            .findings()
            .iter()
            .any(|one| one.starts_with("port_mismatch"))
    );
}
