//! The admin API: what the gateway is told and knows. GET changes nothing.

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use super::{Answer, json, not_found, only_get, text};
use crate::app::State;

const PATHS: [&str; 4] = ["/", "/config", "/snapshot", "/source"];

/// Answers whoever speaks to a loopback name: a page of another site that resolves its name to this address does not.
pub(crate) fn answer(state: &State, request: &Request<Incoming>) -> Answer {
    if !state.config.admin.allow_remote && !asks_loopback(request) {
        let why = "the Host header is not a loopback name, so this may be another site's page asking: use localhost, 127.0.0.1 or [::1]\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    if request.method() != Method::GET {
        return only_get();
    }
    match request.uri().path() {
        "/" => text(
            StatusCode::OK,
            format!("Causeway {}\n\n{}\n", crate::cli::VERSION, PATHS.join("\n")),
        ),
        "/config" => json(
            StatusCode::OK,
            &json!({"config": state.config, "bound": state.addresses}),
        ),
        "/snapshot" => json(StatusCode::OK, &**state.source.snapshots.borrow()),
        "/source" => json(StatusCode::OK, &*state.source.status.borrow()),
        _ => not_found(&PATHS),
    }
}

fn asks_loopback(request: &Request<Incoming>) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<http::uri::Authority>().ok()) else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
