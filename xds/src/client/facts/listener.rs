//! LDS: which server names a listener takes, and to which clusters they lead.
//!
//! A chain is served only if everything that decides about a connection in it is understood; one that is not is left out,
//! so its names are refused. No chain becomes a default.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::Hostname;
use prost::Message;

use super::Notes;
use crate::client::name::{ClusterName, ServicePort};
use crate::proto::core::address::Address;
use crate::proto::core::socket_address::PortSpecifier;
use crate::proto::listener::{self as proto, filter, listener_filter};
use crate::proto::percent::hash_policy::PolicySpecifier;
use crate::proto::tcp_proxy::TcpProxy;
use crate::proto::tcp_proxy::tcp_proxy::ClusterSpecifier;

/// What sidecars offer first, and an AUTO_PASSTHROUGH chain asks for (Istio's `mtlsTCPALPNs` and `mtlsHTTPALPNs`); the
/// data path's mesh listeners ask for the same.
const MESH_PROTOCOLS: [&str; 5] = [
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];

const TCP_PROXY: &str =
    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// Filters that decide who may pass, or where to: a chain with one of them is not what it would be without.
const DECIDING: [&str; 9] = [
    "rbac",
    "ext_authz",
    "http_connection_manager",
    "sni_cluster",
    "sni_dynamic_forward_proxy",
    "local_ratelimit",
    "ratelimit",
    "connection_limit",
    "set_filter_state",
];

/// What is used of a listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Listener {
    /// Its port.
    pub(crate) port: u16,
    /// The chains that can be served.
    pub(crate) chains: Vec<Chain>,
}

/// Server names and where they lead.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chain {
    /// What leads there.
    pub(crate) gate: Gate,
    /// Clusters and their weights; at least one.
    pub(crate) to: Vec<(Arc<str>, u32)>,
    /// The clusters' hash is the client's address.
    pub(crate) by_source: bool,
}

/// What a chain asks of a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// One of these mesh names, and one of the mesh's ALPN values.
    Mesh(Vec<ServicePort>),
    /// One of these plain names: exact, `*.suffix`, or `*` for any.
    Plain(Vec<Arc<str>>),
}

impl Listener {
    /// Reads a listener; its name comes with it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn read(
        bytes: &[u8],
        notes: &mut Notes,
    ) -> Result<(String, Self), (String, String)> {
        let listener = proto::Listener::decode(bytes)
            .map_err(|fault| (String::new(), format!("it is no Listener: {fault}")))?;
        let name = listener.name.clone();
        match Self::of(listener, notes) {
            Ok(read) => Ok((name, read)),
            Err(why) => Err((name, why)),
        }
    }

    fn of(listener: proto::Listener, notes: &mut Notes) -> Result<Self, String> {
        if listener.name.is_empty() {
            return Err("it has no name".into());
        }
        if listener.filter_chain_matcher.is_some() {
            return Err(
                "it chooses chains by a filter_chain_matcher, which is not read here".into(),
            );
        }
        for filter in &listener.listener_filters {
            if filter.name != "envoy.filters.listener.tls_inspector" {
                let typed = match &filter.config_type {
                    Some(listener_filter::ConfigType::TypedConfig(any)) => &any.type_url,
                    _ => &filter.name,
                };
                notes.skip(typed);
            }
        }
        if listener.default_filter_chain.is_some() {
            notes.leave_out("its default chain: what matches nothing goes nowhere");
        }
        let Some(port) = port(&listener) else {
            notes.leave_out("the whole of it: it does not listen on a TCP port");
            return Ok(Self::default());
        };
        let mut chains = Vec::with_capacity(listener.filter_chains.len());
        for (at, chain) in listener.filter_chains.iter().enumerate() {
            let read = Chain::read(chain, notes);
            match read.map_err(|why| format!("its chain {at} ({}): {why}", title(chain)))? {
                Served::Yes(chain) => chains.push(chain),
                Served::No(why) => {
                    notes.leave_out(format!("chain {at} ({}): {why}", title(chain)));
                }
            }
        }
        Ok(Self { port, chains })
    }
}

enum Served {
    Yes(Chain),
    No(String),
}

impl Chain {
    fn read(chain: &proto::FilterChain, notes: &mut Notes) -> Result<Served, String> {
        let mut proxy = None;
        for filter in &chain.filters {
            match &filter.config_type {
                Some(filter::ConfigType::TypedConfig(any)) if any.type_url == TCP_PROXY => {
                    let read = TcpProxy::decode(&*any.value);
                    proxy = Some(read.map_err(|fault| format!("its tcp_proxy: {fault}"))?);
                }
                config => {
                    let kind = match config {
                        Some(filter::ConfigType::TypedConfig(any)) => &*any.type_url,
                        _ => &*filter.name,
                    };
                    if decides(kind) || decides(&filter.name) {
                        return Ok(Served::No(format!(
                            "its filter {} decides, too",
                            filter.name
                        )));
                    }
                    notes.skip(kind);
                }
            }
        }
        if chain.transport_socket.is_some() {
            return Ok(Served::No(
                "it ends TLS, which is only passed on here".into(),
            ));
        }
        let Some(proxy) = proxy else {
            return Ok(Served::No("it has no tcp_proxy".into()));
        };
        if proxy.tunneling_config.is_some() {
            return Ok(Served::No("it tunnels over HTTP".into()));
        }
        let gate = match gate(&chain.filter_chain_match.clone().unwrap_or_default())? {
            Ok(gate) => gate,
            Err(why) => return Ok(Served::No(why)),
        };
        let to = match proxy.cluster_specifier {
            Some(ClusterSpecifier::Cluster(name)) => vec![(name.into(), 1)],
            Some(ClusterSpecifier::WeightedClusters(weighted)) => weighted
                .clusters
                .into_iter()
                .map(|one| (one.name.into(), one.weight))
                .collect(),
            None => Vec::new(),
        };
        if to.is_empty() || to.iter().any(|(name, _): &(Arc<str>, u32)| name.is_empty()) {
            return Err("its tcp_proxy names no cluster".into());
        }
        if to.len() > 1 && matches!(gate, Gate::Mesh(_)) {
            return Ok(Served::No("a mesh name leads to several clusters".into()));
        }
        for (name, _) in &to {
            ClusterName::parse(name).map_err(|why| format!("cluster '{name}': {why}"))?;
        }
        let hashes = proxy.hash_policy.iter();
        let by_source = hashes
            .filter_map(|policy| policy.policy_specifier.as_ref())
            .any(|policy| matches!(policy, PolicySpecifier::SourceIp(_)));
        Ok(Served::Yes(Self {
            gate,
            to,
            by_source,
        }))
    }
}

/// The inner error is why the chain is not served, the outer one why it cannot be read.
fn gate(given: &proto::FilterChainMatch) -> Result<Result<Gate, String>, String> {
    let not_served = |why: &str| Ok(Err(why.to_owned()));
    let conditions = [
        ("the address dialled", given.destination_port.is_some()),
        ("the address dialled", !given.prefix_ranges.is_empty()),
        (
            "the address dialled",
            !given.address_suffix.is_empty() || given.suffix_len.is_some(),
        ),
        (
            "the client's address",
            !given.source_prefix_ranges.is_empty(),
        ),
        (
            "the client's address",
            !given.direct_source_prefix_ranges.is_empty(),
        ),
        ("the client's address", given.source_type != 0),
        ("the client's port", !given.source_ports.is_empty()),
    ];
    if let Some((what, _)) = conditions.iter().find(|(_, set)| *set) {
        return not_served(&format!("it depends on {what}"));
    }
    if !matches!(&*given.transport_protocol, "" | "tls") {
        return not_served("it is for what is not TLS");
    }
    let mut names = Vec::with_capacity(given.server_names.len());
    for name in &given.server_names {
        if is_within(name) {
            return not_served(&format!(
                "its name '{name}' has a wildcard elsewhere than at its beginning"
            ));
        }
        names.push(server_name(name)?);
    }
    if given.application_protocols.is_empty() {
        if names.is_empty() {
            names.push("*".into());
        }
        return Ok(Ok(Gate::Plain(names)));
    }
    let protocols: BTreeSet<&str> = given.application_protocols.iter().map(|p| &**p).collect();
    if protocols != MESH_PROTOCOLS.into_iter().collect() {
        return not_served("it asks for other ALPN values than the mesh's");
    }
    if names.is_empty() {
        return not_served("it asks for the mesh's ALPN and no name");
    }
    let mut ports = Vec::with_capacity(names.len());
    for name in &names {
        match ClusterName::parse(name)? {
            ClusterName::Mesh(port) => ports.push(port),
            ClusterName::Plain(_) | ClusterName::Other => {
                return not_served(&format!(
                    "it asks for the mesh's ALPN with the plain name '{name}'"
                ));
            }
        }
    }
    Ok(Ok(Gate::Mesh(ports)))
}

/// A name as routes have it: lower case, exact or `*.suffix`; a lone `*` is no name for Envoy.
fn server_name(name: &str) -> Result<Arc<str>, String> {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    match Hostname::parse(rest) {
        Ok(_) => Ok(name.to_ascii_lowercase().into()),
        Err(fault) => Err(format!("its server name: {fault}")),
    }
}

/// Whether a wildcard stands within a name: istiod makes mesh names of a ServiceEntry's hosts, `*.example` too
/// (`builtAutoPassthroughFilterChains`), and no hello can say one. Envoy refuses the whole listener for it.
fn is_within(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    rest.find('*').is_some_and(|at| at > 0)
}

fn decides(kind: &str) -> bool {
    let words = kind.split(['.', '/']);
    words.into_iter().any(|word| {
        let word = word.to_ascii_lowercase();
        DECIDING.contains(&&*word)
    })
}

fn port(listener: &proto::Listener) -> Option<u16> {
    if listener.udp_listener_config.is_some() || listener.api_listener.is_some() {
        return None;
    }
    match listener.address.as_ref()?.address.as_ref()? {
        Address::SocketAddress(address) => match address.port_specifier.as_ref()? {
            PortSpecifier::PortValue(port) => u16::try_from(*port).ok().filter(|port| *port > 0),
            PortSpecifier::NamedPort(_) => None,
        },
        Address::Pipe(_) | Address::EnvoyInternalAddress(_) => None,
    }
}

/// What a chain is called in reports: its first name, else its own.
fn title(chain: &proto::FilterChain) -> &str {
    let matched = chain.filter_chain_match.as_ref();
    let first = matched.and_then(|matched| matched.server_names.first());
    first.map_or(&*chain.name, |name| &**name)
}

#[cfg(test)]
mod tests;
