//! The metrics, rendered from what the gateway has counted: nothing is kept here, so a series exists only while there is
//! something to say.

mod source;

use std::sync::atomic::Ordering::Relaxed;

use prometheus::{
    Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::app::State;
use crate::{cli, process};

/// Every metric as text.
///
/// # Errors
/// When a metric is registered twice, which is a defect.
pub(crate) fn render(state: &State) -> prometheus::Result<Vec<u8>> {
    let registry = Registry::new();
    let proxy = &state.proxy;
    let totals = proxy.totals();

    let build = IntGaugeVec::new(
        Opts::new("causeway_build_info", "Version and commit of this gateway."),
        &["version", "commit"],
    )?;
    build.with_label_values(&[cli::VERSION, cli::COMMIT]).set(1);
    registry.register(Box::new(build))?;

    let closes = IntCounterVec::new(
        Opts::new(
            "causeway_connections_closed_total",
            "Connections that ended, by stage and reason.",
        ),
        &["stage", "reason"],
    )?;
    for (stage, reason, count) in &totals.closes {
        closes
            .with_label_values(&[stage.as_str(), reason.as_str()])
            .inc_by(*count);
    }
    registry.register(Box::new(closes))?;

    source::register(&registry, &state.source)?;

    let lines = IntCounterVec::new(
        Opts::new(
            "causeway_access_log_lines_total",
            "Lines of the access log: written, lost because they could not be written in time, omitted by the limit for each reason.",
        ),
        &["outcome"],
    )?;
    let access = state.access.counts();
    let lost = access.lost.load(Relaxed) + totals.lost_reports;
    for (outcome, count) in [
        ("written", access.written.load(Relaxed)),
        ("lost", lost),
        ("omitted", access.omitted.load(Relaxed)),
    ] {
        lines.with_label_values(&[outcome]).inc_by(count);
    }
    registry.register(Box::new(lines))?;

    let counter = |name: &str, help: &str, count: u64| {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(count);
        registry.register(Box::new(counter))
    };
    counter(
        "causeway_dials_total",
        "Connection attempts to endpoints and gateways.",
        totals.dials,
    )?;
    counter(
        "causeway_ejections_total",
        "Ejections of endpoints and gateways.",
        proxy.ejections(),
    )?;
    counter(
        "causeway_clients_dropped_total",
        "Clients closed at once, beyond every limit.",
        totals.dropped,
    )?;
    counter(
        "causeway_clients_without_descriptor_total",
        "Clients closed because there was no descriptor for them.",
        totals.no_descriptor,
    )?;

    let gauge = |name: &str, help: &str, value: u64| {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))
    };
    gauge(
        "causeway_open_connections",
        "Open connections.",
        u64::try_from(proxy.open()).unwrap_or(u64::MAX),
    )?;
    gauge(
        "causeway_connection_limit",
        "Most connections served at once.",
        u64::try_from(proxy.limit()).unwrap_or(u64::MAX),
    )?;
    gauge(
        "causeway_ejected_endpoints",
        "Endpoints and gateways that are ejected now.",
        proxy.ejected(),
    )?;
    gauge(
        "causeway_snapshot_version",
        "Version of the snapshot in force.",
        proxy.snapshot_version(),
    )?;
    gauge(
        "causeway_drain_phase",
        "0 in service, 1 not ready any more but accepting, 2 closing what is open.",
        state.phase.number().into(),
    )?;
    for figure in process::figures() {
        if figure.counts_up {
            let counter = prometheus::Counter::new(figure.name, figure.help)?;
            counter.inc_by(figure.value);
            registry.register(Box::new(counter))?;
        } else {
            let gauge = Gauge::new(figure.name, figure.help)?;
            gauge.set(figure.value);
            registry.register(Box::new(gauge))?;
        }
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}
