//! The admin API: what the gateway is told, knows and sees, and the few things it can be asked to do. GET changes nothing.

mod endpoints;
mod explain;
mod listing;
mod mesh;
mod networks;
mod orders;
mod page;
mod routes;
mod status;
mod views;

use std::sync::Arc;

use http::uri::Authority;
use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use super::{Answer, json, not_found, text};
use crate::app::State;

/// What is there, for people.
const PATHS: [(&str, &str); 15] = [
    ("/", "this list; in a browser, the dashboard"),
    (
        "/config",
        "the configuration in force, and the addresses as they were bound",
    ),
    (
        "/connections",
        "open connections, the oldest first; ?contains=TEXT&limit=N",
    ),
    (
        "/endpoints",
        "every address that is dialled: its state, and who leads there; ?contains=TEXT&gateways=true&limit=N",
    ),
    (
        "/explain?sni=NAME&alpn=istio&port=P",
        "what would become of a server name, and why",
    ),
    (
        "/failures",
        "the last 1,000 failures, the latest first; ?reason=NAME&limit=N",
    ),
    (
        "/mesh",
        "endpoints by place, gateways by network, connections and bytes by who served them",
    ),
    (
        "/networks",
        "other networks, their gateways, and what probes find there",
    ),
    (
        "/routes",
        "where server names lead, and the tiers there; ?contains=TEXT&limit=N",
    ),
    (
        "/snapshot",
        "everything that is known of services, endpoints and networks",
    ),
    ("/source", "how reading that goes"),
    ("/status", "the gateway at a glance"),
    (
        "/xds",
        "the xDS server's clients: who, what they have, what they refused and why; and the server that is followed, if one is",
    ),
    (
        "POST /drain?percent=P&over=20s",
        "closes so many of 100 open connections at quiet moments",
    ),
    (
        "POST /loglevel?level=L",
        "error, warn, info, debug, trace, or like info,proxy=debug",
    ),
];

/// Answers whoever speaks to a loopback name: a page of another site that resolves its name to this address does not.
pub(crate) async fn answer(state: Arc<State>, request: Request<Incoming>) -> Answer {
    if !state.config.admin.allow_remote && !asks_loopback(&request) {
        let why = "the Host header is not a loopback name, so this may be another site's page asking: use localhost, 127.0.0.1 or [::1]\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/drain") => orders::drain(&state, &request),
        (&Method::POST, "/loglevel") => orders::log_level(&request),
        (&Method::GET | &Method::HEAD, path) => view(&state, &request, path).await,
        (_, "/drain" | "/loglevel") => text(StatusCode::METHOD_NOT_ALLOWED, "this needs POST\n"),
        _ => super::only_get(),
    }
}

async fn view(state: &Arc<State>, request: &Request<Incoming>, path: &str) -> Answer {
    match path {
        "/" if page::is_wanted(request) => page::page(),
        "/" => text(StatusCode::OK, index()),
        "/page.css" => page::style(),
        "/page.js" => page::script(),
        "/config" => json(
            StatusCode::OK,
            &json!({"config": state.config, "bound": state.addresses}),
        ),
        "/connections" => views::connections(state, request).await,
        "/endpoints" => endpoints::endpoints(state, request).await,
        "/explain" => explain::explain(state, request),
        "/mesh" => mesh::mesh(state),
        "/networks" => networks::networks(state),
        "/routes" => routes::routes(state, request),
        "/status" => status::status(state),
        "/failures" => views::failures(state, request),
        "/snapshot" => super::snapshot(state.source.snapshots().borrow().clone()),
        "/source" => json(StatusCode::OK, &state.source.status()),
        "/xds" => {
            let mut xds = crate::xds::view::streams(state.xds.as_ref());
            xds["client"] = state.source.client();
            json(StatusCode::OK, &xds)
        }
        "/drain" | "/loglevel" => text(StatusCode::METHOD_NOT_ALLOWED, "this needs POST\n"),
        _ => not_found(&PATHS.map(|(path, _)| path)),
    }
}

fn index() -> String {
    let mut page = format!("Causeway {}\n\n", crate::cli::VERSION);
    for (path, what) in PATHS {
        page.push_str(&format!("{path:<32} {what}\n"));
    }
    page
}

/// One Host header, and whatever the request's own line names besides: all of them loopback names.
fn asks_loopback(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host = host.to_str().ok();
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    host.as_ref().is_some_and(is_loopback) && request.uri().authority().is_none_or(is_loopback)
}

fn is_loopback(authority: &Authority) -> bool {
    // A user name before it is nothing that a client of ours sends.
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
