//! Metrics, for Prometheus.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::{Answer, not_found, only_get, pieces, text};
use crate::app::State;
use crate::metrics;

/// Every metric, under Prometheus' path and under Istio's.
pub(crate) async fn answer(state: Arc<State>, request: Request<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return only_get();
    }
    match request.uri().path() {
        "/metrics" | "/stats/prometheus" => match metrics::render(&state) {
            Ok(body) => pieces("text/plain; version=0.0.4; charset=utf-8", body),
            Err(fault) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{fault}\n")),
        },
        _ => not_found(&["/metrics", "/stats/prometheus"]),
    }
}
