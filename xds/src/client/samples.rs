//! Resources as istiod writes them, for tests, and what it was recorded to send.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use prost::Message;

use super::{Kind, Response};
use crate::proto::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use crate::proto::cluster::{self as cds};
use crate::proto::core::address::Address as AddressKind;
use crate::proto::core::socket_address::PortSpecifier;
use crate::proto::core::{Address, HealthStatus, Locality, Metadata, SocketAddress};
use crate::proto::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use crate::proto::endpoint::lb_endpoint::HostIdentifier;
use crate::proto::endpoint::{self as eds};
use crate::proto::listener::{self as lds, filter};
use crate::proto::protobuf::{Any, Struct, UInt32Value, Value, value};
use crate::proto::tcp_proxy::TcpProxy;
use crate::proto::tcp_proxy::tcp_proxy::weighted_cluster::ClusterWeight;
use crate::proto::tcp_proxy::tcp_proxy::{ClusterSpecifier, WeightedCluster};

/// The ALPN values of an AUTO_PASSTHROUGH chain.
pub(crate) const MESH: &[&str] = &[
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];

/// An endpoint: address, port, health, weight.
pub(crate) type One<'a> = (&'a str, u32, HealthStatus, u32);

/// A cluster whose endpoints come by EDS.
pub(crate) fn cluster(name: &str) -> cds::Cluster {
    cds::Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            service_name: name.into(),
            ..EdsClusterConfig::default()
        }),
        ..cds::Cluster::default()
    }
}

/// An assignment: groups of priority, `region/zone`, weight of the locality and endpoints that speak mutual TLS.
pub(crate) fn endpoints(
    name: &str,
    groups: &[(u32, &str, u32, &[One<'_>])],
) -> eds::ClusterLoadAssignment {
    let group = |(priority, place, weight, hosts): &(u32, &str, u32, &[One<'_>])| {
        let place = model::Locality::from(*place);
        eds::LocalityLbEndpoints {
            priority: *priority,
            locality: Some(Locality {
                region: place.region.to_string(),
                zone: place.zone.to_string(),
                sub_zone: place.subzone.to_string(),
            }),
            load_balancing_weight: (*weight > 0).then_some(UInt32Value { value: *weight }),
            lb_endpoints: hosts.iter().map(lb_endpoint).collect(),
            ..eds::LocalityLbEndpoints::default()
        }
    };
    eds::ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: groups.iter().map(group).collect(),
        ..eds::ClusterLoadAssignment::default()
    }
}

fn lb_endpoint((address, port, health, weight): &One<'_>) -> eds::LbEndpoint {
    let field = |key: &str, text: &str| {
        let kind = value::Kind::StringValue(text.into());
        Struct {
            fields: [(key.to_owned(), Value { kind: Some(kind) })].into(),
        }
    };
    let metadata = [
        (
            "envoy.transport_socket_match".to_owned(),
            field("tlsMode", "istio"),
        ),
        (
            "istio".to_owned(),
            field("workload", "pod;ns;canonical;v1;us"),
        ),
    ];
    eds::LbEndpoint {
        health_status: (*health).into(),
        load_balancing_weight: Some(UInt32Value { value: *weight }),
        metadata: Some(Metadata {
            filter_metadata: metadata.into(),
            ..Metadata::default()
        }),
        host_identifier: Some(HostIdentifier::Endpoint(eds::Endpoint {
            address: Some(socket_address(address, *port)),
            ..eds::Endpoint::default()
        })),
    }
}

/// An address with a port.
pub(crate) fn socket_address(address: &str, port: u32) -> Address {
    Address {
        address: Some(AddressKind::SocketAddress(SocketAddress {
            address: address.into(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    }
}

/// A listener on all addresses.
pub(crate) fn listener(port: u16, filter_chains: Vec<lds::FilterChain>) -> lds::Listener {
    lds::Listener {
        name: format!("0.0.0.0_{port}"),
        address: Some(socket_address("0.0.0.0", port.into())),
        filter_chains,
        ..lds::Listener::default()
    }
}

/// A chain with a tcp_proxy to these clusters.
pub(crate) fn chain(names: &[&str], protocols: &[&str], to: &[(&str, u32)]) -> lds::FilterChain {
    let texts = |of: &[&str]| of.iter().map(ToString::to_string).collect();
    let specifier = match to {
        [(name, _)] => ClusterSpecifier::Cluster((*name).into()),
        several => {
            let clusters = several.iter().map(|(name, weight)| ClusterWeight {
                name: (*name).into(),
                weight: *weight,
                ..ClusterWeight::default()
            });
            ClusterSpecifier::WeightedClusters(WeightedCluster {
                clusters: clusters.collect(),
            })
        }
    };
    let proxy = TcpProxy {
        cluster_specifier: Some(specifier),
        ..TcpProxy::default()
    };
    lds::FilterChain {
        filter_chain_match: Some(lds::FilterChainMatch {
            server_names: texts(names),
            application_protocols: texts(protocols),
            ..lds::FilterChainMatch::default()
        }),
        filters: vec![filter(
            "envoy.filters.network.tcp_proxy",
            crate::proto::pack(&proxy),
        )],
        ..lds::FilterChain::default()
    }
}

/// The chain of a mesh name.
pub(crate) fn mesh_chain(name: &str) -> lds::FilterChain {
    chain(&[name], MESH, &[(name, 1)])
}

/// A filter.
pub(crate) fn filter(name: &str, config: Any) -> lds::Filter {
    lds::Filter {
        name: name.into(),
        config_type: Some(filter::ConfigType::TypedConfig(config)),
    }
}

/// Every mesh name of a snapshot, with its endpoints: tier, address, and a mark where it is not ready.
pub(crate) fn names(snapshot: &model::Snapshot) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::new();
    for service in snapshot.services.iter() {
        for port in &service.ports {
            for subset in service.subset_names() {
                let Some(join) = service.join(port.number, subset, model::Audience::Mesh) else {
                    continue;
                };
                let name = format!("outbound_.{}_.{subset}_.{}", port.number, service.host);
                let mut endpoints = Vec::new();
                for endpoint in service.endpoints.iter() {
                    for (tier, joined) in join.port_names.iter().enumerate() {
                        if let Some(model::EndpointKey(address)) = endpoint.dial_key(joined) {
                            let mark = if endpoint.is_ready() { "" } else { " unready" };
                            endpoints.push(format!("{tier} {address}{mark}"));
                        }
                    }
                }
                endpoints.sort();
                names.insert(name, endpoints);
            }
        }
    }
    names
}

/// What istiod was recorded to send (`tests/fixtures/istiod`, without `.raw.json.gz`), in order.
pub(crate) fn recorded(name: &str) -> Vec<(Kind, Response)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/istiod");
    let packed = std::fs::read(folder.join(format!("{name}.raw.json.gz"))).expect("a recording");
    let mut text = String::new();
    GzDecoder::new(&*packed)
        .read_to_string(&mut text)
        .expect("gzip");
    let entries: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let entries = entries.as_array().expect("a list").iter();
    let entry = |entry: &serde_json::Value| {
        let kind = match entry["type"].as_str() {
            Some("CDS") => Kind::Clusters,
            Some("EDS") => Kind::Endpoints,
            _ => Kind::Listeners,
        };
        let bytes = STANDARD.decode(entry["response"].as_str().expect("a text"));
        let bytes = bytes.expect("base64");
        let response = match name.contains("sotw") {
            true => Response::Sotw(DiscoveryResponse::decode(&*bytes).expect("a response")),
            false => Response::Delta(DeltaDiscoveryResponse::decode(&*bytes).expect("a response")),
        };
        (kind, response)
    };
    entries.map(entry).collect()
}
