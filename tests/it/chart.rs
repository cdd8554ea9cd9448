//! The chart that takes the place of istio/gateway: what it becomes, for a matrix of values, and what it refuses.

mod account;
mod beside;
mod cluster;
mod kind;
mod learnk8s;
mod matrix;
mod ports;
mod refusals;
mod table;
mod values;

use serde_json::Value;
use tests::{CannotBuild, Helm, Release, say};

/// Helm, or nothing after saying why the test is skipped.
fn helm(test: &str) -> Option<Helm> {
    Helm::build()
        .map_err(|CannotBuild(why)| say(&format!("== SKIPPED chart::{test}: {why}")))
        .ok()
}

/// A release as most have it.
fn release<'a>(arguments: &'a [&'a str]) -> Release<'a> {
    Release {
        name: "eastwest-gateway",
        namespace: "istio-system",
        arguments,
    }
}

/// The only object of this kind and name.
fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<&Value> = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// The gateway.yaml of a release.
fn gateway_yaml(objects: &[Value]) -> String {
    let is_configuration = |object: &&Value| {
        object["kind"] == "ConfigMap" && object["data"]["gateway.yaml"].is_string()
    };
    let found = objects.iter().find(is_configuration);
    let text = found.and_then(|object| object["data"]["gateway.yaml"].as_str());
    text.expect("a gateway.yaml").to_owned()
}
