//! Readiness and liveness, for the kubelet and load balancers.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::{Answer, json, not_found, only_get, text};
use crate::app::State;

/// Ready when nobody is waited for any more; live as long as this answers.
pub(crate) async fn answer(state: Arc<State>, request: Request<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return only_get();
    }
    match request.uri().path() {
        "/healthz/ready" => {
            let waiting = state.ready.waiting();
            let status = if waiting.is_empty() {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            json(
                status,
                &json!({"ready": waiting.is_empty(), "waitingFor": waiting}),
            )
        }
        "/healthz/live" => text(StatusCode::OK, "live\n"),
        _ => not_found(&["/healthz/ready", "/healthz/live"]),
    }
}
