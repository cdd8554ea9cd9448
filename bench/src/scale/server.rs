//! The API server of one synthetic cluster, in this process and without sockets: it writes each object when it is asked for
//! one, so that it takes no memory worth counting. Lists are streamed, as current servers do it (KEP-3157). It must not know
//! who reads.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;

use super::changes::Changed;
use super::objects::{self, List};
use super::process;
use super::shape::Shape;

/// Between two signs of life of a watch.
const BOOKMARK: Duration = Duration::from_secs(10);

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// A cluster's API server; clones are the same one.
#[derive(Clone)]
pub(super) struct Server(Arc<Held>);

struct Held {
    shape: Shape,
    cluster: usize,
    version: AtomicU64,
    watchers: Mutex<Vec<(List, UnboundedSender<Bytes>)>>,
    /// Nanoseconds of processor time that were spent on writing objects.
    spent: AtomicU64,
}

impl Server {
    pub(super) fn new(shape: Shape, cluster: usize) -> Self {
        Self(Arc::new(Held {
            shape,
            cluster,
            version: AtomicU64::new(1),
            watchers: Mutex::default(),
            spent: AtomicU64::new(0),
        }))
    }

    /// A connection to it.
    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = server.answer(request.uri());
            async move { Ok::<_, Infallible>(answer) }
        });
        Client::new(service, "default")
    }

    /// What writing objects has cost so far, which a gateway does not pay.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.spent.load(Relaxed))
    }

    /// The event of a changed slice, as a line.
    pub(super) fn event(&self, changed: Changed) -> Bytes {
        let version = self.0.version.fetch_add(1, Relaxed) + 1;
        let list = List::Slices;
        let object = self.object(list, changed.slice, changed.unready, version);
        line("MODIFIED", &object)
    }

    /// Tells all who watch the slices.
    pub(super) fn tell(&self, line: &Bytes) {
        let mut watchers = self.watchers();
        watchers.retain(|(list, watcher)| {
            *list != List::Slices || watcher.unbounded_send(line.clone()).is_ok()
        });
    }

    /// Every object of a list, each as the line of a streamed list.
    pub(super) fn lines(&self, list: List) -> impl Iterator<Item = Bytes> + Send + use<> {
        let server = self.clone();
        let count = objects::count(&self.0.shape, self.0.cluster, list);
        (0..count).map(move |at| {
            let begun = process::cpu_of_thread();
            let line = line("ADDED", &server.object(list, at, 0, 1));
            let spent = process::cpu_of_thread() - begun;
            let spent = u64::try_from(spent.as_nanos()).unwrap_or(0);
            server.0.spent.fetch_add(spent, Relaxed);
            line
        })
    }

    fn object(&self, list: List, at: usize, unready: u128, version: u64) -> String {
        objects::object(&self.0.shape, self.0.cluster, list, at, unready, version)
    }

    fn answer(&self, uri: &http::Uri) -> Response<Answer> {
        let query = uri.query().unwrap_or_default();
        let body = match List::of(uri.path()) {
            Some(list) if query.contains("sendInitialEvents=true") => streamed(self.list(list)),
            Some(list) if query.contains("watch=true") => streamed(self.watch(list)),
            // Nobody asks for pages of a server that streams.
            Some(_) => return refused(),
            None => match document(uri.path(), self.0.cluster) {
                Some(text) => Full::new(Bytes::from(text)).boxed_unsync(),
                None => return refused(),
            },
        };
        Response::new(body)
    }

    fn list(&self, list: List) -> impl Stream<Item = Bytes> + Send + use<> {
        let objects = stream::iter(self.lines(list)).then(|line| async move {
            // A socket, too, lets others have their turn between two pieces.
            tokio::task::yield_now().await;
            line
        });
        let end = bookmark(1, r#","annotations":{"k8s.io/initial-events-end":"true"}"#);
        objects.chain(stream::iter([end]))
    }

    fn watch(&self, list: List) -> impl Stream<Item = Bytes> + Send + use<> {
        let (watcher, events) = unbounded();
        self.watchers().push((list, watcher));
        let server = self.clone();
        let ticks = stream::unfold((), |()| async {
            tokio::time::sleep(BOOKMARK).await;
            Some(((), ()))
        });
        let bookmarks = ticks.map(move |()| bookmark(server.0.version.load(Relaxed), ""));
        stream::select(events, bookmarks)
    }

    fn watchers(&self) -> std::sync::MutexGuard<'_, Vec<(List, UnboundedSender<Bytes>)>> {
        self.0
            .watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn streamed(lines: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    StreamBody::new(lines.map(|line| Ok(Frame::data(line)))).boxed_unsync()
}

fn refused() -> Response<Answer> {
    let text = r#"{"kind":"Status","message":"this server has nothing there"}"#;
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn line(kind: &str, object: &str) -> Bytes {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
}

fn bookmark(version: u64, annotations: &str) -> Bytes {
    let metadata = format!(r#"{{"resourceVersion":"{version}"{annotations}}}"#);
    line(
        "BOOKMARK",
        &format!(r#"{{"kind":"X","apiVersion":"v1","metadata":{metadata}}}"#),
    )
}

/// Answers that are no lists: who the cluster is, and which of Istio's kinds it has.
fn document(path: &str, cluster: usize) -> Option<String> {
    match path {
        "/api/v1/namespaces/kube-system" => Some(format!(
            r#"{{"metadata":{{"name":"kube-system","uid":"uid-{cluster}"}}}}"#
        )),
        "/apis/networking.istio.io" if cluster == 0 => {
            Some(r#"{"versions":[{"version":"v1"}]}"#.into())
        }
        "/apis/networking.istio.io/v1" if cluster == 0 => {
            Some(r#"{"resources":[{"name":"gateways"}]}"#.into())
        }
        _ => None,
    }
}
