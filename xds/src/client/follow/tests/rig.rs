//! A server by the book behind real sockets: HTTP/2, with TLS if it is given an authority. It decides nothing about resources.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::{Mutex, MutexGuard};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request as Call, Response as Answer, Status, Streaming};

use crate::client::book::Book;
use crate::client::{Kind, Mode, Node, Request, Response, Server, Settings};
use crate::proto::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use crate::proto::protobuf::Any;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is waited for, but not for ever.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes")
}

/// A running server with one client.
pub(super) struct Rig {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    running: Option<JoinHandle<()>>,
}

struct Shared {
    /// The best protocol that it speaks.
    mode: Mode,
    book: Mutex<Book>,
    /// Token and cluster of each caller.
    callers: Mutex<Vec<(String, String)>>,
    /// How long it says nothing, not even that there is a stream.
    silence: Mutex<Duration>,
    /// Goes up with every change; the other says whether requests for endpoints wait.
    changes: watch::Sender<(u64, bool)>,
}

impl Rig {
    /// A server in plaintext, on a free port. One of [`Mode::Sotw`] knows no other.
    pub(super) async fn start(mode: Mode) -> Self {
        Self::start_with(mode, None).await
    }

    /// A server whose certificate is this authority's.
    pub(super) async fn start_with(mode: Mode, authority: Option<&Authority>) -> Self {
        let shared = Shared {
            mode,
            book: Mutex::default(),
            callers: Mutex::default(),
            silence: Mutex::default(),
            changes: watch::channel((0, false)).0,
        };
        let mut rig = Self {
            shared: Arc::new(shared),
            tls: authority.map(Authority::acceptor),
            address: ([127, 0, 0, 1], 0).into(),
            running: None,
        };
        rig.again().await;
        rig
    }

    /// Listens again where it did before.
    pub(super) async fn again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("bound");
        self.address = listener.local_addr().expect("an address");
        let (shared, tls) = (self.shared.clone(), self.tls.clone());
        self.running = Some(tokio::spawn(accept(listener, tls, shared)));
    }

    /// Ends it with all its streams; what it holds stays.
    pub(super) async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.abort();
        let ended = running.await;
        assert!(ended.is_err_and(|end| end.is_cancelled()));
    }

    /// What a client of it is told.
    pub(super) fn settings(&self, mode: Mode) -> Settings {
        Settings {
            server: Server {
                address: self.address.to_string(),
                ..Server::default()
            },
            node: Node {
                network: "n1".into(),
                ..Node::default()
            },
            mode,
            ..Settings::default()
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock()
    }

    /// Waits until the server knows something of its client.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Book) -> bool) {
        let waiting = async {
            while !holds(&self.book()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "waited in vain until {what}");
    }

    /// Puts a resource, or takes it away, and tells the client.
    pub(super) fn put(&self, kind: Kind, name: &str, body: Option<Any>) {
        self.book().set(kind, name, body);
        self.shared.changes.send_modify(|(change, _)| *change += 1);
    }

    /// Says nothing of new streams for so long.
    pub(super) fn be_silent(&self, silence: Duration) {
        *self.shared.silence.lock() = silence;
    }

    /// A connection to it that needs no socket, so that the clock can stand still.
    pub(super) async fn channel(&self) -> Channel {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve(far, self.shared.clone()));
        // Asked as often as a server is in earnest.
        let endpoint = Endpoint::from_static("http://rig")
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        let connected = endpoint.connect_with_connector(Once(Some(near))).await;
        connected.expect("connected")
    }

    /// Lets requests for endpoints wait, or answers them; changes are told all the same.
    pub(super) fn hold(&self, hold: bool) {
        self.shared.changes.send_modify(|(_, held)| *held = hold);
    }

    /// Token and cluster of each caller, in order.
    pub(super) fn callers(&self) -> Vec<(String, String)> {
        self.shared.callers.lock().clone()
    }
}

/// Connects once, to what is there already.
struct Once(Option<DuplexStream>);

impl Service<http::Uri> for Once {
    type Response = TokioIo<DuplexStream>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| std::io::ErrorKind::NotConnected.into()))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

/// Signs the server's certificate.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.0).expect("a leaf");
        let chain = CertificateDer::from_pem_slice(leaf.pem().as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("they go together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config).into()
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accepted");
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, shared).await,
                Some(tls) => {
                    // Who does not trust it hangs up.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = AggregatedDiscoveryServiceServer::new(Ads(shared));
    let service = service_fn(move |request| {
        let mut service = service.clone();
        async move {
            Ok::<_, Infallible>(
                service
                    .call(request)
                    .await
                    .unwrap_or_else(|never| match never {}),
            )
        }
    });
    let serving = http2::Builder::new(TokioExecutor::new());
    // A client that hangs up is no fault.
    let _ = serving
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

struct Ads(Arc<Shared>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream =
        UnboundedReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream =
        UnboundedReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        call: Call<Streaming<DiscoveryRequest>>,
    ) -> Result<Answer<Self::StreamAggregatedResourcesStream>, Status> {
        self.note(call.metadata()).await;
        let (answers, stream) = unbounded_channel();
        let shared = self.0.clone();
        let out = |response| match response {
            Response::Sotw(response) => response,
            Response::Delta(_) => panic!("the other protocol"),
        };
        tokio::spawn(converse(
            shared,
            call.into_inner(),
            Request::Sotw,
            out,
            answers,
        ));
        Ok(Answer::new(UnboundedReceiverStream::new(stream)))
    }

    async fn delta_aggregated_resources(
        &self,
        call: Call<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Answer<Self::DeltaAggregatedResourcesStream>, Status> {
        if self.0.mode == Mode::Sotw {
            return Err(Status::unimplemented("delta is not spoken here"));
        }
        self.note(call.metadata()).await;
        let (answers, stream) = unbounded_channel();
        let shared = self.0.clone();
        let out = |response| match response {
            Response::Delta(response) => response,
            Response::Sotw(_) => panic!("the other protocol"),
        };
        tokio::spawn(converse(
            shared,
            call.into_inner(),
            Request::Delta,
            out,
            answers,
        ));
        Ok(Answer::new(UnboundedReceiverStream::new(stream)))
    }
}

impl Ads {
    /// Has who calls on record, and keeps them waiting where it is silent.
    async fn note(&self, metadata: &MetadataMap) {
        let said = |key: &str| {
            let value = metadata.get(key).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let caller = (said("authorization"), said("clusterid"));
        self.0.callers.lock().push(caller);
        let silence = *self.0.silence.lock();
        if !silence.is_zero() {
            tokio::time::sleep(silence).await;
        }
    }
}

/// One stream, until the client ends it.
async fn converse<Q, A>(
    shared: Arc<Shared>,
    mut requests: Streaming<Q>,
    wrap: fn(Q) -> Request,
    unwrap: fn(Response) -> A,
    answers: UnboundedSender<Result<A, Status>>,
) {
    let mut changes = shared.changes.subscribe();
    let mut waiting = Vec::new();
    let mut is_delta = false;
    shared.book.lock().disconnect();
    loop {
        let responses = tokio::select! {
            request = requests.message() => {
                let Ok(Some(request)) = request else {
                    return;
                };
                let request = wrap(request);
                is_delta = matches!(request, Request::Delta(_));
                if changes.borrow().1 && is_for_endpoints(&request) {
                    waiting.push(request);
                    continue;
                }
                shared.book.lock().request(request).into_iter().collect()
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                let (_, is_held) = *changes.borrow_and_update();
                let late = match is_held {
                    true => Vec::new(),
                    false => std::mem::take(&mut waiting),
                };
                let mut book = shared.book.lock();
                let late = late.into_iter();
                let mut responses: Vec<_> = late.filter_map(|request| book.request(request)).collect();
                responses.extend(book.push(is_delta));
                responses
            }
        };
        for response in responses {
            if answers.send(Ok(unwrap(response))).is_err() {
                return;
            }
        }
    }
}

fn is_for_endpoints(request: &Request) -> bool {
    let type_url = match request {
        Request::Delta(request) => &request.type_url,
        Request::Sotw(request) => &request.type_url,
    };
    Kind::of(type_url) == Some(Kind::Endpoints)
}
