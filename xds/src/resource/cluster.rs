//! A service port and subset as CDS says it. What its numbers mean is the model's; how Envoy is told stands here.

use std::collections::HashMap;
use std::time::Duration;

use model::{Join, LoadBalancer, Policy, Viewpoint};

use super::assignment::is_distributed;
use super::endpoints::mesh_match;
use super::{Flavour, MeshTls, SecretSource};
use crate::proto::cluster::circuit_breakers::Thresholds;
use crate::proto::cluster::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};
use crate::proto::cluster::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbConfig, LbPolicy,
    LeastRequestLbConfig, RoundRobinLbConfig, SlowStartConfig, TransportSocketMatch,
};
use crate::proto::cluster::{CircuitBreakers, Cluster, OutlierDetection};
use crate::proto::core::config_source::ConfigSourceSpecifier;
use crate::proto::core::grpc_service::{EnvoyGrpc, TargetSpecifier};
use crate::proto::core::transport_socket::ConfigType;
use crate::proto::core::{
    AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource, DataSource, GrpcService,
    TransportSocket, api_config_source, data_source,
};
use crate::proto::percent::Percent;
use crate::proto::protobuf::{self, Struct, UInt32Value};
use crate::proto::raw_buffer::RawBuffer;
use crate::proto::tls::common_tls_context::ValidationContextType;
use crate::proto::tls::tls_parameters::TlsProtocol;
use crate::proto::tls::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, TlsCertificate, TlsParameters,
    UpstreamTlsContext,
};
use crate::proto::upstream_http::HttpProtocolOptions;
use crate::proto::upstream_http::http_protocol_options::{
    UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use crate::proto::{core, pack};

/// ALPN of a mesh connection: what Istio's sidecars offer, and what a gateway's mesh listeners demand one of.
const MESH_ALPN: [&str; 2] = ["istio-peer-exchange", "istio"];

/// How often Envoy looks whether an ejection is over.
const EJECTION_INTERVAL: Duration = Duration::from_secs(1);

/// A cluster and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// `outbound|P|S|H`.
    pub name: &'a str,
    /// `outbound_.P_.S_.H`, the server name in the mesh's TLS.
    pub mesh_name: &'a str,
}

/// The cluster of a service port and subset.
#[must_use]
pub fn cluster(
    naming: Naming<'_>,
    join: &Join,
    from: &Viewpoint,
    flavour: Flavour,
    tls: &MeshTls,
    connect_timeout: Duration,
) -> Cluster {
    let policy = &join.policy;
    let common = Cluster {
        name: naming.name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(over_ads()),
            ..EdsClusterConfig::default()
        }),
        circuit_breakers: Some(circuit_breakers(policy)),
        ..Cluster::default()
    };
    match flavour {
        // What gRPC knows of all this (gRFC A27, A32): round robin, and the most requests at once.
        Flavour::Grpc => common,
        Flavour::Envoy => Cluster {
            connect_timeout: Some(duration(policy.connect_timeout.unwrap_or(connect_timeout))),
            lb_policy: lb_policy(policy.load_balancer).into(),
            lb_config: lb_config(policy),
            common_lb_config: Some(common_lb_config(policy, from)),
            outlier_detection: Some(outlier_detection(policy)),
            transport_socket_matches: transport_sockets(naming, tls),
            typed_extension_protocol_options: any_http(),
            ..common
        },
    }
}

/// More of the same stream.
pub(super) fn over_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn lb_policy(policy: LoadBalancer) -> LbPolicy {
    match policy {
        LoadBalancer::LeastRequest => LbPolicy::LeastRequest,
        LoadBalancer::Random => LbPolicy::Random,
        LoadBalancer::RoundRobin => LbPolicy::RoundRobin,
        // The client says what it hashes: `source_ip` in the hash policy of its route or TCP proxy.
        LoadBalancer::SourceIp => LbPolicy::Maglev,
    }
}

/// Slow start, where the policy has a warmup; Envoy knows it for these two. And no bias: where weights differ, Envoy divides
/// them by the open connections, so that a gateway which stands for three endpoints would get not three times what one gets but
/// the square root of it. Where weights are equal, two are drawn and the one with fewer requests is taken, bias or not.
fn lb_config(policy: &Policy) -> Option<LbConfig> {
    let slow_start_config = policy.warmup.map(|window| SlowStartConfig {
        slow_start_window: Some(duration(window)),
        ..SlowStartConfig::default()
    });
    match policy.load_balancer {
        LoadBalancer::LeastRequest => Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
            active_request_bias: Some(core::RuntimeDouble {
                default_value: 0.0,
                runtime_key: "causeway.active_request_bias".into(),
            }),
            slow_start_config,
            ..LeastRequestLbConfig::default()
        })),
        LoadBalancer::RoundRobin => Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
            slow_start_config,
        })),
        LoadBalancer::Random | LoadBalancer::SourceIp => None,
    }
}

/// Panic only where the policy asks for it: else what is not ready is never picked (design section 6.2). Locality weights
/// only for `distribute`.
fn common_lb_config(policy: &Policy, from: &Viewpoint) -> CommonLbConfig {
    let rule = policy.outlier_detection.unwrap_or_default();
    CommonLbConfig {
        healthy_panic_threshold: Some(Percent {
            value: rule.min_health_percent.into(),
        }),
        locality_config_specifier: is_distributed(from, policy).then_some(
            LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {}),
        ),
        ..CommonLbConfig::default()
    }
}

/// Ejection for failed dials, as the policy means it: Envoy counts those apart from what an endpoint answers
/// (`split_external_local_origin_errors`), and answers eject nobody here, because behind a gateway one answer is that of one
/// endpoint among many. Every host may be ejected: Envoy's 10 % would be none of a few.
fn outlier_detection(policy: &Policy) -> OutlierDetection {
    let rule = policy.outlier_detection.unwrap_or_default();
    let enforced = if rule.consecutive_failures == 0 {
        0
    } else {
        100
    };
    OutlierDetection {
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: number(rule.consecutive_failures.max(1)),
        enforcing_consecutive_local_origin_failure: number(enforced),
        enforcing_consecutive_5xx: number(0),
        enforcing_success_rate: number(0),
        enforcing_local_origin_success_rate: number(0),
        interval: Some(duration(EJECTION_INTERVAL)),
        base_ejection_time: Some(duration(rule.base_ejection)),
        max_ejection_time: Some(duration(rule.max_ejection.max(rule.base_ejection))),
        max_ejection_percent: number(100),
        ..OutlierDetection::default()
    }
}

/// Envoy's own limits of 1,024 stop a gateway silently; only the policy's holds.
fn circuit_breakers(policy: &Policy) -> CircuitBreakers {
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: number(policy.max_connections.unwrap_or(u32::MAX)),
            max_pending_requests: number(u32::MAX),
            max_requests: number(u32::MAX),
            max_retries: number(u32::MAX),
            ..Thresholds::default()
        }],
        ..CircuitBreakers::default()
    }
}

/// The mesh's TLS for endpoints that bear its mark, nothing for the others.
fn transport_sockets(naming: Naming<'_>, tls: &MeshTls) -> Vec<TransportSocketMatch> {
    let Some(context) = common_tls_context(tls) else {
        return Vec::new();
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(context),
        sni: naming.mesh_name.to_owned(),
        ..UpstreamTlsContext::default()
    };
    let socket = |name: &str, config| TransportSocket {
        name: name.into(),
        config_type: Some(ConfigType::TypedConfig(config)),
    };
    let of = |name: &str, of: Struct, socket| TransportSocketMatch {
        name: name.into(),
        r#match: Some(of),
        transport_socket: Some(socket),
    };
    vec![
        of(
            "mesh",
            mesh_match(),
            socket("envoy.transport_sockets.tls", pack(&context)),
        ),
        of(
            "plain",
            Struct::default(),
            socket("envoy.transport_sockets.raw_buffer", pack(&RawBuffer {})),
        ),
    ]
}

fn common_tls_context(tls: &MeshTls) -> Option<CommonTlsContext> {
    let mut context = CommonTlsContext {
        alpn_protocols: MESH_ALPN.map(str::to_owned).into(),
        // By itself Envoy speaks no 1.3 as a client.
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..TlsParameters::default()
        }),
        ..CommonTlsContext::default()
    };
    match tls {
        MeshTls::Off => return None,
        MeshTls::Secrets {
            certificate,
            ca,
            source,
        } => {
            let secret = |name: &String| SdsSecretConfig {
                name: name.clone(),
                sds_config: secret_source(source),
            };
            context.tls_certificate_sds_secret_configs = vec![secret(certificate)];
            context.validation_context_type = Some(
                ValidationContextType::ValidationContextSdsSecretConfig(secret(ca)),
            );
        }
        MeshTls::Files {
            certificate,
            key,
            ca,
        } => {
            let file = |path: &String| {
                Some(DataSource {
                    specifier: Some(data_source::Specifier::Filename(path.clone())),
                    ..DataSource::default()
                })
            };
            context.tls_certificates = vec![TlsCertificate {
                certificate_chain: file(certificate),
                private_key: file(key),
                ..TlsCertificate::default()
            }];
            context.validation_context_type = Some(ValidationContextType::ValidationContext(
                CertificateValidationContext {
                    trusted_ca: file(ca),
                    ..CertificateValidationContext::default()
                },
            ));
        }
    }
    Some(context)
}

/// Without a source Envoy looks among the secrets of its bootstrap.
fn secret_source(source: &SecretSource) -> Option<ConfigSource> {
    let SecretSource::Cluster(cluster) = source else {
        return None;
    };
    let service = GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: cluster.clone(),
            ..EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    };
    let api = ApiConfigSource {
        api_type: api_config_source::ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        ..ApiConfigSource::default()
    };
    Some(ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(api)),
        ..ConfigSource::default()
    })
}

/// HTTP goes on in the version that the client's client speaks, because the model does not know a port's.
fn any_http() -> HashMap<String, protobuf::Any> {
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(
            UseDownstreamHttpConfig {
                http_protocol_options: Some(core::Http1ProtocolOptions::default()),
                http2_protocol_options: Some(core::Http2ProtocolOptions::default()),
                ..UseDownstreamHttpConfig::default()
            },
        )),
        ..HttpProtocolOptions::default()
    };
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    HashMap::from([(name.to_owned(), pack(&options))])
}

fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

/// Envoy refuses a cluster with a time of nothing, which a policy can mean.
fn duration(of: Duration) -> protobuf::Duration {
    let of = of.max(Duration::from_millis(1));
    protobuf::Duration {
        seconds: i64::try_from(of.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(of.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
