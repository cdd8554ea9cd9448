//! What would become of a server name, and why: listener, route, tiers, every endpoint. It must not change anything, and asks
//! the same table and balancers that connections ask.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use proxy::Bound;
use proxy::balance::{AddressView, View};
use proxy::close::Reason;
use proxy::config::Role;
use proxy::hello::Alpn;
use serde_json::{Value, json};

use super::super::{Answer, json, parameter, text};
use super::endpoints::of_address;
use super::routes::{of_route, sorted, tier_figures, unused};
use crate::app::State;

/// Names that are offered where one is not known.
const NEAR: usize = 5;

/// Explains a name on every listener, or on the one of a port.
pub(super) fn explain(state: &State, request: &Request<Incoming>) -> Answer {
    let Some(sni) = parameter(request, "sni") else {
        let why =
            "sni is missing: /explain?sni=outbound_.5000_._.hello.default.svc.cluster.local\n";
        return text(StatusCode::BAD_REQUEST, why);
    };
    let port = match parameter(request, "port").map(|port| port.parse::<u16>()) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(_)) => return text(StatusCode::BAD_REQUEST, "port must be a number\n"),
    };
    // As it is read from a hello: lower case, without one dot at its end.
    let name = sni.strip_suffix('.').unwrap_or(&sni).to_ascii_lowercase();
    let protocols = parameter(request, "alpn").unwrap_or_else(|| "istio".to_owned());
    let alpn: Alpn = protocols
        .split(',')
        .filter(|protocol| !protocol.is_empty())
        .collect();
    let bound = state.proxy.bound().iter();
    let asked = bound.filter(|bound| port.is_none_or(|port| bound.address.port() == port));
    let listeners: Vec<Value> = asked
        .map(|bound| on_listener(state, bound, &name, alpn))
        .collect();
    if listeners.is_empty() {
        let ports: Vec<_> = state
            .proxy
            .bound()
            .iter()
            .map(|bound| bound.address.to_string())
            .collect();
        let why = format!(
            "no listener has this port; there are {}\n",
            ports.join(", ")
        );
        return text(StatusCode::NOT_FOUND, why);
    }
    json(
        StatusCode::OK,
        &json!({"sni": name, "alpn": alpn.to_string(), "listeners": listeners}),
    )
}

fn on_listener(state: &State, bound: &Bound, name: &str, alpn: Alpn) -> Value {
    let mut said = json!({"address": bound.address, "role": bound.role.as_str()});
    if bound.role != Role::Passthrough && !alpn.is_mesh() {
        said["refused"] = refusal(Reason::AlpnRefused);
        said["hint"] = "a mesh listener wants one of istio, istio-peer-exchange, istio-http/1.0, istio-http/1.1, istio-h2".into();
        return said;
    }
    let table = state.proxy.tables().load();
    let route = match table.find(bound.role, bound.address.port(), name) {
        Ok(route) => route,
        Err(reason) => {
            said["refused"] = refusal(reason);
            said["near"] = near(state, bound.role, name).into();
            return said;
        }
    };
    let now = state.proxy.now();
    let view = route.balancer().view(now);
    let tiers = view.tiers.iter().map(|tier| {
        let mut shown = tier_figures(tier);
        shown["endpoints"] = tier
            .addresses
            .iter()
            .map(|address| of_address(state, address, now))
            .collect();
        shown
    });
    said["route"] = of_route(route);
    said["tiers"] = tiers.collect();
    said["unused"] = unused(&view);
    said["ignoresEjections"] = view.ignores_ejections.into();
    let balancer = route.balancer();
    let is_full = balancer
        .max_connections()
        .is_some_and(|limit| route.open() >= limit);
    match likely(&view) {
        _ if is_full => said["refused"] = refusal(Reason::Overloaded),
        None => said["refused"] = refusal(Reason::NoEndpoint),
        Some((tier, address)) => {
            said["pick"] = json!({
                "address": address.address,
                "cluster": address.origin.cluster,
                "network": address.origin.network,
                "locality": address.origin.locality,
                "tier": tier,
                "gateway": address.gateway,
            });
        }
    }
    said
}

/// Where a new connection most likely goes, and its tier: the largest share, and of equals the least loaded. A real pick would
/// be counted, and take a turn from a client.
fn likely(view: &View) -> Option<(usize, &AddressView)> {
    let tiers = view.tiers.iter().enumerate();
    let all = tiers.flat_map(|(at, tier)| tier.addresses.iter().map(move |address| (at, address)));
    let better = |one: &AddressView, other: &AddressView| {
        other.share > one.share || (other.share == one.share && other.open < one.open)
    };
    all.filter(|(_, address)| address.share > 0.0)
        .reduce(|best, next| if better(best.1, next.1) { next } else { best })
}

fn refusal(reason: Reason) -> Value {
    json!({"reason": reason.as_str(), "flag": reason.flag()})
}

/// Names of the same service, or of services that are called alike, on this kind of listener.
fn near(state: &State, role: Role, name: &str) -> Vec<String> {
    let host = name.rsplit_once("_.").map_or(name, |(_, host)| host);
    let first = host.split('.').next().unwrap_or(host);
    let routes = sorted(state);
    let of_role = routes.iter().filter(|route| route.role == role);
    let same = |route: &&std::sync::Arc<proxy::table::Route>| route.service.as_str() == host;
    let alike = |route: &&std::sync::Arc<proxy::table::Route>| {
        let service = route.service.as_str().split('.').next().unwrap_or_default();
        !service.is_empty() && (service.contains(first) || first.contains(service))
    };
    let mut names: Vec<String> = of_role
        .clone()
        .filter(same)
        .map(|route| route.name())
        .collect();
    if names.is_empty() {
        names = of_role.filter(alike).map(|route| route.name()).collect();
    }
    names.truncate(NEAR);
    names
}
