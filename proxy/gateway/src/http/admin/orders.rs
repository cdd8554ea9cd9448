//! What the gateway can be asked to do while it runs. A page of another site cannot ask: its requests have no JSON type
//! unless the browser asked first whether that is allowed, and it is not.

use std::time::Duration;

use discovery::Span;
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use super::super::{Answer, json, parameter, text};
use crate::app::State;
use crate::logging;

/// Closes part of what is open, without stopping.
pub(super) fn drain(state: &State, request: &Request<Incoming>) -> Answer {
    if let Some(refusal) = refuse_simple(request) {
        return refusal;
    }
    let percent = parameter(request, "percent").map(|percent| percent.parse::<u8>());
    let Some(Ok(percent @ 1..=100)) = percent else {
        let why = "percent must say how many of 100 open connections are closed, like /drain?percent=50&over=60s\n";
        return text(StatusCode::BAD_REQUEST, why);
    };
    let over = match parameter(request, "over").map(|over| Span::parse(&over)) {
        None => state.config.drain.window.0,
        Some(Some(over)) if over.0 > Duration::ZERO => over.0,
        Some(_) => {
            let why = "over must be the time that this may take, like 60s\n";
            return text(StatusCode::BAD_REQUEST, why);
        }
    };
    let open = state.proxy.open();
    state.proxy.shed(percent, over);
    tracing::info!(percent, ?over, open, "asked to shed load");
    json(
        StatusCode::ACCEPTED,
        &json!({"open": open, "percent": percent, "over": Span(over)}),
    )
}

/// Sets the level of the gateway's own log.
pub(super) fn log_level(request: &Request<Incoming>) -> Answer {
    if let Some(refusal) = refuse_simple(request) {
        return refusal;
    }
    let Some(level) = parameter(request, "level") else {
        let why = "level is missing: /loglevel?level=debug\n";
        return text(StatusCode::BAD_REQUEST, why);
    };
    match logging::set_level(&level) {
        Ok(()) => {
            tracing::info!(level, "the log's level was set");
            json(StatusCode::OK, &json!({"level": level}))
        }
        Err(why) => text(StatusCode::BAD_REQUEST, why + "\n"),
    }
}

fn refuse_simple(request: &Request<Incoming>) -> Option<Answer> {
    let given = request.headers().get(header::CONTENT_TYPE);
    let is_json = given
        .and_then(|given| given.to_str().ok())
        .and_then(|given| given.split(';').next())
        .is_some_and(|given| given.trim().eq_ignore_ascii_case("application/json"));
    (!is_json).then(|| {
        let why = "this changes something, so it wants the header Content-Type: application/json (curl -XPOST -H 'Content-Type: application/json' ...)\n";
        text(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
    })
}
