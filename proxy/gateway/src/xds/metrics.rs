//! Metrics of the xDS server. They must not keep anything.

use std::time::Duration;

use ::xds::resource::Kind;
use ::xds::server::session::Mode;
use ::xds::server::{KindCounts, Server};
use prometheus::Registry;

use super::view;
use crate::metrics::series::{counter, gauge};

/// Registers them.
///
/// # Errors
/// When a metric is registered twice, which is a defect.
pub(crate) fn register(registry: &Registry, server: &Server) -> prometheus::Result<()> {
    let streams = server.registry().streams();
    let counts = server.registry().counts();
    let open = [Mode::Sotw, Mode::Delta].map(|mode| {
        let of_mode = streams.iter().filter(|stream| stream.mode == mode).count();
        ([view::mode(mode).to_owned()], of_mode as f64)
    });
    gauge(
        registry,
        "causeway_xds_streams",
        "Open xDS streams.",
        &["mode"],
        open,
    )?;
    counter(
        registry,
        "causeway_xds_streams_opened_total",
        "xDS streams so far.",
        &[],
        [([], counts.opened as f64)],
    )?;
    counter(
        registry,
        "causeway_xds_refused_connections_total",
        "Connections to the xDS server that ended in their TLS handshake or were too many.",
        &[],
        [([], counts.refused_connections as f64)],
    )?;
    let lag = streams.iter().map(|stream| stream.lag).max();
    gauge(
        registry,
        "causeway_xds_lag_seconds",
        "How long the xDS stream that is furthest behind has lacked a change, not sent to it, not answered or refused by it.",
        &[],
        [([], lag.unwrap_or(Duration::ZERO).as_secs_f64())],
    )?;
    type Count = fn(&KindCounts) -> u64;
    let by_type: [(&str, &str, Count); 3] = [
        ("causeway_xds_pushes_total", "xDS responses.", |of| {
            of.pushes
        }),
        (
            "causeway_xds_pushed_resources_total",
            "Resources in xDS responses.",
            |of| of.resources,
        ),
        (
            "causeway_xds_pushed_bytes_total",
            "Bytes of the resources in xDS responses.",
            |of| of.bytes,
        ),
    ];
    for (name, help, count) in by_type {
        let series = Kind::ALL.map(|kind| {
            let of = &counts.kinds[kind as usize];
            ([kind.as_str().to_owned()], count(of) as f64)
        });
        counter(registry, name, help, &["type"], series)?;
    }
    let answers = Kind::ALL.into_iter().flat_map(|kind| {
        let of = &counts.kinds[kind as usize];
        let name = kind.as_str();
        [("ack", of.acks), ("nack", of.nacks)]
            .map(|(answer, count)| ([name.to_owned(), answer.to_owned()], count as f64))
    });
    counter(
        registry,
        "causeway_xds_answers_total",
        "What clients said to xDS responses.",
        &["type", "answer"],
        answers,
    )
}
