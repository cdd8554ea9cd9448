//! The metrics, rendered from what the gateway has counted: a series exists only while there is something to say, and nothing is
//! kept but what keeps a sum from falling. One file a subject.

mod data_path;
mod gateways;
mod istio;
mod mesh;
pub(crate) mod series;
mod source;
mod totals;

use bytes::Bytes;
use prometheus::{Encoder, Registry, TextEncoder};

use self::istio::Lines;
pub(crate) use self::istio::Myself;
pub(crate) use self::mesh::{EndpointCounts, STATES};
use self::series::{counter, gauge};
pub(crate) use self::totals::Totals;
use crate::app::State;
use crate::{cli, process};

/// Every metric as text, piece by piece: what a scrape holds of it does not grow with what there is to tell.
///
/// # Errors
/// When a metric is registered twice, which is a defect.
pub(crate) fn render(
    state: &State,
) -> prometheus::Result<impl Iterator<Item = Bytes> + Send + use<>> {
    let registry = Registry::new();
    gauge(
        &registry,
        "causeway_build_info",
        "Version and commit of this gateway.",
        &["version", "commit"],
        [([cli::VERSION, cli::COMMIT].map(str::to_owned), 1.0)],
    )?;
    data_path::register(&registry, state)?;
    mesh::register(&registry, state)?;
    gateways::register(&registry, state)?;
    source::register(&registry, &state.source)?;
    if let Some(server) = &state.xds {
        crate::xds::metrics::register(&registry, server)?;
    }
    for figure in process::figures() {
        let series = [([], figure.value)];
        if figure.counts_up {
            counter(&registry, figure.name, figure.help, &[], series)?;
        } else {
            gauge(&registry, figure.name, figure.help, &[], series)?;
        }
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    let lines = Lines::new(&state.proxy.tables().load(), &state.totals, &state.myself);
    Ok(std::iter::once(Bytes::from(text)).chain(lines))
}
