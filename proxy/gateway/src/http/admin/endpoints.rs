//! Addresses that are dialled, as JSON, sorted. It must not change any, and makes nothing of those that are not asked for: there
//! may be a million.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use proxy::balance::AddressView;
use proxy::clock::Millis;
use proxy::host::State as HostState;
use proxy::table::Route;
use serde_json::{Value, json};

use super::super::{Answer, parameter, pieces, text};
use super::listing::listing;
use super::networks::probed;
use super::routes::{millis, sorted};
use super::views::limit;
use crate::access::time;
use crate::app::State;

/// Addresses that are listed unless another limit is asked for.
const LISTED: usize = 1_000;

/// Route names that are listed for one address.
const NAMES: usize = 20;

/// Which addresses are asked for.
struct Wanted {
    /// Those of which something that is shown has this text in it.
    contains: String,
    /// Only other networks' gateways.
    gateways: bool,
}

/// An address that is listed.
#[derive(Default)]
struct Listed {
    view: Option<AddressView>,
    routes: Vec<Arc<Route>>,
    count: u64,
}

/// Every address that some route dials: its state, and who leads there.
pub(super) async fn endpoints(state: &Arc<State>, request: &Request<Incoming>) -> Answer {
    let limit = match limit(request, LISTED) {
        Ok(limit) => limit,
        Err(refusal) => return *refusal,
    };
    let wanted = Wanted {
        contains: parameter(request, "contains").unwrap_or_default(),
        gateways: parameter(request, "gateways").is_some_and(|only| only == "true"),
    };
    let asked = state.clone();
    // Every route is looked at: others are answered meanwhile.
    let looking = tokio::task::spawn_blocking(move || look(&asked, &wanted, limit));
    let Ok((known, listed)) = looking.await else {
        let why = "the addresses could not be looked at; the gateway's log says why\n";
        return text(StatusCode::INTERNAL_SERVER_ERROR, why);
    };
    let (state, now) = (state.clone(), state.proxy.now());
    let shown = listed.into_values().filter_map(move |listed| {
        let mut shown = of_address(&state, listed.view.as_ref()?, now);
        let routes = listed.routes.iter();
        shown["routes"] = routes
            .map(|route| json!({"name": route.name(), "role": route.role.as_str()}))
            .collect();
        shown["routeCount"] = listed.count.into();
        Some(shown)
    });
    pieces("application/json", listing(known, "endpoints", shown))
}

/// How many addresses there are, and the first of those that are asked for.
fn look(state: &State, wanted: &Wanted, limit: usize) -> (usize, BTreeMap<SocketAddr, Listed>) {
    let routes = sorted(state);
    let now = state.proxy.now();
    let each = |seen: &mut dyn FnMut(&Arc<Route>, &str, AddressView)| {
        for route in &routes {
            let tiers = route.balancer().view(now).tiers;
            let views = tiers.into_iter().flat_map(|tier| tier.addresses);
            let name = route.name();
            views.for_each(|view| seen(route, &name, view));
        }
    };
    let mut known = HashMap::<SocketAddr, bool>::new();
    each(&mut |_, name, view| {
        let fits = known.entry(view.address).or_default();
        *fits = *fits || wanted.wants(name, &view);
    });
    let count = known.len();
    let fitting = known.into_iter().filter(|(_, fits)| *fits);
    let mut fitting: Vec<SocketAddr> = fitting.map(|(address, _)| address).collect();
    fitting.sort_unstable();
    fitting.truncate(limit);
    let places = fitting
        .into_iter()
        .map(|address| (address, Listed::default()));
    let mut listed: BTreeMap<SocketAddr, Listed> = places.collect();
    each(&mut |route, _, view| {
        if let Some(one) = listed.get_mut(&view.address) {
            if one.routes.len() < NAMES {
                one.routes.push(route.clone());
            }
            one.count += 1;
            one.view.get_or_insert(view);
        }
    });
    (count, listed)
}

impl Wanted {
    fn wants(&self, route: &str, view: &AddressView) -> bool {
        let text = &self.contains;
        (view.gateway || !self.gateways)
            && (text.is_empty() || route.contains(text) || says(view, text))
    }
}

/// Whether what is shown of an address, its routes apart, has this text in it.
fn says(view: &AddressView, text: &str) -> bool {
    let origin = &view.origin;
    let (state, ..) = state_of(view);
    [
        origin.cluster.as_str(),
        origin.network.as_str(),
        &origin.workload.name,
        view.ready.as_str(),
        state,
    ]
    .iter()
    .any(|word| word.contains(text))
        || view.address.to_string().contains(text)
        || origin.locality.to_string().contains(text)
}

/// An address, its state and why it is in it.
pub(super) fn of_address(app: &State, view: &AddressView, now: Millis) -> Value {
    let (state, why, until) = state_of(view);
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

/// The state's name, why it is in it, and until when if that is known.
fn state_of(view: &AddressView) -> (&'static str, &'static str, Option<Millis>) {
    match view.state {
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
    }
}

/// To a thousandth, so that answers are stable.
fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}
