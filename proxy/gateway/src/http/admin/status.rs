//! The gateway at a glance, for `causeway status`. It must not change anything.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::{Answer, json};
use super::networks;
use crate::app::State;

/// Who it is, what it does, how it goes.
pub(super) fn status(state: &State) -> Answer {
    let proxy = &state.proxy;
    let totals = proxy.totals();
    let mut ends = Map::new();
    for (_, reason, count) in &totals.closes {
        let so_far = ends
            .get(reason.as_str())
            .and_then(Value::as_u64)
            .unwrap_or(0);
        ends.insert(reason.as_str().to_owned(), (so_far + count).into());
    }
    let listeners: Vec<Value> = proxy
        .bound()
        .iter()
        .map(|bound| json!({"address": bound.address, "role": bound.role.as_str()}))
        .collect();
    let waiting = state.ready.waiting();
    let snapshot = state.source.snapshots().borrow().clone();
    let outcomes: Map<String, Value> = totals
        .outcomes
        .iter()
        .map(|(outcome, count)| (outcome.as_str().to_owned(), (*count).into()))
        .collect();
    json(
        StatusCode::OK,
        &json!({
            "version": crate::cli::VERSION,
            "cluster": state.myself.cluster,
            "workload": state.myself.workload,
            "namespace": state.myself.namespace,
            "ready": waiting.is_empty(),
            "waitingFor": waiting,
            "drainPhase": state.phase.number(),
            "listeners": listeners,
            "addresses": state.addresses,
            "open": proxy.open(),
            "limit": proxy.limit(),
            "ends": ends,
            "attempts": outcomes,
            "picksByTier": totals.picks,
            "ejected": proxy.ejected(),
            "ejections": proxy.ejections(),
            "snapshotVersion": proxy.snapshot_version(),
            "services": snapshot.services.len(),
            "networks": snapshot.networks.len(),
            "networkHealth": networks::summary(state),
            "routes": proxy.tables().load().routes().count(),
            "source": state.source.status(),
            "xds": state.xds.as_ref().map(crate::xds::view::glance),
        }),
    )
}
