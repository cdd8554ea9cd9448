//! One gateway: source, data path and HTTP servers, joined. It decides nothing; several can run in one process.

use std::net::SocketAddr;
use std::sync::Arc;

use ::xds::view::Dead;
use anyhow::Context;
use proxy::{Bound, Proxy};
use serde::Serialize;
use tokio::sync::watch;

use crate::access;
use crate::config::Gateway;
use crate::drain::{self, Phase};
use crate::http::{self, Server};
use crate::metrics::{self, EndpointCounts, Myself, Totals};
use crate::ready::Ready;
use crate::source::Source;
use crate::xds;

/// A running gateway.
pub struct App {
    state: Arc<State>,
    servers: Vec<Server>,
}

/// What the HTTP servers answer from.
pub(crate) struct State {
    pub(crate) config: Gateway,
    pub(crate) proxy: Proxy,
    pub(crate) source: Source,
    pub(crate) xds: Option<::xds::server::Server>,
    pub(crate) access: access::Log,
    pub(crate) phase: Phase,
    pub(crate) myself: Myself,
    pub(crate) endpoint_counts: EndpointCounts,
    pub(crate) totals: Arc<Totals>,
    pub(crate) ready: Ready,
    pub(crate) addresses: Addresses,
}

/// Where a gateway listens, as it was bound.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    /// The data path's listeners, in the order of the configuration.
    pub listeners: Vec<SocketAddr>,
    /// The admin API.
    pub admin: SocketAddr,
    /// Metrics.
    pub stats: SocketAddr,
    /// Readiness.
    pub ready: SocketAddr,
    /// The xDS server, if there is one.
    pub xds: Option<SocketAddr>,
}

impl App {
    /// Starts a gateway. Needs a tokio runtime, which becomes its control runtime; connections are served on threads of
    /// their own.
    ///
    /// # Errors
    /// When the source is wrong or an address cannot be bound.
    pub async fn start(config: Gateway) -> anyhow::Result<Self> {
        let config = config.for_this_kernel();
        let ready = Ready::default();
        let starting = ready.wait_for("start");
        let admin = http::bind(config.admin.address).context("admin")?;
        let stats = http::bind(config.stats.address).context("stats")?;
        let probe = http::bind(config.ready.address).context("ready")?;
        let source = Source::start(&config).await?;
        let myself = source.myself(&config);
        let mut to_proxy = config.to_proxy();
        to_proxy.viewpoint = source.viewpoint(to_proxy.viewpoint);
        let to_xds = config.to_xds_server(to_proxy.viewpoint.clone(), to_proxy.allow_loopback);
        let (to_say, dead) = watch::channel(Dead::default());
        let xds = match to_xds {
            Some(config) => Some(xds::start(config, &source, dead).await.context("xds")?),
            None => None,
        };
        let proxy = Proxy::start(to_proxy, source.snapshots().clone())?;
        let access = access::Log::start(&config.access_log, proxy.reports())?;
        let addresses = Addresses {
            listeners: proxy.bound().iter().map(|bound| bound.address).collect(),
            admin: admin.local_addr()?,
            stats: stats.local_addr()?,
            ready: probe.local_addr()?,
            xds: xds.as_ref().map(::xds::server::Server::address),
        };
        for (Bound { address, role }, listener) in proxy.bound().iter().zip(&config.listeners) {
            let network = listener.network.as_deref();
            tracing::info!(%address, role = role.as_str(), network, "listening");
        }
        tracing::info!(admin = %addresses.admin, stats = %addresses.stats, ready = %addresses.ready, "listening");
        let state = Arc::new(State {
            config,
            proxy,
            source,
            xds,
            access,
            phase: Phase::default(),
            myself,
            endpoint_counts: EndpointCounts::default(),
            totals: Arc::default(),
            ready,
            addresses,
        });
        if state.xds.is_some() {
            tokio::spawn(xds::follow_gateways(to_say, Arc::downgrade(&state)));
        }
        let servers = vec![
            Server::start(admin, state.clone(), http::admin::answer),
            Server::start(stats, state.clone(), http::stats::answer),
            Server::start(probe, state.clone(), http::ready::answer),
        ];
        let weak = Arc::downgrade(&state);
        state
            .source
            .follow_readiness(state.ready.wait_for("clusters"), move || {
                let state = weak.upgrade();
                state.map_or(u64::MAX, |state| state.proxy.snapshot_version())
            });
        drop(starting);
        Ok(Self { state, servers })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.state.addresses
    }

    /// The data path.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.state.proxy
    }

    /// What `/metrics` answers.
    ///
    /// # Errors
    /// When a metric is registered twice, which is a defect.
    pub fn metrics(&self) -> prometheus::Result<Vec<u8>> {
        let pieces: Vec<_> = metrics::render(&self.state)?.collect();
        Ok(pieces.concat())
    }

    /// Opens the access log's file again.
    pub fn reopen_access_log(&self) {
        self.state.access.reopen();
    }

    /// Takes the gateway out of service without anybody noticing, as far as that can be: not ready any more; after
    /// `drain.announce` the listeners close; then open connections close at quiet moments, and after `drain.window` what is
    /// left. Returns as soon as nothing is open.
    pub async fn drain(&self) {
        drain::drain(&self.state).await;
    }

    /// Ends every connection and server, and keeps what is known for the next start.
    pub async fn stop(self) {
        self.state.proxy.stop().await;
        self.state.source.save().await;
        let Self { state, servers } = self;
        drop(servers);
        state.access.finish().await;
    }
}
