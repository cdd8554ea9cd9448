//! Istio's ServiceEntry -> what is kept of it: hosts of the mesh that no Service stands for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::{Hostname, Labels, Locality, NetworkId, Protocol};
use serde::{Deserialize, Serialize};

use super::read::{Fault, Field};
use super::{ExportTo, Key};

/// What is kept of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceEntryFact {
    /// Which one.
    pub key: Key,
    /// Its hosts. Wildcards are left out: no server name of the mesh has one.
    pub hosts: Vec<Hostname>,
    /// `location: MESH_INTERNAL`; others are outside the mesh, and never exposed.
    pub internal: bool,
    /// Where its endpoints come from.
    pub resolution: Resolution,
    /// Its ports.
    pub ports: Vec<EntryPort>,
    /// Its endpoints.
    pub endpoints: Vec<EntryEndpoint>,
    /// Whether it selects workloads by label.
    pub selects_workloads: bool,
    /// Who may see it.
    pub export_to: ExportTo,
}

/// Where a ServiceEntry's endpoints come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// The address that the client dials: nothing that we could know.
    None,
    /// The addresses given.
    Static,
    /// Names, resolved.
    Dns,
}

/// One port of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPort {
    /// What stands in the server name.
    pub number: u16,
    /// Joins port and endpoint.
    pub name: Arc<str>,
    /// Datagrams are not routed.
    pub protocol: Protocol,
    /// The endpoints' port, where they do not say another.
    pub target: u16,
}

/// One endpoint of a ServiceEntry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryEndpoint {
    /// Where it is.
    pub address: EntryAddress,
    /// Its ports, where they differ from the target ports.
    pub ports: BTreeMap<Arc<str>, u16>,
    /// Its labels.
    pub labels: Labels,
    /// Empty: not given.
    pub network: NetworkId,
    /// Empty: not given.
    pub locality: Locality,
    /// At least 1.
    pub weight: u32,
    /// Whether a service account is given: it then speaks the mesh's mutual TLS unless a label says otherwise.
    pub has_account: bool,
}

/// Where an endpoint of a ServiceEntry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryAddress {
    /// An address.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(Hostname),
}

pub(super) fn read(key: Key, spec: &Field) -> Result<ServiceEntryFact, Fault> {
    let hosts = spec.get("hosts").texts()?;
    let hosts = hosts.iter().filter(|host| !host.contains('*'));
    let hosts = hosts.map(|host| hostname(&spec.get("hosts"), host));
    let mut ports = Vec::new();
    for port in spec.get("ports").items()? {
        let number = port.get("number");
        let Some(given) = number.port()? else {
            return number.fault("a port has a number");
        };
        let protocol = port.get("protocol").text()?.unwrap_or_default();
        ports.push(EntryPort {
            number: given,
            name: port.get("name").shared()?,
            protocol: match protocol.eq_ignore_ascii_case("UDP") {
                true => Protocol::Udp,
                false => Protocol::Tcp,
            },
            target: port.get("targetPort").port()?.unwrap_or(given),
        });
    }
    Ok(ServiceEntryFact {
        key,
        hosts: hosts.collect::<Result<_, _>>()?,
        internal: spec.get("location").text()? == Some("MESH_INTERNAL"),
        resolution: match spec.get("resolution").text()? {
            Some("STATIC") => Resolution::Static,
            Some("DNS" | "DNS_ROUND_ROBIN") => Resolution::Dns,
            _ => Resolution::None,
        },
        ports,
        endpoints: spec
            .get("endpoints")
            .items()?
            .iter()
            .filter_map(|field| endpoint(field).transpose())
            .collect::<Result<_, _>>()?,
        selects_workloads: spec.get("workloadSelector").is_given(),
        export_to: spec.get("exportTo").export_to()?,
    })
}

/// An endpoint; `None` for a Unix socket, which no other machine can reach.
fn endpoint(field: &Field) -> Result<Option<EntryEndpoint>, Fault> {
    let place = field.get("address");
    let address = match place.text()? {
        None | Some("") => return place.fault("an endpoint has an address"),
        Some(path) if path.starts_with("unix:") => return Ok(None),
        Some(text) => match text.parse::<IpAddr>() {
            Ok(ip) => EntryAddress::Ip(ip.to_canonical()),
            Err(_) => EntryAddress::Name(hostname(&place, text)?),
        },
    };
    let ports = field.get("ports").entries()?.into_iter();
    let ports = ports.map(|(name, port)| Ok((name.into(), port.port()?)));
    let ports = ports.collect::<Result<Vec<(Arc<str>, Option<u16>)>, Fault>>()?;
    let ports = ports
        .into_iter()
        .filter_map(|(name, port)| Some((name, port?)));
    Ok(Some(EntryEndpoint {
        address,
        ports: ports.collect(),
        labels: field.get("labels").labels()?,
        network: field.get("network").text()?.unwrap_or_default().into(),
        locality: field.get("locality").text()?.unwrap_or_default().into(),
        weight: field.get("weight").number()?.unwrap_or(1).max(1),
        has_account: field
            .get("serviceAccount")
            .text()?
            .is_some_and(|name| !name.is_empty()),
    }))
}

fn hostname(field: &Field, text: &str) -> Result<Hostname, Fault> {
    Hostname::parse(text).or_else(|fault| field.fault(fault.to_string()))
}
