//! How a gateway leaves service: phase by phase, so that load balancers, clients and requests are done with it first. It must
//! not choose which connections close; that is the data path's closer.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::State;

/// How often it is looked whether anything is open.
const LOOK: Duration = Duration::from_millis(50);

/// What is allowed beyond the window for the last connections to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How far the gateway is on its way out.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    /// 0: in service; 1: not ready any more, but accepting; 2: closing what is open.
    pub(crate) fn number(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// Drains; see [`crate::App::drain`].
pub(crate) async fn drain(state: &State) {
    let drain = &state.config.drain;
    state.ready.give_up("drain");
    state.phase.0.store(1, Relaxed);
    tracing::info!(open = state.proxy.open(), announce = ?drain.announce.0, "draining: not ready any more, still accepting; a second signal stops at once");
    tokio::time::sleep(drain.announce.0).await;

    state.phase.0.store(2, Relaxed);
    state.proxy.close_listeners();
    state.proxy.drain(drain.window.0);
    tracing::info!(open = state.proxy.open(), window = ?drain.window.0, "draining: listeners closed, connections close at quiet moments");
    let end = Instant::now() + drain.window.0 + GOODBYE;
    while state.proxy.open() > 0 && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
    tracing::info!(open = state.proxy.open(), "drained");
}
