//! The three HTTP servers: bounded in connections and in patience, so that nobody can hold them up. What they answer is in
//! a file each, who stays when there are too many in `room`.

pub(crate) mod admin;
mod body;
pub(crate) mod ready;
mod room;
pub(crate) mod stats;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::Snapshot;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::body::Payload;
use self::room::{Debt, Owing, Room};
use crate::app::State;

/// How long a request's head may take, and how long a connection may be without one.
const PATIENCE: Duration = Duration::from_secs(10);

/// How old a connection grows before it ends after the answer that is under way, or soon without: one that asks again and
/// again and reads nothing would keep its place for ever.
const AGE: Duration = Duration::from_secs(60);

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;

/// Who answers, so that our own command line knows a gateway when it meets one.
pub(crate) const SERVER: &str = "causeway";

/// An answer.
pub(crate) type Answer = Response<Payload>;

/// What one of the servers answers: an async function of the gateway's state and the request.
pub(crate) trait Answerer: Clone + Send + Sync + 'static {
    /// The answer to one request.
    fn answer(
        &self,
        state: Arc<State>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send;
}

impl<F, A> Answerer for F
where
    F: Fn(Arc<State>, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send,
{
    fn answer(
        &self,
        state: Arc<State>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send {
        self(state, request)
    }
}

/// A running server; dropping it ends it.
pub(crate) struct Server(JoinHandle<()>);

impl Server {
    /// Serves until dropped.
    pub(crate) fn start(listener: TcpListener, state: Arc<State>, answer: impl Answerer) -> Self {
        Self(tokio::spawn(serve(listener, state, answer)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Binds an address for a server.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = xds::server::listen(address);
    bound.with_context(|| format!("cannot listen on {address}: is another gateway running, or the address not this machine's?"))
}

async fn serve(listener: TcpListener, state: Arc<State>, answer: impl Answerer) {
    let mut room = Room::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if room.make_place() {
                    // Who came before may have asked by now, and is not pushed out unheard by a crowd behind them.
                    tokio::task::yield_now().await;
                }
                let debt = Arc::new(Debt::default());
                let serving = connection(stream, debt.clone(), state.clone(), answer.clone());
                room.admit(tokio::spawn(serving).abort_handle(), debt);
            }
            Err(fault) => {
                tracing::warn!(%fault, "an HTTP server could not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, debt: Arc<Debt>, state: Arc<State>, answer: impl Answerer) {
    let service = service_fn(|request| {
        debt.ask();
        let answering = answer.answer(state.clone(), request);
        let debt = &debt;
        async move {
            let answer = answering.await;
            debt.answer();
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = Owing::new(stream, debt.clone());
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let ended = match timeout(AGE, serving.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            serving.as_mut().graceful_shutdown();
            timeout(PATIENCE, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(fault) = ended {
        tracing::debug!(%fault, "an HTTP connection ended badly");
    }
}

/// An answer with a text.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

/// An answer with JSON, for people too.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    match serde_json::to_string_pretty(value) {
        Ok(body) => with_type(status, "application/json", body + "\n"),
        Err(fault) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("this cannot be shown: {fault}\n"),
        ),
    }
}

/// An answer of this type.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    of_type(status, content_type, Payload::Whole(Full::new(body.into())))
}

/// An answer that is written service by service.
pub(crate) fn snapshot(snapshot: Arc<Snapshot>) -> Answer {
    of_type(
        StatusCode::OK,
        "application/json",
        Payload::snapshot(snapshot),
    )
}

/// An answer that is written piece by piece.
pub(crate) fn pieces(
    content_type: &'static str,
    pieces: impl Iterator<Item = Bytes> + Send + 'static,
) -> Answer {
    let body = Payload::Pieces(Box::new(pieces));
    of_type(StatusCode::OK, content_type, body)
}

fn of_type(status: StatusCode, content_type: &'static str, body: Payload) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::SERVER, SERVER),
    ] {
        let value = header::HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Nothing is there, but these paths are.
pub(crate) fn not_found(paths: &[&str]) -> Answer {
    text(
        StatusCode::NOT_FOUND,
        format!("nothing is here; there are:\n{}\n", paths.join("\n")),
    )
}

/// What a request asks for behind its path, decoded; a parameter that stands twice counts the first time.
pub(crate) fn parameter(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Only GET is answered here.
pub(crate) fn only_get() -> Answer {
    text(
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET is answered here\n",
    )
}
