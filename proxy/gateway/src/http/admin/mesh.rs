//! The mesh in figures: where endpoints are, how networks are entered, and what flows where. It must not name services, of
//! which there may be very many.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use http::StatusCode;
use model::{ClusterId, NetworkId};
use serde_json::{Map, Value, json};

use super::super::{Answer, json};
use crate::app::State;
use crate::metrics::STATES;

/// Connections and bytes, summed.
#[derive(Default)]
struct Sum {
    opened: u64,
    closed: u64,
    failed: u64,
    to_endpoints: u64,
    to_clients: u64,
}

/// Endpoints by place, gateways by network, flows by the place that served; flows that nobody served have no cluster.
pub(super) fn mesh(state: &State) -> Answer {
    let snapshot = state.source.snapshots().borrow().clone();
    let places = state.endpoint_counts.of(&snapshot);
    let places = places.iter().map(|((cluster, network), counts)| {
        let mut shown = json!({"cluster": cluster, "network": network});
        for (state, count) in STATES.iter().zip(counts) {
            shown[*state] = (*count).into();
        }
        shown
    });
    let networks = snapshot.networks.iter().map(|(network, of)| {
        let gateways = of.gateways.iter().map(|gateway| {
            json!({"address": gateway.address, "name": gateway.name, "clusters": gateway.clusters})
        });
        (network.to_string(), gateways.collect())
    });
    json(
        StatusCode::OK,
        &json!({
            "cluster": state.myself.cluster,
            "places": places.collect::<Vec<Value>>(),
            "networks": networks.collect::<Map<String, Value>>(),
            "flows": flows(state),
        }),
    )
}

fn flows(state: &State) -> Vec<Value> {
    let mut sums = BTreeMap::<Option<(ClusterId, NetworkId)>, Sum>::new();
    for route in state.proxy.tables().load().routes() {
        for entry in route.flows.each() {
            let origin = entry.origin.as_deref();
            let place = origin.map(|origin| (origin.cluster.clone(), origin.network.clone()));
            let sum = sums.entry(place).or_default();
            let closed = entry.flow.closed.load(Relaxed);
            sum.opened += entry.flow.opened.load(Relaxed);
            sum.closed += closed;
            sum.to_endpoints += entry.flow.sent.load(Relaxed);
            sum.to_clients += entry.flow.received.load(Relaxed);
            if entry.flags != "-" {
                sum.failed += closed;
            }
        }
    }
    let shown = sums.into_iter().map(|(place, sum)| {
        let (cluster, network) = place.unzip();
        json!({
            "cluster": cluster,
            "network": network,
            "opened": sum.opened,
            "closed": sum.closed,
            "failed": sum.failed,
            "bytesToEndpoints": sum.to_endpoints,
            "bytesToClients": sum.to_clients,
        })
    });
    shown.collect()
}
