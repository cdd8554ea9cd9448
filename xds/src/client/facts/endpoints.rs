//! EDS: the endpoints of one cluster, by priority and locality.

use std::net::{IpAddr, SocketAddr};

use model::{Health, Locality, TlsMode, Workload};
use prost::Message;

use super::Notes;
use crate::proto::core::address::Address;
use crate::proto::core::socket_address::{PortSpecifier, Protocol};
use crate::proto::core::{HealthStatus, Metadata, SocketAddress};
use crate::proto::endpoint::lb_endpoint::HostIdentifier;
use crate::proto::endpoint::{ClusterLoadAssignment, LbEndpoint};
use crate::proto::protobuf::value::Kind as ValueKind;

/// Envoy's highest priority.
const LAST_PRIORITY: u32 = 128;

/// The endpoints of one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Endpoints {
    /// As they were sent.
    pub(crate) groups: Vec<Group>,
}

/// Endpoints of one priority and locality.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// 0 is tried first.
    pub(crate) priority: u32,
    /// Where they are.
    pub(crate) locality: Locality,
    /// The locality's share among those of its priority, where the cluster goes by localities; `None`: nothing goes there
    /// then (Envoy's `load_balancing_weight` of a locality).
    pub(crate) weight: Option<u32>,
    /// The endpoints.
    pub(crate) hosts: Vec<Host>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Host {
    /// What is dialled.
    pub(crate) address: SocketAddr,
    /// Relative capacity, at least 1.
    pub(crate) weight: u32,
    /// What the server says of it.
    pub(crate) health: Health,
    /// Whether it speaks the mesh's mutual TLS (metadata `envoy.transport_socket_match`, `tlsMode: istio`).
    pub(crate) tls: TlsMode,
    /// The cluster it runs in; empty: not said.
    pub(crate) cluster: String,
    /// Who runs there (metadata `istio`, `workload: name;namespace;canonical name;canonical revision;cluster`).
    pub(crate) workload: Workload,
}

impl Endpoints {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.groups.iter().map(|group| group.hosts.len()).sum()
    }

    /// Reads an assignment; its cluster's name comes with it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn read(
        bytes: &[u8],
        notes: &mut Notes,
    ) -> Result<(String, Self), (String, String)> {
        let given = ClusterLoadAssignment::decode(bytes)
            .map_err(|fault| (String::new(), format!("it is no assignment: {fault}")))?;
        let name = given.cluster_name.clone();
        if name.is_empty() {
            return Err((name, "it has no cluster_name".into()));
        }
        match Self::of(&given, notes) {
            Ok(read) => Ok((name, read)),
            Err(why) => Err((name, why)),
        }
    }

    /// Reads the groups; a cluster can hold them too.
    pub(super) fn of(given: &ClusterLoadAssignment, notes: &mut Notes) -> Result<Self, String> {
        let policy = given.policy.as_ref();
        if policy.is_some_and(|policy| !policy.drop_overloads.is_empty()) {
            notes.skip("drop_overloads");
        }
        let mut groups = Vec::with_capacity(given.endpoints.len());
        for group in &given.endpoints {
            if group.priority > LAST_PRIORITY {
                let priority = group.priority;
                return Err(format!(
                    "it has the priority {priority}; {LAST_PRIORITY} is the last"
                ));
            }
            if group.lb_config.is_some() {
                notes.skip("lb_config of a locality");
            }
            let mut hosts = Vec::with_capacity(group.lb_endpoints.len());
            for endpoint in &group.lb_endpoints {
                hosts.extend(host(endpoint, notes)?);
            }
            let at = group.locality.clone().unwrap_or_default();
            groups.push(Group {
                priority: group.priority,
                locality: Locality {
                    region: at.region.into(),
                    zone: at.zone.into(),
                    subzone: at.sub_zone.into(),
                },
                weight: group
                    .load_balancing_weight
                    .as_ref()
                    .map(|weight| weight.value),
                hosts,
            });
        }
        Ok(Self { groups })
    }
}

/// `None` where the endpoint is of a kind that is not dialled.
fn host(endpoint: &LbEndpoint, notes: &mut Notes) -> Result<Option<Host>, String> {
    let Some(HostIdentifier::Endpoint(of)) = &endpoint.host_identifier else {
        return Err("it has an endpoint without an address".into());
    };
    if !of.additional_addresses.is_empty() {
        notes.skip("additional_addresses of an endpoint");
    }
    let address = match of.address.as_ref().and_then(|of| of.address.as_ref()) {
        Some(Address::SocketAddress(address)) => socket_address(address)?,
        Some(Address::Pipe(_)) => {
            notes.leave_out("an endpoint whose address is a pipe");
            return Ok(None);
        }
        Some(Address::EnvoyInternalAddress(_)) => {
            notes.leave_out("an endpoint that is a listener within Envoy (HBONE)");
            return Ok(None);
        }
        None => return Err("it has an endpoint without an address".into()),
    };
    let weight = endpoint.load_balancing_weight.as_ref();
    let weight = weight.map_or(1, |weight| weight.value);
    if weight == 0 {
        return Err(format!("the endpoint {address} has the weight 0"));
    }
    let metadata = endpoint.metadata.as_ref();
    let mutual = value(metadata, "envoy.transport_socket_match", "tlsMode") == Some("istio");
    let said = value(metadata, "istio", "workload").unwrap_or_default();
    let mut parts = said.splitn(5, ';');
    let mut next = || parts.next().unwrap_or_default();
    let workload = Workload {
        name: next().into(),
        namespace: next().into(),
        canonical_name: next().into(),
        canonical_revision: next().into(),
    };
    Ok(Some(Host {
        address,
        weight,
        health: health(endpoint.health_status, notes),
        tls: if mutual {
            TlsMode::Istio
        } else {
            TlsMode::Disabled
        },
        cluster: next().to_owned(),
        workload,
    }))
}

fn socket_address(given: &SocketAddress) -> Result<SocketAddr, String> {
    if given.protocol != i32::from(Protocol::Tcp) {
        return Err(format!(
            "the endpoint {} is not reached by TCP",
            given.address
        ));
    }
    let ip: IpAddr = given
        .address
        .parse()
        .map_err(|_| format!("'{}' is not an IP address", given.address))?;
    let port = match &given.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(*port).ok().filter(|port| *port > 0),
        _ => None,
    };
    let port = port.ok_or_else(|| format!("the endpoint {ip} has no port from 1 to 65535"))?;
    // `::ffff:10.0.0.1` is dialled as 10.0.0.1, and is the same endpoint.
    Ok(SocketAddr::new(ip.to_canonical(), port))
}

/// Envoy picks HEALTHY and UNKNOWN, in need DEGRADED; the others count in the total alone.
fn health(status: i32, notes: &mut Notes) -> Health {
    match HealthStatus::try_from(status) {
        Ok(HealthStatus::Unknown | HealthStatus::Healthy) => Health::Healthy,
        Ok(HealthStatus::Degraded) => Health::Degraded,
        Ok(HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout) => {
            Health::Unhealthy
        }
        Err(_) => {
            notes.skip("health_status that is not known");
            Health::Unhealthy
        }
    }
}

fn value<'a>(metadata: Option<&'a Metadata>, filter: &str, key: &str) -> Option<&'a str> {
    let of = metadata?.filter_metadata.get(filter)?;
    match of.fields.get(key)?.kind.as_ref()? {
        ValueKind::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
