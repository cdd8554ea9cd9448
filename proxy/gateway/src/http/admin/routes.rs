//! Routes and addresses as JSON, sorted. It must not change any.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use proxy::balance::{AddressView, TierView, View};
use proxy::clock::Millis;
use proxy::host::State as HostState;
use proxy::table::Route;
use serde_json::{Value, json};

use super::super::{Answer, json, parameter};
use super::networks::probed;
use super::views::limit;
use crate::access::time;
use crate::app::State;

/// Routes and addresses that are listed unless another limit is asked for.
const LISTED: usize = 1_000;

/// Route names that are listed for one address.
const NAMES: usize = 20;

/// Every route: where it leads, and its tiers in figures.
pub(super) fn routes(state: &State, request: &Request<Incoming>) -> Answer {
    let limit = match limit(request, LISTED) {
        Ok(limit) => limit,
        Err(refusal) => return *refusal,
    };
    let contains = parameter(request, "contains").unwrap_or_default();
    let all = sorted(state);
    let wanted = all.iter().filter(|route| route.name.contains(&contains));
    let now = state.proxy.now();
    let listed: Vec<Value> = wanted
        .take(limit)
        .map(|route| {
            let view = route.balancer().view(now);
            let mut shown = of_route(route);
            shown["tiers"] = view.tiers.iter().map(tier_figures).collect();
            shown["unused"] = unused(&view);
            shown
        })
        .collect();
    json(
        StatusCode::OK,
        &json!({"known": all.len(), "routes": listed}),
    )
}

/// Every address that some route dials: its state, and who leads there.
pub(super) fn endpoints(state: &State, request: &Request<Incoming>) -> Answer {
    let limit = match limit(request, LISTED) {
        Ok(limit) => limit,
        Err(refusal) => return *refusal,
    };
    let contains = parameter(request, "contains").unwrap_or_default();
    let now = state.proxy.now();
    let mut addresses: BTreeMap<SocketAddr, (Value, Vec<Value>, u64)> = BTreeMap::new();
    for route in sorted(state) {
        for tier in route.balancer().view(now).tiers {
            for address in &tier.addresses {
                let (_, routes, count) = addresses
                    .entry(address.address)
                    .or_insert_with(|| (of_address(state, address, now), Vec::new(), 0));
                if routes.len() < NAMES {
                    routes.push(json!({"name": route.name, "role": route.role.as_str()}));
                }
                *count += 1;
            }
        }
    }
    let known = addresses.len();
    let shown = addresses.into_values().map(|(mut shown, routes, count)| {
        shown["routes"] = routes.into();
        shown["routeCount"] = count.into();
        shown
    });
    let wanted = shown.filter(|shown| contains.is_empty() || shown.to_string().contains(&contains));
    let listed: Vec<Value> = wanted.take(limit).collect();
    json(
        StatusCode::OK,
        &json!({"known": known, "endpoints": listed}),
    )
}

/// All routes, by name and role.
pub(super) fn sorted(state: &State) -> Vec<Arc<Route>> {
    let table = state.proxy.tables().load();
    let mut routes: Vec<_> = table.routes().cloned().collect();
    routes.sort_by(|a, b| (&a.name, a.role.as_str()).cmp(&(&b.name, b.role.as_str())));
    routes.dedup_by(|a, b| Arc::ptr_eq(a, b));
    routes
}

/// Where a route leads.
pub(super) fn of_route(route: &Route) -> Value {
    json!({
        "name": route.name,
        "role": route.role.as_str(),
        "service": route.service,
        "port": route.port,
        "subset": route.subset,
        "open": route.open(),
    })
}

/// A tier without its addresses.
pub(super) fn tier_figures(tier: &TierView) -> Value {
    json!({
        "closeness": tier.closeness.0,
        "share": tier.share,
        "healthy": tier.availability.healthy,
        "degraded": tier.availability.degraded,
        "total": tier.availability.total,
    })
}

/// Endpoints that are in no tier, and why.
pub(super) fn unused(view: &View) -> Value {
    let unused = view.unused;
    json!({
        "forbiddenAddress": unused.forbidden,
        "noGateway": unused.no_gateway,
        "noPort": unused.no_port,
        "noMeshTls": unused.not_mesh,
    })
}

/// An address, its state and why it is in it.
pub(super) fn of_address(app: &State, view: &AddressView, now: Millis) -> Value {
    let (state, why, until) = match view.state {
        HostState::Ejected(until) => (
            "ejected",
            "dials in a row have failed; a connect of our own decides when it comes back",
            Some(until),
        ),
        HostState::Ramping(_) => (
            "ramping",
            "it was out, is back, and gets its share by and by",
            None,
        ),
        HostState::Dead(_) if view.last_resort => (
            "dead",
            "probes find nobody there, and at no other network's gateways either, so the fault may be ours: it is tried when nothing else is left",
            None,
        ),
        HostState::Dead(_) => (
            "dead",
            "probes find nobody there; they decide when it comes back",
            None,
        ),
        HostState::Warming(_) => ("warming", "it is new, and its service has a warmup", None),
        HostState::Steady => ("steady", "", None),
    };
    let since = match view.state {
        HostState::Dead(since) | HostState::Ramping(since) | HostState::Warming(since) => {
            Some(now.since(since))
        }
        HostState::Ejected(_) | HostState::Steady => None,
    };
    let probe = if view.gateway {
        probed(app, view.address)
    } else {
        Value::Null
    };
    json!({
        "address": view.address,
        "gateway": view.gateway,
        "probe": probe,
        "lastResort": view.last_resort,
        "cluster": view.origin.cluster,
        "network": view.origin.network,
        "locality": view.origin.locality,
        "workload": view.origin.workload.name,
        "readiness": view.ready.as_str(),
        "state": state,
        "why": why,
        "until": until.map(|until| time(SystemTime::now() + until.since(now))),
        "untilMs": until.map(|until| millis(until.since(now))),
        "sinceMs": since.map(millis),
        "weight": rounded(view.weight),
        "share": rounded(view.share),
        "open": view.open,
    })
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// To a thousandth, so that answers are stable.
fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}
