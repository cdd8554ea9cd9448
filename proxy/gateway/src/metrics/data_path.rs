//! What the data path has counted: connections, attempts, latencies, limits, the access log. It must not count anything itself.

use std::sync::atomic::Ordering::Relaxed;

use prometheus::Registry;
use proxy::{TIERS, Totals};

use super::series::{counter, gauge, latencies};
use crate::app::State;
use crate::logging;

/// Registers all of it.
///
/// # Errors
/// When a name is taken, which is a defect.
pub(super) fn register(registry: &Registry, state: &State) -> prometheus::Result<()> {
    let proxy = &state.proxy;
    let totals = proxy.totals();
    connections(registry, &totals)?;
    access_log(registry, state, &totals)?;
    for (name, help, count) in [
        (
            "causeway_dials_total",
            "Connection attempts to endpoints and gateways that were begun.",
            totals.dials,
        ),
        (
            "causeway_ejections_total",
            "Ejections of endpoints and gateways.",
            proxy.ejections(),
        ),
        (
            "causeway_clients_dropped_total",
            "Clients closed at once, beyond every limit.",
            totals.dropped,
        ),
        (
            "causeway_clients_without_descriptor_total",
            "Clients closed because there was no descriptor for them.",
            totals.no_descriptor,
        ),
    ] {
        counter(registry, name, help, &[], [([], count as f64)])?;
    }
    for (name, help, value) in [
        (
            "causeway_open_connections",
            "Open connections.",
            proxy.open() as f64,
        ),
        (
            "causeway_connection_limit",
            "Most connections served at once.",
            proxy.limit() as f64,
        ),
        (
            "causeway_ejected_endpoints",
            "Endpoints and gateways that are ejected now.",
            proxy.ejected() as f64,
        ),
        (
            "causeway_drain_phase",
            "0 in service, 1 not ready any more but accepting, 2 closing what is open.",
            state.phase.number().into(),
        ),
    ] {
        gauge(registry, name, help, &[], [([], value)])?;
    }
    let workers = proxy.open_by_worker().enumerate();
    gauge(
        registry,
        "causeway_worker_open_connections",
        "Open connections of each worker.",
        &["worker"],
        workers.map(|(worker, open)| ([worker.to_string()], open as f64)),
    )
}

fn connections(registry: &Registry, totals: &Totals) -> prometheus::Result<()> {
    let closes = totals.closes.iter().map(|(stage, reason, count)| {
        let labels = [stage.as_str(), reason.as_str()];
        (labels.map(str::to_owned), *count as f64)
    });
    counter(
        registry,
        "causeway_connections_closed_total",
        "Connections that ended, by stage and reason.",
        &["stage", "reason"],
        closes,
    )?;
    let rejects = totals.rejects.iter();
    counter(
        registry,
        "causeway_hellos_refused_total",
        "Hellos that were refused, by what was wrong with them.",
        &["cause"],
        rejects.map(|(reject, count)| ([reject.as_str().to_owned()], *count as f64)),
    )?;
    let outcomes = totals.outcomes.iter();
    counter(
        registry,
        "causeway_attempts_total",
        "Attempts to reach an endpoint or gateway, by what came of them.",
        &["outcome"],
        outcomes.map(|(outcome, count)| ([outcome.as_str().to_owned()], *count as f64)),
    )?;
    let tier = |tier: usize| match tier + 1 {
        TIERS => format!("{tier}+"),
        _ => tier.to_string(),
    };
    let picks = totals
        .picks
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0);
    counter(
        registry,
        "causeway_picks_total",
        "Connections that an endpoint has got, by its tier; 0 is the closest.",
        &["tier"],
        picks.map(|(at, count)| ([tier(at)], *count as f64)),
    )?;
    latencies(
        registry,
        "causeway_hello_seconds",
        "From accept to the whole ClientHello.",
        totals.hello.clone(),
    )?;
    latencies(
        registry,
        "causeway_dial_seconds",
        "From the ClientHello to an endpoint that has it, failed attempts included.",
        totals.dial.clone(),
    )
}

fn access_log(registry: &Registry, state: &State, totals: &Totals) -> prometheus::Result<()> {
    let counts = state.access.counts();
    let lines = [
        ("written", counts.written.load(Relaxed)),
        ("lost", counts.lost.load(Relaxed) + totals.lost_reports),
        ("omitted", state.access.omitted()),
    ];
    counter(
        registry,
        "causeway_access_log_lines_total",
        "Lines of the access log: written, lost because they could not be written in time, omitted by the limit for each reason.",
        &["outcome"],
        lines.map(|(outcome, count)| ([outcome.to_owned()], count as f64)),
    )?;
    counter(
        registry,
        "causeway_log_lines_lost_total",
        "Lines of the gateway's own log that standard error did not take in time.",
        &[],
        [([], logging::lost() as f64)],
    )
}
