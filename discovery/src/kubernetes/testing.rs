//! An API server for the tests of this crate, in process and without sockets: what it is told to hold or to answer. The real
//! one and the full fake are in `tests/`.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::api::Api;
use super::secret::Secret;

/// What is answered to one request.
pub(super) enum Reply {
    Status(u16, Value),
    Bytes(Bytes),
    Stream(UnboundedReceiver<Bytes>),
    /// A stream that ends by itself after so many seconds.
    Watch(UnboundedReceiver<Bytes>, u64),
    /// No answer at all.
    Never,
    /// The connection breaks.
    Broken,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) accept: String,
    pub(super) body: String,
}

#[derive(Default)]
struct Held {
    version: u64,
    /// By path of their list.
    lists: BTreeMap<String, Vec<Value>>,
    /// Fixed answers, by path.
    documents: BTreeMap<String, Value>,
    /// Every event, for watches that begin later.
    history: Vec<(u64, String, Bytes)>,
    watchers: Vec<(String, UnboundedSender<Bytes>)>,
    /// Given out first, by a part of the path.
    scripted: Vec<(String, VecDeque<Reply>)>,
    asked: Vec<Asked>,
    streaming: bool,
    token: Option<String>,
    down: bool,
}

/// An API server; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Fake {
    held: Arc<Mutex<Held>>,
    changed: Arc<tokio::sync::Notify>,
}

impl Fake {
    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { fake.answer(request).await }
        });
        Client::new(service, "default")
    }

    pub(super) fn api(&self) -> Api {
        Api::new(self.client(), None)
    }

    pub(super) fn api_with_token(&self, token: &str) -> (Api, watch::Sender<Secret>) {
        let (sender, receiver) = watch::channel(Secret::new(token));
        (Api::new(self.client(), Some(receiver)), sender)
    }

    /// Only this token is known from now on.
    pub(super) fn accept_only(&self, token: &str) {
        self.held().token = Some(token.into());
    }

    /// Every connection breaks from now on, or none does any more.
    pub(super) fn set_down(&self, down: bool) {
        let mut held = self.held();
        held.down = down;
        held.watchers.clear();
    }

    /// Lists by watching can be had.
    pub(super) fn stream_lists(&self) {
        self.held().streaming = true;
    }

    /// The next request whose path contains this gets that answer.
    pub(super) fn script(&self, path: &str, reply: Reply) {
        let mut held = self.held();
        match held.scripted.iter_mut().find(|(known, _)| known == path) {
            Some((_, replies)) => replies.push_back(reply),
            None => held.scripted.push((path.into(), VecDeque::from([reply]))),
        }
    }

    /// This is at this path, from now on.
    pub(super) fn serve(&self, path: &str, document: Value) {
        self.held().documents.insert(path.into(), document);
    }

    /// There is nothing at this path any more.
    pub(super) fn withdraw(&self, path: &str) {
        self.held().documents.remove(path);
    }

    /// An object of the list at this path is new or changed.
    pub(super) fn put(&self, list: &str, mut object: Value) {
        let mut held = self.held();
        held.version += 1;
        object["metadata"]["resourceVersion"] = json!(held.version.to_string());
        let objects = held.lists.entry(list.into()).or_default();
        let place = objects.iter().position(|known| same(known, &object));
        let kind = if place.is_some() { "MODIFIED" } else { "ADDED" };
        match place {
            Some(at) => objects[at] = object.clone(),
            None => objects.push(object.clone()),
        }
        held.tell(list, &json!({"type": kind, "object": object}));
    }

    /// An object is gone.
    pub(super) fn delete(&self, list: &str, namespace: &str, name: &str) {
        let wanted = json!({"metadata": {"namespace": namespace, "name": name}});
        let mut held = self.held();
        held.version += 1;
        let version = held.version.to_string();
        let objects = held.lists.entry(list.into()).or_default();
        let at = objects.iter().position(|known| same(known, &wanted));
        let mut object = objects.remove(at.expect("an object that is there"));
        object["metadata"]["resourceVersion"] = json!(version);
        held.tell(list, &json!({"type": "DELETED", "object": object}));
    }

    /// Empties a list without a word to those who watch, as if the server came back with other data.
    pub(super) fn forget(&self, list: &str) {
        self.held().lists.remove(list);
    }

    /// Breaks every watch.
    pub(super) fn break_watches(&self) {
        self.held().watchers.clear();
    }

    pub(super) fn watchers(&self) -> usize {
        self.held().watchers.len()
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.held().asked.clone()
    }

    /// Waits until the requests so far are as wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&[Asked]) -> bool) {
        loop {
            let changed = self.changed.notified();
            if wanted(&self.asked()) {
                return;
            }
            changed.await;
        }
    }

    async fn answer(
        &self,
        request: Request<Body>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Box<dyn std::error::Error + Send + Sync>>
    {
        let (head, body) = request.into_parts();
        let header = |name: &str| {
            let value = head.headers.get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let body = body.collect_bytes().await?;
        let asked = Asked {
            method: head.method.to_string(),
            path: head.uri.to_string(),
            authorization: header("authorization"),
            accept: header("accept"),
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        let reply = self.held().reply(asked);
        self.changed.notify_waiters();
        let (status, body) = match reply {
            Reply::Status(status, value) => (
                status,
                Full::new(Bytes::from(value.to_string())).boxed_unsync(),
            ),
            Reply::Bytes(bytes) => (200, Full::new(bytes).boxed_unsync()),
            Reply::Stream(pieces) => {
                let frames = pieces.map(|piece| Ok(hyper::body::Frame::data(piece)));
                (200, StreamBody::new(frames).boxed_unsync())
            }
            Reply::Watch(pieces, seconds) => {
                let end = tokio::time::sleep(Duration::from_secs(seconds));
                let frames = pieces
                    .map(|piece| Ok(hyper::body::Frame::data(piece)))
                    .take_until(end);
                (200, StreamBody::new(frames).boxed_unsync())
            }
            Reply::Never => std::future::pending().await,
            Reply::Broken => return Err("connection refused".into()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status)?;
        Ok(response)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no test panics with it")
    }
}

impl Held {
    fn tell(&mut self, list: &str, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        self.history
            .push((self.version, list.to_owned(), line.clone()));
        self.watchers
            .retain(|(path, watcher)| path != list || watcher.unbounded_send(line.clone()).is_ok());
    }

    fn reply(&mut self, asked: Asked) -> Reply {
        let path = asked.path.clone();
        let authorization = asked.authorization.clone();
        self.asked.push(asked);
        if self.down {
            return Reply::Broken;
        }
        for (part, replies) in &mut self.scripted {
            if path.contains(part.as_str())
                && let Some(reply) = replies.pop_front()
            {
                return reply;
            }
        }
        if self
            .token
            .as_ref()
            .is_some_and(|token| authorization != format!("Bearer {token}"))
        {
            return Reply::Status(401, json!({"message": "Unauthorized"}));
        }
        let (list, query) = path.split_once('?').unwrap_or((&path, ""));
        if let Some(document) = self.documents.get(list) {
            return Reply::Status(200, document.clone());
        }
        if query.contains("watch=true") {
            let initial = query.contains("sendInitialEvents=true");
            if initial && !self.streaming {
                return Reply::Status(422, json!({"message": "the feature gate is off"}));
            }
            let (sender, pieces) = unbounded();
            if initial {
                for object in self.lists.get(list).into_iter().flatten() {
                    let line = format!("{}\n", json!({"type": "ADDED", "object": object}));
                    let _ = sender.unbounded_send(line.into());
                }
                let end = json!({"type": "BOOKMARK", "object": {"kind": "X", "apiVersion": "v1", "metadata": {
                    "resourceVersion": self.version.to_string(),
                    "annotations": {"k8s.io/initial-events-end": "true"}}}});
                let _ = sender.unbounded_send(format!("{end}\n").into());
            }
            let from = query.rsplit_once("resourceVersion=").map(|(_, from)| from);
            let from: u64 = from.and_then(|from| from.parse().ok()).unwrap_or(u64::MAX);
            for (version, of, line) in &self.history {
                if *version > from && of == list {
                    let _ = sender.unbounded_send(line.clone());
                }
            }
            self.watchers.push((list.into(), sender));
            let seconds = query
                .split('&')
                .find_map(|part| part.strip_prefix("timeoutSeconds="));
            let seconds = seconds.and_then(|seconds| seconds.parse().ok());
            return Reply::Watch(pieces, seconds.unwrap_or(300));
        }
        match self.lists.get(list) {
            Some(items) => Reply::Status(
                200,
                json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items}),
            ),
            None if list.ends_with("/kube-system") => Reply::Status(
                200,
                json!({"metadata": {"name": "kube-system", "uid": "the-uid"}}),
            ),
            None if list
                .rsplit('/')
                .next()
                .is_some_and(|last| last.ends_with('s')) =>
            {
                Reply::Status(
                    200,
                    json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": []}),
                )
            }
            None => Reply::Status(404, json!({"message": format!("{list} is not there")})),
        }
    }
}

fn same(one: &Value, other: &Value) -> bool {
    let name = |object: &Value| {
        let part = |key: &str| {
            object["metadata"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        (part("namespace"), part("name"))
    };
    name(one) == name(other)
}
