//! Connections, open and failed, as JSON. It must not change any.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use proxy::{OpenConnection, Query};
use serde_json::{Value, json};

use super::super::{Answer, json, parameter, text};
use crate::access::KEPT;
use crate::app::State;

/// Connections that are listed unless another limit is asked for.
const LISTED: usize = 100;

/// What is open.
pub(super) async fn connections(state: &State, request: &Request<Incoming>) -> Answer {
    let limit = match limit(request, LISTED) {
        Ok(limit) => limit,
        Err(refusal) => return *refusal,
    };
    let query = Query {
        contains: parameter(request, "contains"),
        limit,
    };
    let found = state.proxy.connections(query).await;
    let listed: Vec<Value> = found.iter().map(connection).collect();
    json(
        StatusCode::OK,
        &json!({"open": state.proxy.open(), "connections": listed}),
    )
}

/// The latest failures.
pub(super) fn failures(state: &State, request: &Request<Incoming>) -> Answer {
    let limit = match limit(request, KEPT) {
        Ok(limit) => limit,
        Err(refusal) => return *refusal,
    };
    let reason = parameter(request, "reason");
    let latest = state.access.failures.latest(reason.as_deref(), limit);
    json(StatusCode::OK, &json!({"failures": latest}))
}

fn connection(open: &OpenConnection) -> Value {
    let endpoint = open.upstream.as_ref().map(|(address, origin, tier)| {
        json!({
            "address": address,
            "cluster": origin.cluster,
            "network": origin.network,
            "locality": origin.locality,
            "workload": origin.workload.name,
            "tier": tier,
        })
    });
    json!({
        "ageMs": open.age.as_millis(),
        "stage": open.stage.as_str(),
        "role": open.role.as_str(),
        "listener": open.listener,
        "client": open.client,
        "sni": open.name,
        "alpn": open.alpn.to_string(),
        "endpoint": endpoint,
        "sent": open.sent,
        "received": open.received,
    })
}

/// The limit that is asked for.
pub(super) fn limit(request: &Request<Incoming>, usual: usize) -> Result<usize, Box<Answer>> {
    match parameter(request, "limit").map(|limit| limit.parse()) {
        None => Ok(usual),
        Some(Ok(limit)) => Ok(limit),
        Some(Err(_)) => Err(Box::new(text(
            StatusCode::BAD_REQUEST,
            "limit must be a number\n",
        ))),
    }
}
