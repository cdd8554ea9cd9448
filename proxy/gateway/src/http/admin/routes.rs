//! Routes as JSON, sorted. It must not change any.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use proxy::balance::{TierView, View};
use proxy::table::Route;
use serde_json::{Value, json};

use super::super::{Answer, parameter, pieces};
use super::listing::listing;
use super::views::limit;
use crate::app::State;

/// Routes and addresses that are listed unless another limit is asked for.
const LISTED: usize = 1_000;

/// Every route: where it leads, and its tiers in figures.
pub(super) fn routes(state: &State, request: &Request<Incoming>) -> Answer {
    let limit = match limit(request, LISTED) {
        Ok(limit) => limit,
        Err(refusal) => return *refusal,
    };
    let contains = parameter(request, "contains").unwrap_or_default();
    let mut all = sorted(state);
    let known = all.len();
    all.retain(|route| contains.is_empty() || route.name().contains(&contains));
    all.truncate(limit);
    let now = state.proxy.now();
    let listed = all.into_iter().map(move |route| {
        let view = route.balancer().view(now);
        let mut shown = of_route(&route);
        shown["tiers"] = view.tiers.iter().map(tier_figures).collect();
        shown["unused"] = unused(&view);
        shown
    });
    pieces("application/json", listing(known, "routes", listed))
}

/// All routes, by name and role.
pub(super) fn sorted(state: &State) -> Vec<Arc<Route>> {
    let table = state.proxy.tables().load();
    let mut routes: Vec<_> = table.routes().cloned().collect();
    routes.sort_by_cached_key(|route| (route.name(), route.role.as_str()));
    routes.dedup_by(|a, b| Arc::ptr_eq(a, b));
    routes
}

/// Where a route leads.
pub(super) fn of_route(route: &Route) -> Value {
    json!({
        "name": route.name(),
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

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
