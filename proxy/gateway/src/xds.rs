//! The xDS server of this gateway: its wiring, and what people and metrics are told of it. It decides nothing.

pub(crate) mod metrics;
pub(crate) mod view;

use std::sync::Arc;

use ::xds::server::{Config, Server};
use ::xds::view::Dead;
use tokio::sync::watch;

use crate::source::{Kind, Source};

/// Starts the server; it serves once the source knows enough.
pub(crate) async fn start(config: Config, source: &Source) -> anyhow::Result<Server> {
    let dead = Arc::new(Dead::default());
    let (_, dead) = watch::channel(Dead::clone(&dead));
    let is_plain = config.tls.is_none();
    let server = Server::start(config, source.snapshots().clone(), dead, complete(source)).await?;
    let address = server.address();
    if is_plain && !address.ip().is_loopback() {
        tracing::warn!(%address, "the xDS server speaks plaintext to everybody who can reach it (xds.plaintext)");
    }
    tracing::info!(%address, tls = !is_plain, "serving xDS");
    Ok(server)
}

/// Done when the source knows all that it can know for now: clients would lose what is not known yet.
fn complete(source: &Source) -> impl Future<Output = ()> + Send + use<> {
    let (kubernetes, xds) = match &source.kind {
        // A file is read before anything else starts.
        Kind::File(_) => (None, None),
        Kind::Kubernetes(source) => (Some(source.status.clone()), None),
        Kind::Xds(source) => (None, Some(source.0.status.clone())),
    };
    async move {
        // Either ends with the source too, and then nobody is served.
        if let Some(mut status) = kubernetes {
            let _ = status.wait_for(|status| status.ready).await;
        }
        if let Some(mut status) = xds {
            let _ = status.wait_for(|status| status.ready).await;
        }
    }
}
