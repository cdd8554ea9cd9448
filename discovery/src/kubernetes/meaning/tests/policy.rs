//! DestinationRules and trafficDistribution.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Distribute, Failover, Keepalive, LoadBalancer, LocalityPolicy, OutlierDetection, Policy,
};

use super::stage::{HELLO, POD, Stage, node};
use crate::kubernetes::facts::Kind;

/// A rule for `hello` with this under `spec`.
pub(super) fn rule(spec: &str) -> String {
    rule_of("hello", "default", spec)
}

fn rule_of(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec:
{spec}
"
    )
}

pub(super) fn policy(stage: &mut Stage) -> Arc<Policy> {
    stage.service(HELLO).expect("hello").policy.clone()
}

fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

#[test]
fn a_traffic_policy_becomes_ours() {
    let locality = |locality| Policy {
        locality,
        ..Policy::default()
    };
    let outlier = |consecutive_failures, base| Policy {
        outlier_detection: Some(OutlierDetection {
            consecutive_failures,
            base_ejection: Duration::from_secs(base),
            max_ejection: Duration::from_secs(300.max(base)),
            min_health_percent: 0,
        }),
        ..Policy::default()
    };
    let balancer = |load_balancer| Policy {
        load_balancer,
        ..Policy::default()
    };
    for (given, expected) in [
        (
            "loadBalancer: {simple: ROUND_ROBIN}",
            balancer(LoadBalancer::RoundRobin),
        ),
        (
            "loadBalancer: {simple: RANDOM}",
            balancer(LoadBalancer::Random),
        ),
        (
            "loadBalancer: {simple: LEAST_CONN}",
            balancer(LoadBalancer::LeastRequest),
        ),
        (
            "loadBalancer: {simple: PASSTHROUGH}",
            balancer(LoadBalancer::LeastRequest),
        ),
        (
            "loadBalancer: {consistentHash: {useSourceIp: true}}",
            balancer(LoadBalancer::SourceIp),
        ),
        (
            "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}",
            balancer(LoadBalancer::SourceIp),
        ),
        (
            "loadBalancer: {consistentHash: {httpHeaderName: x-user}}",
            balancer(LoadBalancer::LeastRequest),
        ),
        (
            "loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 30s}}",
            Policy {
                warmup: secs(30),
                ..Policy::default()
            },
        ),
        (
            "loadBalancer: {simple: LEAST_REQUEST, warmupDurationSecs: 1m}",
            Policy {
                warmup: secs(60),
                ..Policy::default()
            },
        ),
        (
            "loadBalancer: {simple: RANDOM, warmupDurationSecs: 1m}",
            balancer(LoadBalancer::Random),
        ),
        (
            "connectionPool: {tcp: {maxConnections: 7, connectTimeout: 1500ms}}",
            Policy {
                max_connections: Some(7),
                connect_timeout: Some(Duration::from_millis(1500)),
                ..Policy::default()
            },
        ),
        (
            "connectionPool: {tcp: {connectTimeout: 0s}}",
            Policy::default(),
        ),
        (
            "connectionPool: {tcp: {connectTimeout: 0.0009s}}",
            Policy::default(),
        ),
        (
            "connectionPool: {tcp: {connectTimeout: 1ms}}",
            Policy {
                connect_timeout: Some(Duration::from_millis(1)),
                ..Policy::default()
            },
        ),
        (
            "connectionPool: {tcp: {idleTimeout: 1h, maxConnectionDuration: 2h, tcpKeepalive: {time: 5m, probes: 3}}}",
            Policy {
                idle_timeout: secs(3_600),
                max_duration: secs(7_200),
                keepalive: Some(Keepalive {
                    time: Duration::from_secs(300),
                    ..Keepalive::default()
                }),
                ..Policy::default()
            },
        ),
        (
            "connectionPool: {tcp: {idleTimeout: 0s, tcpKeepalive: {}}}",
            Policy {
                keepalive: Some(Keepalive::default()),
                ..Policy::default()
            },
        ),
        (
            "connectionPool: {http: {http2MaxRequests: 7}}",
            Policy::default(),
        ),
        ("outlierDetection: {}", outlier(5, 30)),
        (
            "outlierDetection: {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 1m, maxEjectionPercent: 100}",
            outlier(3, 60),
        ),
        ("outlierDetection: {consecutiveErrors: 4}", outlier(4, 30)),
        (
            "outlierDetection: {consecutiveGatewayErrors: 2}",
            outlier(2, 30),
        ),
        (
            "outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 9}",
            outlier(9, 30),
        ),
        (
            "outlierDetection: {consecutive5xxErrors: 0}",
            outlier(0, 30),
        ),
        (
            "outlierDetection: {consecutive5xxErrors: 1, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 6}",
            outlier(6, 30),
        ),
        ("outlierDetection: {baseEjectionTime: 10m}", outlier(5, 600)),
        (
            "outlierDetection: {minHealthPercent: 30}",
            Policy {
                outlier_detection: Some(OutlierDetection {
                    min_health_percent: 30,
                    ..outlier(5, 30).outlier_detection.unwrap_or_default()
                }),
                ..Policy::default()
            },
        ),
        (
            "loadBalancer: {localityLbSetting: {enabled: false}}",
            locality(LocalityPolicy {
                disabled: true,
                ..LocalityPolicy::default()
            }),
        ),
        (
            "loadBalancer: {localityLbSetting: {failoverPriority: [topology.istio.io/network, rack]}}",
            locality(LocalityPolicy {
                failover_priority: vec!["topology.istio.io/network".into(), "rack".into()],
                ..LocalityPolicy::default()
            }),
        ),
        (
            "loadBalancer: {localityLbSetting: {failover: [{from: us-west, to: us-east}]}}",
            locality(LocalityPolicy {
                failover: vec![Failover {
                    from: "us-west".into(),
                    to: "us-east".into(),
                }],
                ..LocalityPolicy::default()
            }),
        ),
        (
            "loadBalancer: {localityLbSetting: {distribute: [{from: us-west/*, to: {'us-west/*': 80, 'us-east/*': 20}}]}}",
            locality(LocalityPolicy {
                distribute: vec![Distribute {
                    from: "us-west/*".into(),
                    to: [("us-west/*".into(), 80), ("us-east/*".into(), 20)].into(),
                }],
                ..LocalityPolicy::default()
            }),
        ),
    ] {
        let mut stage = Stage::new().hello().apply(
            "us",
            &rule(&format!("  host: hello\n  trafficPolicy: {{{given}}}")),
        );
        assert_eq!(*policy(&mut stage), expected, "{given}");
    }
}

#[test]
fn all_served_versions_are_read_alike() {
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let rule = rule("  host: hello\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}");
        let rule = rule.replace("istio.io/v1\n", &format!("istio.io/{version}\n"));
        let mut stage = Stage::new().hello().apply("us", &rule);
        assert_eq!(
            policy(&mut stage).load_balancer,
            LoadBalancer::Random,
            "{version}"
        );
    }
}

#[test]
fn a_port_has_settings_of_its_own_and_inherits_none() {
    let mut stage = Stage::new().hello().apply(
        "us",
        &rule(
            "  host: hello
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {maxConnections: 7}}
    portLevelSettings: [{port: {number: 5000}, connectionPool: {tcp: {maxConnections: 3}}}]",
        ),
    );
    let policy = policy(&mut stage);
    assert_eq!(
        (policy.load_balancer, policy.max_connections),
        (LoadBalancer::Random, Some(7))
    );
    let of_port = policy.for_port(5000);
    assert_eq!(
        (of_port.load_balancer, of_port.max_connections),
        (LoadBalancer::LeastRequest, Some(3))
    );
    assert_eq!(policy.for_port(5001), &policy);
}

#[test]
fn a_subsets_settings_lie_over_the_rules() {
    let mut stage = Stage::new().hello().apply(
        "us",
        &rule(
            "  host: hello
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {maxConnections: 7}}
    portLevelSettings: [{port: {number: 90}, loadBalancer: {simple: ROUND_ROBIN}}]
  subsets:
    - {name: v1, labels: {version: v1}}
    - name: v2
      labels: {version: v2}
      trafficPolicy:
        connectionPool: {tcp: {maxConnections: 2}}
        portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]",
        ),
    );
    let service = stage.service(HELLO).expect("hello");
    let names: Vec<&str> = service.subsets.keys().map(|name| &**name).collect();
    assert_eq!(names, ["v1", "v2"]);
    assert_eq!(service.subsets["v1"].policy, None, "the service's holds");
    assert_eq!(
        service.subsets["v1"].labels,
        [("version".into(), "v1".into())].into()
    );
    let policy = service.subsets["v2"].policy.as_ref().expect("its own");
    let of = |policy: &Policy| (policy.load_balancer, policy.max_connections);
    assert_eq!(of(policy), (LoadBalancer::Random, Some(2)));
    assert_eq!(of(policy.for_port(80)), (LoadBalancer::RoundRobin, None));
    assert_eq!(of(policy.for_port(90)), (LoadBalancer::RoundRobin, Some(2)));
}

#[test]
fn endpoints_keep_the_labels_that_are_looked_at() {
    let pod = POD.replace(
        "app: hello,",
        "app: hello, version: v1, rack: r7, pod-template-hash: x,",
    );
    for (spec, expected) in [
        ("  host: hello", ""),
        (
            "  host: hello\n  subsets: [{name: v1, labels: {version: v1}}]",
            "version=v1",
        ),
        (
            "  host: hello\n  trafficPolicy: {loadBalancer: {localityLbSetting: {failoverPriority: [topology.istio.io/network, rack=r7, app, missing]}}}",
            "app=hello rack=r7",
        ),
        (
            "  host: hello\n  trafficPolicy: {loadBalancer: {localityLbSetting: {failoverPriority: [kubernetes.io/hostname]}}}",
            "kubernetes.io/hostname=node-1",
        ),
    ] {
        let mut stage = Stage::new()
            .hello()
            .apply("us", &pod)
            .apply("us", &node("node-1", "r", "z"))
            .apply("us", &rule(spec));
        let service = stage.service(HELLO).expect("hello");
        let labels = &service.endpoints.iter().next().expect("an endpoint").labels;
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(labels.join(" "), expected, "{spec}");
    }
}

#[test]
fn a_rule_for_other_than_the_meshs_mutual_tls_takes_the_name_away() {
    let mode = |mode: &str| format!("tls: {{mode: {mode}}}");
    for (tls, usable) in [
        (mode("ISTIO_MUTUAL"), true),
        (mode("DISABLE"), false),
        (mode("SIMPLE"), false),
        (mode("MUTUAL"), false),
    ] {
        let mut stage = Stage::new().hello().apply(
            "us",
            &rule(&format!("  host: hello\n  trafficPolicy: {{{tls}}}")),
        );
        let plain = if usable { "" } else { " plain" };
        assert_eq!(
            stage.endpoints(HELLO),
            [format!("10.1.0.1 us network1{plain}")],
            "{tls}"
        );

        let subset = format!("  host: hello\n  subsets: [{{name: v1, trafficPolicy: {{{tls}}}}}]");
        let mut stage = Stage::new().hello().apply("us", &rule(&subset));
        let service = stage.service(HELLO).expect("hello");
        assert_eq!(service.subsets.contains_key("v1"), usable, "{tls}");
        assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);

        let port = format!(
            "  host: hello\n  trafficPolicy: {{portLevelSettings: [{{port: {{number: 5000}}, {tls}}}]}}"
        );
        let mut stage = Stage::new().hello().apply("us", &rule(&port));
        assert_eq!(
            stage.service(HELLO).expect("hello").ports.len(),
            usize::from(usable),
            "{tls}"
        );
    }
}

/// A rule that shows itself by a limit.
fn limit(name: &str, namespace: &str, host: &str, connections: u32, more: &str) -> String {
    let spec = format!(
        "  host: '{host}'\n  trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {connections}}}}}}}\n{more}"
    );
    rule_of(name, namespace, &spec)
}

#[test]
fn the_closest_and_most_specific_rule_holds() {
    let full = HELLO;
    let cases: [(&str, Vec<String>, Option<u32>); 12] = [
        ("none", vec![], None),
        (
            "a short name is of its own namespace",
            vec![limit("a", "other", "hello", 1, "")],
            None,
        ),
        (
            "other namespaces have no say",
            vec![limit("a", "other", full, 1, "")],
            None,
        ),
        (
            "the service's own",
            vec![limit("a", "default", full, 1, "")],
            Some(1),
        ),
        (
            "the exact one before a wildcard",
            vec![
                limit("a", "default", "*.local", 1, ""),
                limit("b", "default", full, 2, ""),
            ],
            Some(2),
        ),
        (
            "the longer wildcard",
            vec![
                limit("a", "default", "*.local", 1, ""),
                limit("b", "default", "*.svc.cluster.local", 2, ""),
            ],
            Some(2),
        ),
        (
            "our namespace before the service's",
            vec![
                limit("a", "default", full, 1, ""),
                limit("b", "istio-system", "*.local", 2, ""),
            ],
            Some(2),
        ),
        (
            "exported to nobody but its own",
            vec![limit("a", "default", full, 1, "  exportTo: ['.']")],
            None,
        ),
        (
            "exported to us",
            vec![limit("a", "default", full, 1, "  exportTo: [istio-system]")],
            Some(1),
        ),
        (
            "ours need no export",
            vec![limit("a", "istio-system", full, 1, "  exportTo: ['.']")],
            Some(1),
        ),
        (
            "for other workloads",
            vec![limit(
                "a",
                "istio-system",
                full,
                1,
                "  workloadSelector: {matchLabels: {app: x}}",
            )],
            None,
        ),
        (
            "for us",
            vec![limit(
                "a",
                "istio-system",
                full,
                1,
                "  workloadSelector: {matchLabels: {istio: eastwestgateway}}",
            )],
            Some(1),
        ),
    ];
    for (case, rules, expected) in cases {
        let mut stage = Stage::new().hello();
        for rule in &rules {
            stage.put("us", rule);
        }
        assert_eq!(policy(&mut stage).max_connections, expected, "{case}");
    }
}

#[test]
fn of_rules_in_remote_namespaces_the_system_namespaces_is_the_last() {
    let me = crate::kubernetes::meaning::Me {
        namespace: "causeway".into(),
        ..super::stage::me()
    };
    let mut stage = Stage::of(me, crate::kubernetes::meaning::Rules::default())
        .hello()
        .apply("us", super::stage::EXPOSE)
        .apply("us", &limit("root", "istio-system", "*.local", 1, ""));
    assert_eq!(policy(&mut stage).max_connections, Some(1));
    stage.put("us", &limit("a", "default", "*.local", 2, ""));
    assert_eq!(policy(&mut stage).max_connections, Some(2));
    stage.put("us", &limit("b", "causeway", "*.local", 3, ""));
    assert_eq!(policy(&mut stage).max_connections, Some(3));
    stage.delete("us", Kind::DestinationRule, "causeway", "b");
    stage.delete("us", Kind::DestinationRule, "default", "a");
    assert_eq!(policy(&mut stage).max_connections, Some(1));
}

#[test]
fn rules_for_one_host_are_one_rule() {
    let at = |time: &str, rule: String| {
        rule.replace(
            "namespace: default",
            &format!("namespace: default, creationTimestamp: '{time}'"),
        )
    };
    let subsets = "  subsets: [{name: v1, labels: {version: a}}, {name: v2, labels: {version: b}}]";
    let other = "  subsets: [{name: v2, labels: {version: c}}, {name: v3, labels: {version: d}}]";
    let mut stage = Stage::new()
        .hello()
        .apply(
            "us",
            &at(
                "2024-01-02T00:00:00Z",
                limit("a", "default", "hello", 2, other),
            ),
        )
        .apply(
            "us",
            &at(
                "2024-01-01T00:00:00Z",
                limit("b", "default", HELLO, 1, subsets),
            ),
        );
    assert_eq!(
        policy(&mut stage).max_connections,
        Some(1),
        "the older one's"
    );
    let service = stage.service(HELLO).expect("hello");
    let subsets = service.subsets.iter();
    let subsets: Vec<String> = subsets
        .map(|(name, subset)| format!("{name}={}", subset.labels["version"]))
        .collect();
    assert_eq!(subsets, ["v1=a", "v2=b", "v3=d"]);
}
