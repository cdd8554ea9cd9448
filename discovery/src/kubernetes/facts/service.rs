//! Service -> what is kept of it. What its gateway labels lead to is `meaning`'s business.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use model::{Hostname, Labels, NetworkId, Port, Protocol, TrafficDistribution};
use serde::{Deserialize, Serialize};

use super::read::Fault;
use super::{ExportTo, Key};

/// Istio's label on a Service that stands for a network's gateway.
const NETWORK: &str = "topology.istio.io/network";

/// Our own label of the same meaning, which Istio does not see.
const OWN_NETWORK: &str = "causeway.io/network";

/// Istio's label for a gateway's port.
const GATEWAY_PORT: &str = "networking.istio.io/gatewayPort";

/// Istio's annotation that makes a NodePort Service a gateway: a JSON map of node labels.
const NODE_SELECTOR: &str = "traffic.istio.io/nodeSelector";

/// Istio's annotation for who may see a Service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Istio's annotation from before Kubernetes had the field.
pub(super) const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// A gateway's port where no label gives another (Istio's `DefaultMultiNetworkGatewayPort`).
const DEFAULT_GATEWAY_PORT: u16 = 15443;

/// What is kept of a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceFact {
    /// Which one.
    pub key: Key,
    /// Its ports, sorted.
    pub ports: Vec<Port>,
    /// Type ExternalName: it stands for something outside the mesh.
    pub external: bool,
    /// Who may see it.
    pub export_to: ExportTo,
    /// What the Service says of closeness; `None`: nothing, so its namespace may.
    pub traffic_distribution: Option<TrafficDistribution>,
    /// `internalTrafficPolicy: Local`: only endpoints of the asking node.
    pub node_local: bool,
    /// Where it has addresses of both families, the first: each pod then has a slice of either, and one counts.
    pub family: Option<Family>,
    /// Labels that make it a network's gateway.
    pub gateway: Option<Box<ServiceGateway>>,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A Service as the gateway of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceGateway {
    /// The network it leads to.
    pub network: NetworkId,
    /// The port that stands for mutual TLS: the label's, or 15443.
    pub port: u16,
    /// How it is reached; `None`: the Service does not declare the port, so it is no gateway.
    pub reach: Option<GatewayService>,
}

/// How a gateway Service is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayService {
    /// Addresses: of the load balancer, and external ones.
    pub ips: Vec<IpAddr>,
    /// Names of load balancers that have no address.
    pub names: Vec<Hostname>,
    /// By nodes' external addresses: the node port, and the labels of the nodes that count.
    pub nodes: Option<(u16, Labels)>,
}

pub(super) fn read(object: &Service) -> Result<ServiceFact, Fault> {
    let metadata = &object.metadata;
    let spec = object.spec.clone().unwrap_or_default();
    let annotation = |name| metadata.annotations.as_ref().and_then(|all| all.get(name));
    let mut ports: Vec<Port> = Vec::new();
    for (at, port) in spec.ports.iter().flatten().enumerate() {
        let number = port_number(port.port, || format!("spec.ports[{at}].port"))?;
        ports.push(Port {
            number,
            name: port.name.as_deref().unwrap_or_default().into(),
            protocol: protocol(port.protocol.as_deref()),
        });
    }
    ports.sort();
    ports.dedup_by_key(|port| (port.number, port.protocol));
    let families = spec.ip_families.iter().flatten();
    let families: Vec<Option<Family>> = families.map(|name| family(name)).collect();
    Ok(ServiceFact {
        key: Key::of(metadata),
        ports,
        external: spec.type_.as_deref() == Some("ExternalName"),
        export_to: ExportTo::from_annotation(annotation(EXPORT_TO)),
        traffic_distribution: spec
            .traffic_distribution
            .as_deref()
            .and_then(traffic_distribution)
            .or_else(|| {
                annotation(TRAFFIC_DISTRIBUTION).and_then(|name| traffic_distribution(name))
            }),
        node_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        family: families
            .first()
            .copied()
            .flatten()
            .filter(|_| families.len() > 1),
        gateway: gateway(object)?.map(Box::new),
    })
}

/// `IPv4` and `IPv6`; other kinds of address (FQDN) have no family.
pub(super) fn family(name: &str) -> Option<Family> {
    match name {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

/// Only TCP is routed; what else there is (UDP, SCTP) is datagrams to us.
pub(super) fn protocol(name: Option<&str>) -> Protocol {
    match name {
        None | Some("TCP") => Protocol::Tcp,
        Some(_) => Protocol::Udp,
    }
}

pub(super) fn port_number(port: i32, field: impl Fn() -> String) -> Result<u16, Fault> {
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Fault::new(field(), format!("{port} is no port"))),
    }
}

/// Istio reads these names in any case; one that is not known says nothing, so that the usual order of closeness stays.
pub(super) fn traffic_distribution(name: &str) -> Option<TrafficDistribution> {
    match name.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => Some(TrafficDistribution::PreferClose),
        "prefersamenode" => Some(TrafficDistribution::PreferSameNode),
        "any" => Some(TrafficDistribution::Any),
        _ => None,
    }
}

fn gateway(object: &Service) -> Result<Option<ServiceGateway>, Fault> {
    let (Some(labels), Some(spec)) = (&object.metadata.labels, &object.spec) else {
        return Ok(None);
    };
    let network = [NETWORK, OWN_NETWORK]
        .into_iter()
        .filter_map(|name| labels.get(name))
        .find(|network| !network.is_empty());
    let Some(network) = network else {
        return Ok(None);
    };
    // A label that is no port means the default, as in Istio.
    let port = labels.get(GATEWAY_PORT).and_then(|port| port.parse().ok());
    let port = port
        .filter(|port| *port != 0)
        .unwrap_or(DEFAULT_GATEWAY_PORT);
    let declared = spec.ports.iter().flatten().find(|declared| {
        declared.port == i32::from(port) && protocol(declared.protocol.as_deref()) == Protocol::Tcp
    });
    let reach = match declared {
        Some(declared) => Some(reach(object, declared)?),
        None => None,
    };
    Ok(Some(ServiceGateway {
        network: network.as_str().into(),
        port,
        reach,
    }))
}

fn reach(object: &Service, declared: &ServicePort) -> Result<GatewayService, Fault> {
    let mut reach = GatewayService::default();
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.as_ref();
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    let is = |wanted: &str| spec.type_.as_deref() == Some(wanted);
    for (at, ingress) in ingress
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|_| is("LoadBalancer"))
    {
        let field = format!("status.loadBalancer.ingress[{at}]");
        if let Some(ip) = ingress.ip.as_deref().filter(|ip| !ip.is_empty()) {
            reach.ips.push(address(ip, || format!("{field}.ip"))?);
        } else if let Some(name) = &ingress.hostname {
            let name = Hostname::parse(name)
                .map_err(|fault| Fault::new(format!("{field}.hostname"), fault.to_string()))?;
            reach.names.push(name);
        }
    }
    for (at, ip) in spec.external_ips.iter().flatten().enumerate() {
        reach
            .ips
            .push(address(ip, || format!("spec.externalIPs[{at}]"))?);
    }
    let annotations = object.metadata.annotations.as_ref();
    let selector = annotations.and_then(|all| all.get(NODE_SELECTOR));
    if let (true, Some(selector), Some(port)) = (is("NodePort"), selector, declared.node_port) {
        let field = || format!("metadata.annotations[{NODE_SELECTOR}]");
        let labels: BTreeMap<String, String> = serde_json::from_str(selector).map_err(|fault| {
            Fault::new(field(), format!("this is no JSON map of labels: {fault}"))
        })?;
        let labels = labels
            .iter()
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()));
        reach.nodes = Some((
            port_number(port, || "spec.ports.nodePort".into())?,
            labels.collect(),
        ));
    }
    Ok(reach)
}

/// An address as it is dialled: `::ffff:10.0.0.1` is 10.0.0.1.
pub(super) fn address(text: &str, field: impl Fn() -> String) -> Result<IpAddr, Fault> {
    text.parse()
        .map(|ip: IpAddr| ip.to_canonical())
        .map_err(|_| Fault::new(field(), format!("'{text}' is no IP address")))
}
