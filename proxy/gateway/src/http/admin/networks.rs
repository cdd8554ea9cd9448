//! Other networks and their gateways as JSON: what is thought of each, since when and why. It must not ask them.

use std::net::SocketAddr;
use std::time::SystemTime;

use http::StatusCode;
use proxy::clock::Millis;
use proxy::control::{GatewayHealth, NetworkHealth};
use serde_json::{Map, Value, json};

use super::super::{Answer, json};
use super::routes::millis;
use crate::access::time;
use crate::app::State;

/// Every other network with its gateways.
pub(super) fn networks(state: &State) -> Answer {
    let now = state.proxy.now();
    let gateways = state.proxy.gateways();
    let networks = state.proxy.networks();
    let listed = networks.iter().map(|(network, health)| {
        let mut shown = of_network(health, now);
        shown["network"] = network.as_str().into();
        let of_it = gateways.iter();
        shown["gateways"] = of_it
            .filter(|(_, gateway)| gateway.networks.contains(network))
            .map(|(address, gateway)| {
                let mut shown = of_gateway(gateway, now);
                shown["address"] = address.to_string().into();
                shown
            })
            .collect();
        shown
    });
    let listed: Vec<Value> = listed.collect();
    json(StatusCode::OK, &json!({ "networks": listed }))
}

/// What is thought of each network, by its name.
pub(super) fn summary(state: &State) -> Map<String, Value> {
    let now = state.proxy.now();
    let networks = state.proxy.networks();
    networks
        .iter()
        .map(|(network, health)| (network.to_string(), of_network(health, now)))
        .collect()
}

/// What probes have found at an address; nothing for what is not probed.
pub(super) fn probed(state: &State, address: SocketAddr) -> Value {
    let found = state.proxy.gateway(address);
    found.map_or(Value::Null, |gateway| {
        of_gateway(&gateway, state.proxy.now())
    })
}

fn of_network(health: &NetworkHealth, now: Millis) -> Value {
    json!({
        "state": health.state.as_str(),
        "since": moment(health.since, now),
        "sinceMs": millis(now.since(health.since)),
        "gatewayCount": health.gateways,
        "out": health.out,
    })
}

fn of_gateway(health: &GatewayHealth, now: Millis) -> Value {
    let last = health.last.map(|(outcome, at)| {
        json!({"outcome": outcome.as_str(), "at": moment(at, now), "agoMs": millis(now.since(at))})
    });
    json!({
        "state": health.state.as_str(),
        "since": moment(health.since, now),
        "sinceMs": millis(now.since(health.since)),
        "last": last,
    })
}

fn moment(at: Millis, now: Millis) -> String {
    time(SystemTime::now() - now.since(at))
}
