//! Gateways in mode PASSTHROUGH with the TLS routes of VirtualServices -> routes of plain names.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use model::{Destination, Hostname, PassthroughRoute};

use super::hosts::{covers, full_name};
use super::{Me, Rules};
use crate::kubernetes::facts::{
    GatewayFact, Key, RouteTarget, Server, ServerMode, TlsMatch, VirtualServiceFact,
};

/// The routes, those of older VirtualServices first. A route needs a VirtualService bound to the Gateway, whose hosts the
/// server has (here the namespace before a host counts), and a name that the server has too. Of two routes for one name
/// and port the first wins, as in Istio.
pub(super) fn routes(
    gateways: &[&GatewayFact],
    virtual_services: &BTreeMap<Key, VirtualServiceFact>,
    me: &Me,
    rules: &Rules,
) -> Vec<PassthroughRoute> {
    let mut ordered: Vec<_> = virtual_services.values().collect();
    ordered.sort_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
    let mut routes = Vec::new();
    let mut taken = HashSet::new();
    for service in ordered {
        let home = &*service.key.namespace;
        if !service.export_to.is_visible(home, &me.namespace) {
            continue;
        }
        for route in &service.routes {
            let to: Vec<Destination> = route
                .to
                .iter()
                .filter_map(|to| destination(to, home, rules))
                .collect();
            for matched in &route.matches {
                for (gateway, server) in servers(gateways, service, matched) {
                    let mut names = names(matched, service, gateway, server);
                    names.retain(|name| taken.insert((server.port, name.clone())));
                    if !names.is_empty() {
                        routes.push(PassthroughRoute {
                            hosts: names,
                            port: Some(server.port),
                            to: to.clone(),
                        });
                    }
                }
            }
        }
    }
    routes
}

/// The servers that a match is for.
fn servers<'a>(
    gateways: &'a [&'a GatewayFact],
    service: &'a VirtualServiceFact,
    matched: &'a TlsMatch,
) -> impl Iterator<Item = (&'a GatewayFact, &'a Server)> {
    let home = &service.key.namespace;
    let bound = match matched.gateways.is_empty() {
        true => &service.gateways,
        false => &matched.gateways,
    };
    let is_named = move |gateway: &GatewayFact| {
        bound.iter().any(|name| match name.split_once('/') {
            Some((namespace, name)) => {
                *namespace == *gateway.key.namespace && *name == *gateway.key.name
            }
            None => *home == gateway.key.namespace && *name == gateway.key.name,
        })
    };
    let named = gateways.iter().filter(move |gateway| is_named(gateway));
    named.flat_map(move |gateway| {
        let servers = gateway.servers.iter().filter(|server| {
            server.mode == ServerMode::Plain && matched.port.is_none_or(|port| port == server.port)
        });
        servers.map(|server| (*gateway, server))
    })
}

/// The names of a match that the server and the VirtualService both have.
fn names(
    matched: &TlsMatch,
    service: &VirtualServiceFact,
    gateway: &GatewayFact,
    server: &Server,
) -> Vec<Arc<str>> {
    let home = &*service.key.namespace;
    let hosts: Vec<&str> = server
        .hosts
        .iter()
        .filter_map(|host| match host.split_once('/') {
            None | Some(("*", _)) => Some(host.rsplit('/').next().unwrap_or(host)),
            Some((".", host)) => (*gateway.key.namespace == *home).then_some(host),
            Some((namespace, host)) => (namespace == home).then_some(host),
        })
        .collect();
    let within = |pattern: &str, name: &str| pattern == name || covers(pattern, name);
    let fits = |name: &&Arc<str>| {
        hosts.iter().any(|host| within(host, name))
            && service.hosts.iter().any(|host| within(host, name))
    };
    matched.names.iter().filter(fits).cloned().collect()
}

/// A target; `None` where its host is no host name. Port 0 stands for the service's only one, which is looked up when the
/// service is known.
fn destination(to: &RouteTarget, namespace: &str, rules: &Rules) -> Option<Destination> {
    let host = full_name(&to.host, namespace, &rules.domain);
    Some(Destination {
        host: Hostname::parse(&host).ok()?,
        port: to.port.unwrap_or(0),
        subset: to.subset.clone(),
        weight: to.weight,
    })
}
