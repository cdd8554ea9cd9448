//! Sockets, TLS and HTTP/2 around streams. It must not know what they say.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::Snapshot;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tonic::Status;

use super::framing::{Replies, Requests, respond};
use super::registry::Registry;
use super::stream::{Delta, Shared, Sotw, responses};
use super::tls::{Certificates, TlsError};
use super::views::Views;
use crate::view::{Dead, Settings};

const SOTW: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const DELTA: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Connections at once; each client has one.
const CONNECTIONS: usize = 10_000;

/// Streams of a connection: one is usual, two while a client changes over.
const STREAMS: u32 = 8;

/// How long a TLS handshake may take, and then the first stream to be opened.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Quiet time before a client is asked whether it is still there, and how long it may take to answer: those of Istio's agent
/// towards istiod.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// Bytes that a client may send ahead of what is read, on a stream and on all of a connection: what Envoy says of itself fits.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;

/// Bytes that wait in a stream for a client that does not read.
const SEND_BUFFER: usize = 64 << 10;

/// Connections that have not been accepted yet, as in tokio's own listeners.
const BACKLOG: u32 = 1_024;

/// What a server needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its certificates; without them it speaks plaintext, to everybody who can reach the address.
    pub tls: Option<TlsFiles>,
    /// What clients are told.
    pub settings: Settings,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates of clients; a client without one is refused.
    pub client_ca: PathBuf,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address.
    #[error("cannot listen on {address}: {problem}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What is wrong with it.
        problem: io::Error,
    },
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running server; dropping it ends it with all its streams.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    registry: Arc<Registry>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the address, and serves once `open` is done: a client that connects before everything is known would be told
    /// that the rest is gone. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound or a certificate not be read.
    pub async fn start(
        config: Config,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        dead: watch::Receiver<Dead>,
        open: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, StartError> {
        let bind = |problem| StartError::Bind {
            address: config.address,
            problem,
        };
        let certificates = config.tls.map(Certificates::read).transpose()?;
        let listener = listen(config.address).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let registry = Arc::new(Registry::default());
        let settings = Arc::new(config.settings);
        let shared = Shared {
            settings: settings.clone(),
            views: Views::start(settings, snapshots, dead),
            registry: registry.clone(),
            unfinished: Arc::new(AtomicUsize::new(0)),
        };
        let task = tokio::spawn(async move {
            open.await;
            accept(listener, certificates.map(Arc::new), shared).await;
        });
        Ok(Self {
            address,
            registry,
            task,
        })
    }

    /// Where it listens, as it was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its streams.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A listener for HTTP. The wildcard `[::]` takes both families, whatever net.ipv6.bindv6only says. Needs a tokio runtime.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, certificates: Option<Arc<Certificates>>, shared: Shared) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(fault) => {
                    tracing::warn!(%fault, "the xDS server could not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Ok(place) = room.clone().try_acquire_owned() else {
            shared.registry.refused_connections.fetch_add(1, Relaxed);
            continue;
        };
        let (certificates, shared) = (certificates.clone(), shared.clone());
        connections.spawn(async move {
            connection(stream, peer, certificates.as_deref(), shared).await;
            drop(place);
        });
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    certificates: Option<&Certificates>,
    shared: Shared,
) {
    // Responses are written whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(certificates) = certificates else {
        return serve(stream, peer, shared).await;
    };
    // What only the handshake needs is given back after it.
    if let Some(serving) = Box::pin(over_tls(stream, peer, certificates, shared)).await {
        serving.await;
    }
}

/// Shakes hands; what serves the connection then.
async fn over_tls(
    stream: TcpStream,
    peer: SocketAddr,
    certificates: &Certificates,
    shared: Shared,
) -> Option<BoxFuture<'static, ()>> {
    let (config, read_again) = certificates.current();
    if let Some(outcome) = read_again {
        note_renewal(&shared.registry, outcome);
    }
    match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => Some(serve(stream, peer, shared).boxed()),
        failed => {
            shared.registry.refused_connections.fetch_add(1, Relaxed);
            let why = match failed {
                Ok(Err(fault)) => fault.to_string(),
                _ => "it took too long".into(),
            };
            tracing::debug!(%peer, why, "an xDS client's TLS handshake failed");
            None
        }
    }
}

fn note_renewal(registry: &Registry, outcome: Result<(), TlsError>) {
    let mut known = registry.tls_fault.lock();
    match outcome {
        Ok(()) => {
            tracing::info!("the xDS server's certificates have been read again");
            *known = None;
        }
        Err(fault) => {
            let fault = fault.to_string();
            if known.as_ref() != Some(&fault) {
                tracing::warn!(
                    fault,
                    "the xDS server's new certificates cannot be used; those before stay in force"
                );
            }
            *known = Some(fault);
        }
    }
}

/// Serves a connection until it ends. The connection's state is made on the heap at once: each future that it goes through would
/// keep room for it, three times its size for every idle client.
fn serve<S>(stream: S, peer: SocketAddr, shared: Shared) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let registry = shared.registry.clone();
    let asked = Arc::new(Notify::new());
    let asking = asked.clone();
    let service = service_fn(move |request| {
        asking.notify_one();
        ready(Ok::<_, Infallible>(answer(request, peer, shared.clone())))
    });
    let serving = Box::pin(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .max_concurrent_streams(STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_connection(TokioIo::new(stream), service),
    );
    async move {
        // Who connects and asks for nothing holds a place that others need.
        let silent = async {
            if timeout(HANDSHAKE, asked.notified()).await.is_ok() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            ended = serving => if let Err(fault) = ended {
                tracing::debug!(%peer, %fault, "an xDS client's connection ended badly");
            },
            () = silent => {
                registry.refused_connections.fetch_add(1, Relaxed);
                tracing::debug!(%peer, "whoever connected has opened no stream");
            }
        }
    }
}

fn answer(request: Request<Incoming>, peer: SocketAddr, shared: Shared) -> Response<Replies> {
    let make = match request.uri().path() {
        SOTW => responses::<Sotw>,
        DELTA => responses::<Delta>,
        path => {
            return Status::unimplemented(format!(
                "{path} is not served; there is {SOTW} and {DELTA}"
            ))
            .into_http();
        }
    };
    let requests = Requests::new(request.into_body(), shared.unfinished.clone());
    respond(make(requests, peer, shared))
}
