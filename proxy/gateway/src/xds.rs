//! The xDS server of this gateway: its wiring, and what people and metrics are told of it. It decides nothing.

pub(crate) mod metrics;
pub(crate) mod view;

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::xds::server::{Config, Server};
use ::xds::view::Dead;
use model::NetworkId;
use proxy::Proxy;
use proxy::control::{NetworkState, ProbeState};
use tokio::sync::watch;

use crate::app::State;
use crate::source::{Kind, Source};

/// How often the data path is asked which gateways of other networks are dead: well within the 5 s in which it finds that out.
const LOOK: Duration = Duration::from_millis(250);

/// Starts the server; it serves once the source knows enough. `dead`: the gateways that clients are not sent to.
pub(crate) async fn start(
    config: Config,
    source: &Source,
    dead: watch::Receiver<Dead>,
) -> anyhow::Result<Server> {
    let is_plain = config.tls.is_none();
    let server = Server::start(config, source.snapshots().clone(), dead, complete(source)).await?;
    let address = server.address();
    if is_plain && !address.ip().is_loopback() {
        tracing::warn!(%address, "the xDS server speaks plaintext to everybody who can reach it (xds.plaintext)");
    }
    tracing::info!(%address, tls = !is_plain, "serving xDS");
    Ok(server)
}

/// Tells which gateways are dead, as long as the gateway lives.
pub(crate) async fn follow_gateways(dead: watch::Sender<Dead>, state: Weak<State>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let Some(now) = state.upgrade().map(|state| dead_gateways(&state.proxy)) else {
            return;
        };
        dead.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

/// The gateways that probes find dead, but for those of networks that are kept as a last resort: clients are better sent there than
/// nowhere.
fn dead_gateways(proxy: &Proxy) -> Dead {
    let networks = proxy.networks();
    let kept = |id: &NetworkId| {
        let health = networks.get(id);
        health.is_some_and(|health| health.state == NetworkState::LastResort)
    };
    let gateways = proxy.gateways().into_iter();
    let dead = gateways.filter(|(_, gateway)| {
        gateway.state == ProbeState::Dead && !gateway.networks.iter().any(kept)
    });
    Arc::new(dead.map(|(address, _)| address).collect())
}

/// Done when the source knows all that it can know for now: clients would lose what is not known yet.
fn complete(source: &Source) -> impl Future<Output = ()> + Send + use<> {
    let (kubernetes, xds) = match &source.kind {
        // A file is read before anything else starts.
        Kind::File(_) => (None, None),
        Kind::Kubernetes(source) => (Some(source.status.clone()), None),
        Kind::Xds(xds) => (None, Some(xds.source.status.clone())),
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
