//! What CDS says of a policy.

use std::sync::Arc;

use model::{Distribute, Labels, LocalityPolicy};
use prost::Message;

use super::*;

fn made(policy: Policy, flavour: Flavour, tls: &MeshTls) -> Cluster {
    let join = Join {
        port_names: ["http".into()].into(),
        labels: Labels::new(),
        policy: Arc::new(policy),
        assigned: false,
    };
    let naming = Naming {
        name: "outbound|80|v1|h.d",
        mesh_name: "outbound_.80_.v1_.h.d",
    };
    let us = Viewpoint {
        locality: "us/a".into(),
        ..Viewpoint::default()
    };
    let timeout = Duration::from_secs(3);
    cluster(naming, &join, &us, flavour, tls, timeout)
}

fn secrets(source: SecretSource) -> MeshTls {
    MeshTls::Secrets {
        certificate: "default".into(),
        ca: "ROOTCA".into(),
        source,
    }
}

#[test]
fn without_a_policy_the_gateways_own_numbers_hold() {
    let made = made(Policy::default(), Flavour::Envoy, &MeshTls::Off);
    assert_eq!(made.name, "outbound|80|v1|h.d");
    assert_eq!(made.lb_policy(), LbPolicy::LeastRequest);
    let Some(LbConfig::LeastRequestLbConfig(config)) = &made.lb_config else {
        panic!("no bias is told: {:?}", made.lb_config);
    };
    let bias = config.active_request_bias.as_ref().expect("a bias");
    assert_eq!(bias.default_value, 0.0);
    assert_eq!(made.connect_timeout, Some(duration(Duration::from_secs(3))));
    let common = made.common_lb_config.expect("common_lb_config");
    let panic = common.healthy_panic_threshold.expect("a threshold");
    assert_eq!(panic.value, 0.0);
    assert_eq!(common.locality_config_specifier, None);
    let limits = &made.circuit_breakers.expect("limits").thresholds[0];
    assert_eq!(limits.max_connections, number(u32::MAX));
    let outlier = made.outlier_detection.expect("outlier detection");
    assert!(outlier.split_external_local_origin_errors);
    assert_eq!(outlier.consecutive_local_origin_failure, number(3));
    assert_eq!(outlier.enforcing_consecutive_5xx, number(0));
    assert_eq!(outlier.max_ejection_percent, number(100));
    assert!(made.transport_socket_matches.is_empty());
}

#[test]
fn a_policy_is_told() {
    let policy = Policy {
        load_balancer: LoadBalancer::RoundRobin,
        locality: LocalityPolicy {
            distribute: vec![Distribute {
                from: "us/*".into(),
                to: [("us/*".into(), 100)].into(),
            }],
            ..LocalityPolicy::default()
        },
        outlier_detection: Some(model::OutlierDetection {
            consecutive_failures: 0,
            base_ejection: Duration::from_millis(1500),
            min_health_percent: 30,
            ..model::OutlierDetection::default()
        }),
        warmup: Some(Duration::from_secs(60)),
        connect_timeout: Some(Duration::from_secs(1)),
        max_connections: Some(7),
        ..Policy::default()
    };
    let made = made(policy, Flavour::Envoy, &MeshTls::Off);
    assert_eq!(made.lb_policy(), LbPolicy::RoundRobin);
    let Some(LbConfig::RoundRobinLbConfig(config)) = &made.lb_config else {
        panic!("no slow start: {:?}", made.lb_config);
    };
    let window = config
        .slow_start_config
        .as_ref()
        .and_then(|s| s.slow_start_window);
    assert_eq!(window, Some(duration(Duration::from_secs(60))));
    assert_eq!(made.connect_timeout, Some(duration(Duration::from_secs(1))));
    let limits = &made.circuit_breakers.expect("limits").thresholds[0];
    assert_eq!(limits.max_connections, number(7));
    let outlier = made.outlier_detection.expect("outlier detection");
    assert_eq!(
        outlier.enforcing_consecutive_local_origin_failure,
        number(0)
    );
    let base = outlier.base_ejection_time.expect("a time");
    assert_eq!((base.seconds, base.nanos), (1, 500_000_000));
    let common = made.common_lb_config.expect("common_lb_config");
    let panic = common.healthy_panic_threshold.expect("a threshold");
    assert_eq!(panic.value, 30.0);
    assert!(matches!(
        common.locality_config_specifier,
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
    ));
}

#[test]
fn the_mesh_speaks_tls_and_the_rest_does_not() {
    let made = made(
        Policy::default(),
        Flavour::Envoy,
        &secrets(SecretSource::Cluster("sds-grpc".into())),
    );
    let [mesh, plain] = &made.transport_socket_matches[..] else {
        panic!("two sockets");
    };
    assert_eq!(mesh.r#match, Some(mesh_match()));
    assert_eq!(plain.r#match, Some(Struct::default()));
    let Some(ConfigType::TypedConfig(any)) = mesh
        .transport_socket
        .as_ref()
        .and_then(|socket| socket.config_type.as_ref())
    else {
        panic!("a typed configuration");
    };
    let tls = UpstreamTlsContext::decode(&*any.value).expect("a TLS context");
    assert_eq!(tls.sni, "outbound_.80_.v1_.h.d");
    let common = tls.common_tls_context.expect("its common part");
    assert_eq!(common.alpn_protocols, MESH_ALPN);
    let certificate = &common.tls_certificate_sds_secret_configs[0];
    assert_eq!(certificate.name, "default");
    assert!(certificate.sds_config.is_some(), "from sds-grpc");
}

#[test]
fn no_time_is_nothing() {
    let policy = Policy {
        connect_timeout: Some(Duration::ZERO),
        outlier_detection: Some(model::OutlierDetection {
            base_ejection: Duration::ZERO,
            max_ejection: Duration::ZERO,
            ..model::OutlierDetection::default()
        }),
        ..Policy::default()
    };
    let made = made(policy, Flavour::Envoy, &MeshTls::Off);
    let least = Some(protobuf::Duration {
        seconds: 0,
        nanos: 1_000_000,
    });
    let outlier = made.outlier_detection.expect("outlier detection");
    assert_eq!(
        [
            made.connect_timeout,
            outlier.base_ejection_time,
            outlier.max_ejection_time
        ],
        [least; 3]
    );
}

/// gRPC refuses what it does not know in places, so it is told what it knows.
#[test]
fn grpc_gets_what_it_knows() {
    let made = made(
        Policy::default(),
        Flavour::Grpc,
        &secrets(SecretSource::Bootstrap),
    );
    assert_eq!(made.lb_policy(), LbPolicy::RoundRobin);
    assert!(made.transport_socket_matches.is_empty());
    assert_eq!(made.outlier_detection, None);
    let limits = &made.circuit_breakers.expect("limits").thresholds[0];
    assert_eq!(limits.max_requests, number(u32::MAX), "not gRPC's 1,024");
}
