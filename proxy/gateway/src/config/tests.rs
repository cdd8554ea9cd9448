//! Files, variables and arguments, right and wrong.

use std::ffi::OsString;

use rustix::net::sockopt;
use serde_json::Value;

use super::*;

const ISSUE: &str = r#"cluster: us
network: network2
locality: us-west/us-west-a
regions: [us-west, ap-southeast, eu-west]
listeners:
  - {address: "0.0.0.0:15443", role: inbound}
  - {address: "0.0.0.0:15444", role: outbound}
admin: {address: "127.0.0.1:15000"}
stats: {address: "0.0.0.0:15020"}
ready: {address: "0.0.0.0:15021"}
source:
  file: mesh.yaml
"#;

#[test]
fn a_usual_file_is_read() {
    let gateway = parse("gateway.yaml", ISSUE).expect("a good file");
    assert_eq!(gateway.cluster, "us");
    assert_eq!(gateway.listeners[1].role, Role::Outbound);
    let proxy = gateway.to_proxy();
    assert_eq!(proxy.viewpoint.locality.to_string(), "us-west/us-west-a");
    assert!(proxy.allow_loopback && proxy.workers > 0);
}

#[test]
fn kubernetes_is_a_source_with_settings_of_its_own() {
    let text = "labels: {istio: eastwestgateway}\nsource: {kubernetes: {context: us}}\n\
                discovery: {secretNamespaces: [a, b], mtls: all, allowProxy: true, sameNetwork: [eu],\n  \
                clusters: {eu: {locality: eu/1}}, ceilings: {endpoints: 7}}\n";
    let gateway = parse("gateway.yaml", text).expect("a good file");
    assert!(!gateway.to_proxy().allow_loopback);
    let kubernetes = gateway.source.kubernetes.clone().expect("it is set");
    let settings = gateway.to_discovery(&kubernetes);
    assert_eq!(settings.local.context.as_deref(), Some("us"));
    assert_eq!(settings.secret_namespaces, ["a", "b"]);
    assert_eq!(
        (settings.allow.proxy, settings.allow.insecure_tls),
        (true, false)
    );
    assert_eq!(
        (settings.ceilings.endpoints, settings.ceilings.objects),
        (7, 200_000)
    );
    assert_eq!(
        settings.rules.mtls,
        discovery::kubernetes::meaning::Mtls::All
    );
    assert_eq!(
        settings.rules.clusters[&model::ClusterId::from("eu")]
            .locality
            .to_string(),
        "eu/1"
    );
    assert!(settings.rules.same_network.contains("eu"));
    let usual = parse("gateway.yaml", "source: {kubernetes: {}}\n").expect("a good file");
    assert_eq!(usual.discovery.secret_namespaces, ["istio-system"]);
}

#[test]
fn a_wrong_file_says_where() {
    for (old, new, place, said) in [
        ("cluster:", "clutser:", "gateway.yaml:1:", "clutser"),
        ("role: inbound", "role: sideways", "gateway.yaml:6:", "role"),
        ("15020\"", "150200\"", "gateway.yaml:9:", "address"),
        (
            "regions: [us-west, ap-southeast, eu-west]",
            "regions: us-west",
            "gateway.yaml:4:",
            "regions",
        ),
        (
            "0.0.0.0:15444",
            "0.0.0.0:15443",
            "gateway.yaml:5:",
            "two of them",
        ),
        ("0.0.0.0:15444", "[::]:15443", "gateway.yaml:5:", "overlap"),
        (
            "role: inbound",
            "role: inbound, proxyProtocol: {from: [10.0.0.0/8, nobody]}",
            "gateway.yaml:6:",
            "'nobody' is no range",
        ),
        (
            "role: inbound",
            "role: inbound, network: network3",
            "gateway.yaml:5:",
            "not outbound",
        ),
        (
            "{address: \"0.0.0.0:15444\", role: outbound}",
            "{address: \"0.0.0.0:15444\", role: outbound, network: a}\n  - {address: \"0.0.0.0:1\", role: outbound, network: a}",
            "gateway.yaml:5:",
            "two of them stand for a",
        ),
        (
            "127.0.0.1:15000",
            "0.0.0.0:15000",
            "gateway.yaml:8:",
            "allowRemote",
        ),
        (
            "  file: mesh.yaml",
            "  kubernetes: {config: x}",
            "gateway.yaml:12:",
            "config",
        ),
        (
            "  file: mesh.yaml",
            "  {file: mesh.yaml, kubernetes: {}}",
            "gateway.yaml:11:",
            "there are several",
        ),
        ("  file: mesh.yaml", "  {}", "gateway.yaml:11:", "source"),
        (
            "cluster: us",
            "timeouts: {hello: 10}",
            "gateway.yaml:1:",
            "hello",
        ),
        (
            "cluster: us",
            "timeouts: {keepalive: 500ms}",
            "gateway.yaml:1:",
            "timeouts.keepalive:",
        ),
        (
            "cluster: us",
            "timeouts:\n  keepaliveInterval: 32768s",
            "gateway.yaml:2:",
            "timeouts.keepaliveInterval:",
        ),
        (
            "cluster: us",
            "timeouts: {user: 597h}",
            "gateway.yaml:1:",
            "timeouts.user:",
        ),
        (
            "cluster: us",
            "limits: {helloBytes: 5}",
            "gateway.yaml:1:",
            "helloBytes",
        ),
        (
            "cluster: us",
            "# drain: 1\nlabels: {window: x}\ndrain:\n  announce: 1s\n  window: 0s",
            "gateway.yaml:5:",
            "drain.window",
        ),
        (
            "cluster: us",
            "busyPollMicros: 1001",
            "gateway.yaml:1:",
            "busyPollMicros: 1000 at most",
        ),
        (
            "cluster: us",
            "probes: {fall: 5}",
            "gateway.yaml:1:",
            "probes.fall",
        ),
    ] {
        assert!(ISSUE.contains(old), "{old}");
        let Err(fault) = parse("gateway.yaml", &ISSUE.replacen(old, new, 1)) else {
            panic!("accepted {new}")
        };
        let text = fault.to_string();
        assert!(
            text.starts_with(place) && text.contains(said),
            "{new}: {text}"
        );
    }
}

fn arguments(all: &[&str]) -> Vec<Override> {
    all.iter()
        .map(|text| Override::argument(text).expect("an argument"))
        .collect()
}

#[test]
fn arguments_beat_variables_beat_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, ISSUE).expect("written");
    let (plain, _) = load(Some(&path), &[]).expect("a good file");
    assert_eq!(
        plain.source.file,
        Some(folder.path().join("mesh.yaml")),
        "relative to the file"
    );

    let variables = [
        ("CAUSEWAY_CLUSTER", "eu"),
        ("CAUSEWAY_NETWORK", "n9"),
        ("CAUSEWAY_ZONE_SPILL", "off"),
        ("CAUSEWAY_LISTENERS_0_ADDRESS", "127.0.0.1:0"),
        ("CAUSEWAY_LIMITS_CONNECTIONS_PER_SOURCE", "5"),
        ("CAUSEWAY_SOURCE_FILE", "other.yaml"),
        ("HOME", "/"),
    ];
    let mut overrides = Override::variables(
        variables
            .map(|(name, value)| (name.into(), value.into()))
            .into_iter(),
    );
    overrides.extend(arguments(&[
        "cluster=ap",
        "workers=3",
        "busyPollMicros=50",
        "labels.app=gateway",
        "timeouts.hello=5s",
        "listeners.2={address: '[::1]:0', role: passthrough}",
    ]));
    let (gateway, unknown) = load(Some(&path), &overrides).expect("good overrides");
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(
        (gateway.cluster.as_str(), gateway.network.as_str()),
        ("ap", "n9")
    );
    assert_eq!(
        (gateway.zone_spill, gateway.workers),
        (Switch::Off, Some(3))
    );
    let busy_poll = [&plain, &gateway].map(|gateway| gateway.to_proxy().busy_poll.as_micros());
    assert_eq!(busy_poll, [0, 50], "off unless it is asked for");
    assert_eq!(gateway.listeners[0].address.to_string(), "127.0.0.1:0");
    assert_eq!(gateway.listeners[2].role, Role::Passthrough);
    assert_eq!(gateway.limits.connections_per_source, Some(5));
    assert_eq!(gateway.labels["app"], "gateway");
    assert_eq!(gateway.timeouts.hello.to_string(), "5s");
    assert_eq!(
        gateway.source.file,
        Some("other.yaml".into()),
        "relative to the working folder"
    );
}

/// The longest and the shortest times of sockets that pass are those that the kernel takes.
#[test]
fn the_kernel_takes_the_times_that_pass() {
    for (keepalive, user) in [("1s", "1ms"), ("32767s", "596h")] {
        let timeouts =
            format!("{{keepalive: {keepalive}, keepaliveInterval: {keepalive}, user: {user}}}");
        let text = format!("{ISSUE}timeouts: {timeouts}\n");
        let times = parse("gateway.yaml", &text).expect("a good file").timeouts;
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        sockopt::set_tcp_keepidle(&socket, times.keepalive.0).expect("it takes it");
        sockopt::set_tcp_keepintvl(&socket, times.keepalive_interval.0).expect("it takes it");
        let user = u32::try_from(times.user.0.as_millis()).expect("32 bits");
        sockopt::set_tcp_user_timeout(&socket, user).expect("it takes it");
    }
}

#[test]
fn a_wrong_override_is_named() {
    let base = || Gateway {
        source: Source {
            file: Some("m".into()),
            ..Source::default()
        },
        ..Gateway::default()
    };
    for text in [
        "nosuch=1",
        "admin.nosuch=1",
        "listeners.7.address=1.2.3.4:5",
        "workers=many",
        "listeners.0.role=up",
        "timeouts.hello=5",
    ] {
        let fault = overrides::apply(base(), &arguments(&[text]))
            .expect_err(text)
            .to_string();
        let name = text.split('=').next().unwrap_or_default();
        assert!(
            fault.starts_with(&format!("--set {name}: ")),
            "{text}: {fault}"
        );
    }
    assert!(Override::argument("nothing").is_err());
}

/// Others fill the environment too: Kubernetes, for each Service of the namespace.
#[test]
fn a_variable_that_names_no_setting_stops_nothing() {
    use std::os::unix::ffi::OsStringExt;

    let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let mut variables: Vec<_> = ["", "_EU", "_OUTBOUND", "_XDS_2"]
        .iter()
        .flat_map(|service| {
            [
                ("SERVICE_HOST", "10.0.0.1"),
                ("SERVICE_PORT", "15443"),
                ("SERVICE_PORT_TLS_ISTIOD", "15012"),
                ("PORT", "tcp://10.0.0.1:15443"),
                ("PORT_15443_TCP", "tcp://10.0.0.1:15443"),
                ("PORT_15443_TCP_PROTO", "tcp"),
                ("PORT_15443_TCP_ADDR", "10.0.0.1"),
            ]
            .map(|(rest, value)| variable(&format!("CAUSEWAY{service}_{rest}"), value))
        })
        .collect();
    variables.extend([
        variable("CAUSEWAY_NETWORK", "n9"),
        variable("CAUSEWAY_NO_SUCH", "1"),
        variable("CAUSEWAY_ADMIN_PORTS", "1"),
        (
            OsString::from("CAUSEWAY_CLUSTER"),
            OsString::from_vec(vec![0xff]),
        ),
    ]);
    let overrides = Override::variables(variables.into_iter());
    let (gateway, unknown) =
        overrides::apply(Gateway::default(), &overrides).expect("none is wrong");
    assert_eq!(
        (gateway.network.as_str(), gateway.cluster.as_str()),
        ("n9", "")
    );
    assert_eq!(unknown, ["CAUSEWAY_ADMIN_PORTS", "CAUSEWAY_NO_SUCH"]);
    let wrong = [variable("CAUSEWAY_WORKERS", "many")].into_iter();
    let fault = overrides::apply(Gateway::default(), &Override::variables(wrong));
    let fault = fault.expect_err("a setting's value").to_string();
    assert!(fault.starts_with("CAUSEWAY_WORKERS: "), "{fault}");
}

/// Every setting explains itself.
#[test]
fn the_schema_describes_every_setting() {
    fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, property) in properties {
                if property.get("description").is_none() {
                    missing.push(format!("{path}.{key}"));
                }
                walk(property, &format!("{path}.{key}"), missing);
            }
        }
        if let Some(definitions) = schema.get("$defs").and_then(Value::as_object) {
            definitions
                .iter()
                .for_each(|(name, definition)| walk(definition, name, missing));
        }
    }
    let mut missing = Vec::new();
    walk(
        schemars::schema_for!(Gateway).as_value(),
        "gateway",
        &mut missing,
    );
    walk(
        schemars::schema_for!(discovery::file::MeshFile).as_value(),
        "mesh",
        &mut missing,
    );
    assert!(missing.is_empty(), "{missing:?}");
}
