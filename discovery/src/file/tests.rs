//! Good and bad files, and files that change.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;

const ISSUE: &str = r#"
networks:
  network3:
    gateways:
      - {address: 203.0.113.7, port: 15443, clusters: [eu]}
services:
  - host: hello.default.svc.cluster.local
    ports:
      - {number: 5000, name: http}
    subsets:
      v1: {version: v1}
    endpoints:
      - {address: 10.0.1.5, ports: {http: 9898}, cluster: us, network: network2, locality: us-west/us-west-a, weight: 1, labels: {version: v1}, workload: {namespace: default, name: hello, canonicalName: hello, canonicalRevision: v1}}
      - {address: 10.8.0.9, ports: {http: 9898}, cluster: eu, network: network3, locality: eu-west/eu-west-1, health: healthy}
"#;

#[test]
fn a_usual_file_is_read() {
    let loaded = parse("mesh.yaml", ISSUE).expect("a good file");
    assert_eq!(
        loaded.part.networks["network3"].gateways[0].address,
        "203.0.113.7:15443".parse().expect("an address")
    );
    let service = loaded.part.services.iter().next().expect("a service");
    assert_eq!(service.endpoints.len(), 2);
    let endpoint = service.endpoints.iter().next().expect("an endpoint");
    assert_eq!(
        endpoint
            .dial_key("http")
            .map(|key| key.0.to_string())
            .as_deref(),
        Some("10.0.1.5:9898")
    );
    assert_eq!(&*endpoint.origin.workload.canonical_revision, "v1");
}

/// A service is judged as soon as it is read, and yet what is said first is what was said first when all of them were read before:
/// the form of the file, then networks, then services in their order.
#[test]
fn faults_of_services_are_said_in_their_order() {
    let service =
        |host: &str| format!("  - host: {host}\n    ports: [{{number: 80, name: http}}]\n");
    let (a, b, wrong) = (service("a.test"), service("b.test"), service("'a b'"));
    let zero = b.replace("80", "0");
    let unknown = b.replace("ports", "prots");
    let gateway = "networks: {n: {gateways: [{address: 10.8.0.9, port: 0}]}}\n";
    for (services, more, line, key, said) in [
        ([&a, &b, &a], "", 6, "host", "twice"),
        ([&a, &zero, &wrong], "", 5, "number", "1 to 65535"),
        ([&wrong, &zero, &a], "", 2, "host", "'a b'"),
        ([&wrong, &a, &unknown], "", 7, "prots", "unknown field"),
        ([&wrong, &a, &b], gateway, 8, "port", "a gateway's port"),
    ] {
        let services: String = services.into_iter().map(String::as_str).collect();
        let text = format!("services:\n{services}{more}");
        let fault = parse("mesh.yaml", &text).expect_err("it is wrong");
        assert_eq!(
            (fault.line, fault.key.as_str()),
            (line, key),
            "{fault}\n{text}"
        );
        assert!(fault.problem.contains(said), "{fault}");
    }
}

/// A fault in the usual file (what is replaced, with what), and the line and key that the error names.
#[test]
fn a_wrong_file_says_where() {
    for (old, new, line, key, said) in [
        (
            "networks:",
            "netwroks:",
            2,
            "netwroks",
            "unknown field `netwroks`",
        ),
        ("weight: 1", "weight: heavy", 13, "weight", "u32"),
        ("weight: 1", "weight: 0", 13, "weight", "at least 1"),
        (
            "address: 10.8.0.9",
            "address: 10.8.0",
            14,
            "address",
            "IP address",
        ),
        (
            "{http: 9898}, cluster: eu",
            "{grpc: 9898}, cluster: eu",
            14,
            "ports",
            "no port named 'grpc'",
        ),
        ("health: healthy", "health: fine", 14, "health", "fine"),
        ("number: 5000", "number: 500000", 9, "number", "u16"),
        (
            "      - {number: 5000, name: http}",
            "      - {number: 5000, name: http}\n      - {number: 5000, name: b}",
            10,
            "number",
            "twice",
        ),
        (
            "host: hello.default",
            "host: hello..default",
            7,
            "host",
            "not a host name",
        ),
        ("203.0.113.7", "not_a/name", 5, "address", "not a host name"),
        (
            "    endpoints:",
            "    policy: {warmup: 5}\n    endpoints:",
            12,
            "warmup",
            "no duration",
        ),
        (
            "    endpoints:",
            "    policy: {connectTimeout: 0s}\n    endpoints:",
            12,
            "connectTimeout",
            "longer than nothing",
        ),
        (
            "    endpoints:",
            "    policy:\n      outlierDetection:\n        baseEjection: 0s\n    endpoints:",
            14,
            "baseEjection",
            "longer than nothing",
        ),
        (
            "    endpoints:",
            "    policy: {outlierDetection: {maxEjection: 0ms}}\n    endpoints:",
            12,
            "maxEjection",
            "longer than nothing",
        ),
        (
            "    endpoints:",
            "    policy: {keepalive: {time: 500ms}}\n    endpoints:",
            12,
            "time",
            "between 1s and 32767s",
        ),
        (
            "    endpoints:",
            "    policy: {keepalive: {time: 1s, interval: 12h}}\n    endpoints:",
            12,
            "interval",
            "between 1s and 32767s",
        ),
        (
            "networks:",
            "passthrough: [{hosts: [a.b], to: [{host: x, port: 1}]}]\nnetworks:",
            2,
            "host",
            "no service 'x'",
        ),
        (
            "networks:",
            "passthrough: [{hosts: [a.b], to: [{host: hello.default.svc.cluster.local, port: 5000, subset: v2}]}]\nnetworks:",
            2,
            "subset",
            "no subset 'v2'",
        ),
        ("port: 15443", "port: 0", 5, "port", "1 to 65535"),
        (
            "{http: 9898}, cluster: eu",
            "{http: 0}, cluster: eu",
            14,
            "ports",
            "1 to 65535",
        ),
        (
            "address: 10.8.0.9, ports: {http: 9898}, cluster: eu, network: network3",
            "address: 10.0.1.5, ports: {http: 9898}, cluster: eu, network: network2",
            14,
            "address",
            "twice",
        ),
        (
            "clusters: [eu]}",
            "clusters: [eu]}\n      - {address: 203.0.113.7}",
            6,
            "address",
            "twice",
        ),
        // The same addresses, written as IPv6 sockets say them (RFC 4291 section 2.5.5.2).
        (
            "clusters: [eu]}",
            "clusters: [eu]}\n      - {address: '::ffff:203.0.113.7'}",
            6,
            "address",
            "twice",
        ),
        (
            "address: 10.8.0.9, ports: {http: 9898}, cluster: eu, network: network3",
            "address: '::ffff:10.0.1.5', ports: {http: 9898}, cluster: eu, network: network2",
            14,
            "address",
            "twice",
        ),
        (
            "weight: 1,",
            "weight: 1048577,",
            13,
            "weight",
            "at most 1048576",
        ),
        (
            "clusters: [eu]}",
            "clusters: [eu]}\n      - {address: gw.example}\n      - {address: GW.example.}",
            7,
            "address",
            "twice",
        ),
    ] {
        assert!(ISSUE.contains(old), "{old}");
        let text = ISSUE.replacen(old, new, 1);
        let Err(fault) = parse("mesh.yaml", &text) else {
            panic!("accepted {new}")
        };
        assert_eq!(
            (fault.line, fault.key.as_str()),
            (line, key),
            "{new}: {fault}"
        );
        assert!(fault.to_string().starts_with("mesh.yaml:"), "{fault}");
        assert!(fault.problem.contains(said), "{new}: {fault}");
    }
}

/// What the policy of the usual file's service becomes.
fn policy(given: &str) -> Arc<model::Policy> {
    let policy = format!("    policy: {given}\n    endpoints:");
    let loaded = parse("mesh.yaml", &ISSUE.replacen("    endpoints:", &policy, 1)).expect(given);
    let service = loaded.part.services.iter().next().expect("a service");
    service.policy.clone()
}

/// As in a DestinationRule and in Envoy.
#[test]
fn a_limit_of_nothing_is_none() {
    let off = policy("{idleTimeout: 0s, maxDuration: 0s, maxConnections: 0}");
    assert_eq!(off.idle_timeout, None);
    assert_eq!(off.max_duration, None);
    assert_eq!(off.max_connections, None);
    let on = policy("{idleTimeout: 1ms, maxDuration: 1s, maxConnections: 1}");
    let second = Duration::from_secs(1);
    assert_eq!(on.idle_timeout, Some(second / 1_000));
    assert_eq!(on.max_duration, Some(second));
    assert_eq!(on.max_connections, Some(1));
}

#[test]
fn a_long_first_ejection_is_not_cut_by_the_usual_longest() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    for (given, longest) in [
        ("{outlierDetection: {baseEjection: 10m}}", minutes(10)),
        ("{outlierDetection: {baseEjection: 1m}}", minutes(5)),
        ("{outlierDetection: {maxEjection: 20m}}", minutes(20)),
    ] {
        let outlier = policy(given).outlier_detection.expect("it is given");
        assert_eq!(outlier.max_ejection, longest, "{given}");
    }
}

#[test]
fn a_bomb_is_no_file() {
    let mut text = "a0: &a0 [x, x]\n".to_owned();
    for n in 1..40 {
        text += &format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
    }
    assert!(parse("mesh.yaml", &text).is_err());
    assert!(parse("mesh.yaml", &"[".repeat(10_000)).is_err());
}

async fn until(source: &Source, what: &str, holds: impl Fn(&Source) -> bool) {
    let waiting = async {
        while !holds(source) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .is_ok(),
        "waited in vain until {what}"
    );
}

fn endpoints(source: &Source) -> usize {
    source
        .snapshots
        .borrow()
        .services
        .iter()
        .map(|service| service.endpoints.len())
        .sum()
}

const SECOND: &str = "      - {address: 10.0.1.6, ports: {http: 9898}, cluster: us}\n";

#[tokio::test]
async fn changes_are_followed_and_mistakes_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mesh.yaml");
    fs::write(&path, ISSUE).expect("written");
    let source = start(path.clone()).await.expect("a good file");
    let before = source.snapshots.borrow().clone();
    assert_eq!((before.version, endpoints(&source)), (1, 2));

    fs::write(&path, "services: 5").expect("written");
    until(&source, "the mistake is seen", |source| {
        source.status.borrow().failures == 1
    })
    .await;
    assert!(
        source
            .status
            .borrow()
            .last_error
            .as_ref()
            .is_some_and(|said| said.contains("services"))
    );
    assert!(
        Arc::ptr_eq(&before, &source.snapshots.borrow()),
        "the last good one stays"
    );

    for (empty, failures) in [("", 2), ("# nothing yet\n", 3)] {
        fs::write(&path, empty).expect("written");
        until(&source, "the empty file is seen", |source| {
            source.status.borrow().failures == failures
        })
        .await;
        assert!(
            Arc::ptr_eq(&before, &source.snapshots.borrow()),
            "an empty file ends no route"
        );
    }

    // As editors save: another file, renamed over it.
    let other = folder.path().join("mesh.yaml.new");
    fs::write(&other, format!("{ISSUE}{SECOND}")).expect("written");
    fs::rename(&other, &path).expect("renamed");
    until(&source, "the change is seen", |source| {
        endpoints(source) == 3
    })
    .await;
    assert_eq!(source.snapshots.borrow().version, 2);
    assert_eq!(source.status.borrow().last_error, None);

    // The same once more is no change.
    fs::write(&path, format!("{ISSUE}{SECOND}\n")).expect("written");
    until(&source, "it is read", |source| {
        source.status.borrow().reloads == 3
    })
    .await;
    assert_eq!(source.snapshots.borrow().version, 2);
}

/// A mounted ConfigMap changes by the swap of a link: `mesh.yaml -> ..data/mesh.yaml`, `..data -> ..2026_1`.
#[tokio::test]
async fn a_config_map_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [
        ("..1", ISSUE.to_owned()),
        ("..2", format!("{ISSUE}{SECOND}")),
    ] {
        fs::create_dir(at(version)).expect("a folder");
        fs::write(at(version).join("mesh.yaml"), text).expect("written");
    }
    symlink("..1", at("..data")).expect("a link");
    symlink("..data/mesh.yaml", at("mesh.yaml")).expect("a link");
    let source = start(at("mesh.yaml")).await.expect("a good file");
    symlink("..2", at("..data_tmp")).expect("a link");
    fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
    until(&source, "the change is seen", |source| {
        endpoints(source) == 3
    })
    .await;
}

/// However it changes and whenever that is between two looks. By the runtime's clock, which stands still while anything is done.
#[tokio::test(start_paused = true)]
async fn a_change_is_in_force_within_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let version = |name: &str, text: &str| {
        fs::create_dir(at(name)).expect("a folder");
        fs::write(at(name).join("mesh.yaml"), text).expect("written");
        symlink(name, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
    };
    version("..0", ISSUE);
    symlink("..data/mesh.yaml", at("mesh.yaml")).expect("a link");
    let mut source = start(at("mesh.yaml")).await.expect("a good file");
    source.snapshots.mark_unchanged();
    for round in 1..=20_u32 {
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 13)).await;
        let text = match round % 2 {
            0 => ISSUE.to_owned(),
            _ => format!("{ISSUE}{SECOND}"),
        };
        let began = tokio::time::Instant::now();
        match round {
            ..10 => version(&format!("..{round}"), &text),
            10..15 => {
                fs::write(at("next"), text).expect("written");
                fs::rename(at("next"), at("mesh.yaml")).expect("renamed");
            }
            _ => fs::write(at("mesh.yaml"), text).expect("written"),
        }
        source.snapshots.changed().await.expect("it is followed");
        assert!(began.elapsed() < Duration::from_secs(1), "round {round}");
        let count = if round % 2 == 0 { 2 } else { 3 };
        source.snapshots.mark_unchanged();
        assert_eq!(endpoints(&source), count, "round {round}");
    }
}

/// A writer that is never done holds up nothing, as long as each of its versions is whole.
#[tokio::test]
async fn a_file_that_is_replaced_all_the_time_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mesh.yaml");
    fs::write(&path, ISSUE).expect("written");
    let source = start(path.clone()).await.expect("a good file");
    let writing = async {
        let mut round = 0;
        while source.status.borrow().reloads < 4 {
            round += 1;
            let next = folder.path().join("mesh.yaml.new");
            let more = if round % 2 == 0 { SECOND } else { "" };
            fs::write(&next, format!("{ISSUE}{more}")).expect("written");
            fs::rename(&next, &path).expect("renamed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let followed = tokio::time::timeout(Duration::from_secs(60), writing).await;
    assert!(followed.is_ok(), "{:?}", source.status.borrow());
    assert_eq!(source.status.borrow().failures, 0);
}

#[test]
fn a_number_may_stand_for_tcp_and_for_udp() {
    let dns = "    ports:\n      - {number: 53, name: dns, protocol: UDP}\n      - {number: 53, name: dns-tcp}\n";
    let text = ISSUE.replacen("    ports:\n", dns, 1);
    let loaded = parse("mesh.yaml", &text).expect("a good file");
    let service = loaded.part.services.iter().next().expect("a service");
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| (port.number, &*port.name))
        .collect();
    assert_eq!(ports, [(53, "dns"), (53, "dns-tcp"), (5000, "http")]);
    // A passthrough route wants the one that streams.
    let route = |port: u16| {
        format!(
            "passthrough: [{{hosts: [a.b], to: [{{host: hello.default.svc.cluster.local, port: {port}}}]}}]\n{text}"
        )
    };
    assert!(parse("mesh.yaml", &route(53)).is_ok());
    let datagrams = route(53).replacen("      - {number: 53, name: dns-tcp}\n", "", 1);
    assert!(parse("mesh.yaml", &datagrams).is_err());
}

#[tokio::test]
async fn a_gateway_can_have_a_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mesh.yaml");
    let named = ISSUE.replacen("203.0.113.7", "localhost", 1).replacen(
        "    gateways:",
        "    gateways:\n      - {address: nowhere.invalid}",
        1,
    );
    fs::write(&path, named).expect("written");
    let source = start(path).await.expect("a good file");
    let snapshot = source.snapshots.borrow().clone();
    let gateways = &snapshot.networks["network3"].gateways;
    assert!(
        !gateways.is_empty()
            && gateways
                .iter()
                .all(|gateway| gateway.address.ip().is_loopback()),
        "{gateways:?}"
    );
    assert_eq!(source.status.borrow().unresolved, ["nowhere.invalid"]);
}

#[test]
fn a_service_can_say_how_its_traffic_is_distributed() {
    use model::TrafficDistribution::{Any, Default, PreferClose, PreferSameNode};
    for (word, meant) in [
        ("Default", Default),
        ("Any", Any),
        ("PreferClose", PreferClose),
        ("PreferSameZone", PreferClose),
        ("PreferSameNode", PreferSameNode),
    ] {
        let policy = policy(&format!("{{trafficDistribution: {word}}}"));
        assert_eq!(policy.locality.traffic_distribution, meant, "{word}");
    }
}
