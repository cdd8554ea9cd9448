//! The model's types -> `mesh.yaml`, so that stories say what they mean in types and the gateway reads a file. What it cannot
//! write it must refuse, not leave out.

use std::collections::BTreeMap;
use std::sync::Arc;

use discovery::Span;
use model::{Endpoint, Gateway, Health, LoadBalancer, PassthroughRoute, Policy, Service, TlsMode};
use serde_json::{Value, json};

/// The text of the file: JSON, which is YAML.
///
/// # Panics
/// When the gateway would read anything else from it than what is given here.
#[must_use]
pub fn mesh_yaml(
    services: &[Service],
    networks: &[(&str, Vec<Gateway>)],
    passthrough: &[PassthroughRoute],
) -> String {
    let of_networks: BTreeMap<_, _> = networks
        .iter()
        .map(|(id, gateways)| {
            let gateways: Vec<_> = gateways.iter().map(gateway).collect();
            (*id, json!({ "gateways": gateways }))
        })
        .collect();
    let routes: Vec<_> = passthrough.iter().map(route).collect();
    let written = json!({
        "networks": of_networks,
        "services": services.iter().map(service).collect::<Vec<_>>(),
        "passthrough": routes,
    });
    let text = format!("{written:#}\n");
    let read = discovery::file::parse("mesh.yaml", &text).expect("a good file");
    let sorted = model::Chunked::from_items(services.iter().cloned().map(Arc::new).collect());
    assert_eq!(read.part.services, sorted, "the file says something else");
    assert_eq!(read.part.passthrough, passthrough);
    text
}

fn service(service: &Service) -> Value {
    let ports = service.ports.iter();
    let subsets = service.subsets.iter();
    json!({
        "host": service.host.as_str(),
        "ports": ports
            .map(|port| json!({"number": port.number, "name": &*port.name, "protocol": port.protocol}))
            .collect::<Vec<_>>(),
        "subsets": subsets
            .map(|(name, subset)| (name.to_string(), json!(subset.labels)))
            .collect::<BTreeMap<_, _>>(),
        "policy": policy(&service.policy),
        "endpoints": service.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn policy(policy: &Policy) -> Value {
    let mut written = json!({});
    if let Some(outlier) = policy.outlier_detection {
        written["outlierDetection"] = json!({
            "consecutiveFailures": outlier.consecutive_failures,
            "baseEjection": Span(outlier.base_ejection).to_string(),
            "maxEjection": Span(outlier.max_ejection).to_string(),
        });
    }
    if policy.load_balancer != LoadBalancer::default() {
        written["loadBalancer"] = json!(policy.load_balancer);
    }
    if let Some(limit) = policy.max_connections {
        written["maxConnections"] = json!(limit);
    }
    for (key, time) in [
        ("idleTimeout", policy.idle_timeout),
        ("maxDuration", policy.max_duration),
    ] {
        if let Some(time) = time {
            written[key] = json!(format!("{}ms", time.as_millis()));
        }
    }
    written
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let origin = &endpoint.origin;
    json!({
        "address": endpoint.address,
        "weight": endpoint.weight,
        "ports": *endpoint.ports,
        "cluster": origin.cluster.as_str(),
        "network": origin.network.as_str(),
        "locality": origin.locality.to_string(),
        "labels": *endpoint.labels,
        "health": match endpoint.health {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
            Health::Terminating => "terminating",
        },
        "tls": match endpoint.tls {
            TlsMode::Istio => "istio",
            TlsMode::Disabled => "disabled",
        },
    })
}

fn gateway(gateway: &Gateway) -> Value {
    let clusters = gateway.clusters.iter();
    json!({
        "address": gateway.address.ip(),
        "port": gateway.address.port(),
        "clusters": clusters.map(|cluster| cluster.as_str()).collect::<Vec<_>>(),
    })
}

fn route(route: &PassthroughRoute) -> Value {
    let to = route.to.iter().map(|to| {
        json!({
            "host": to.host.as_str(), "port": to.port, "subset": &*to.subset, "weight": to.weight,
        })
    });
    let mut written = json!({"hosts": route.hosts, "to": to.collect::<Vec<_>>()});
    if let Some(port) = route.port {
        written["port"] = json!(port);
    }
    written
}
