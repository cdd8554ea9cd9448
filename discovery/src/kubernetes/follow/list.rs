//! All objects of a kind: by a watch that begins with them where the server can, else in pages. Each is converted at once, so
//! that only what is kept of it stays. It must not compare a list with the one before.

use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Resource;
use kube::api::WatchEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::target::PAGE;
use super::{Fault, Follow, LINE, Name};

/// For a whole list by watching.
const STREAM: Duration = Duration::from_secs(120);

/// Between two lines of one. A server that does not know such lists may send what it has and then be silent.
const STREAM_SILENCE: Duration = Duration::from_secs(15);

/// What the bookmark after the last object bears (KEP-3157).
const END: &str = "k8s.io/initial-events-end";

/// All objects of a kind, at one version.
pub(super) struct Listed<F> {
    pub(super) items: Vec<(Name, F)>,
    pub(super) version: String,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    metadata: ListMeta,
    // An empty list may be null, and it is part of the form: without it the answer is some other object.
    items: Option<Vec<T>>,
}

/// How a list by watching failed.
enum Streamed {
    /// The server cannot do it.
    Unable,
    /// Something else.
    Fault(Fault),
}

impl<T, F, K> Follow<T, F, K>
where
    T: Resource + DeserializeOwned,
{
    pub(super) async fn list(&self) -> Result<Listed<F>, Fault> {
        if self.streaming.load(Ordering::Relaxed) {
            match self.stream().await {
                Ok(listed) => return Ok(listed),
                Err(Streamed::Fault(fault)) => return Err(fault),
                Err(Streamed::Unable) => {
                    self.streaming.store(false, Ordering::Relaxed);
                    tracing::debug!(
                        path = self.target.path,
                        "the server cannot list by watching; pages are asked for"
                    );
                }
            }
        }
        match self.pages(Some(PAGE)).await {
            // The list took longer than the server keeps its versions: all at once, then.
            Err(Fault::Gone) => self.pages(None).await,
            listed => listed,
        }
    }

    async fn pages(&self, limit: Option<usize>) -> Result<Listed<F>, Fault> {
        let mut items = Vec::new();
        let mut room = self.ceiling.bytes;
        let mut token = String::new();
        // The first page's: a server that goes on with newer data says so in the later ones, and what has changed meanwhile of
        // what stood on the first would never be told. client-go's pager keeps the first, too.
        let mut version = None;
        loop {
            let path = self.target.list_path(limit, &token);
            let page = self.api.fetch(&path, self.target.lists(), room).await;
            let (page, bytes): (Page<T>, usize) = match page {
                Err(Fault::TooLarge(_)) => return Err(Fault::TooLarge(self.ceiling.bytes)),
                page => page?,
            };
            room -= bytes;
            let objects = page.items.unwrap_or_default();
            let empty = objects.is_empty();
            items.extend(objects.into_iter().map(|object| self.keep(object)));
            if items.len() > self.ceiling.objects {
                return Err(Fault::TooMany(self.ceiling.objects));
            }
            let of_page = page.metadata.resource_version.unwrap_or_default();
            let version = version.get_or_insert(of_page);
            if version.is_empty() {
                return Err(Fault::Nonsense("a list without a version"));
            }
            token = page.metadata.continue_.unwrap_or_default();
            if token.is_empty() {
                let version = std::mem::take(version);
                return Ok(Listed { items, version });
            }
            if empty {
                return Err(Fault::Nonsense("a page of a list with nothing on it"));
            }
        }
    }

    async fn stream(&self) -> Result<Listed<F>, Streamed> {
        let path = self.target.stream_path(STREAM);
        let lines = self.api.lines(&path, self.target.events(), LINE).await;
        let mut lines = lines.map_err(|fault| match fault {
            Fault::Unprocessable(_) => Streamed::Unable,
            fault => Streamed::Fault(fault),
        })?;
        let mut items = Vec::new();
        let mut room = self.ceiling.bytes;
        loop {
            let line = match lines.next(STREAM_SILENCE).await {
                Ok(Some(line)) => line,
                // The list has no end mark.
                Ok(None) | Err(Fault::Silent(_)) => return Err(Streamed::Unable),
                Err(fault) => return Err(Streamed::Fault(fault)),
            };
            room = match room.checked_sub(line.len()) {
                Some(room) => room,
                None => return Err(Streamed::Fault(Fault::TooLarge(self.ceiling.bytes))),
            };
            match serde_json::from_slice::<WatchEvent<T>>(&line) {
                Ok(WatchEvent::Added(object)) => items.push(self.keep(object)),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    let version = bookmark.metadata.resource_version;
                    if bookmark.metadata.annotations.contains_key(END) && !version.is_empty() {
                        return Ok(Listed { items, version });
                    }
                }
                // Changes while the list is under way come after its end mark; before it they mean another kind of watch.
                Ok(WatchEvent::Modified(_) | WatchEvent::Deleted(_)) => {
                    return Err(Streamed::Unable);
                }
                Ok(WatchEvent::Error(status)) => {
                    let code = http::StatusCode::from_u16(status.code).unwrap_or_default();
                    let fault = Fault::from_status(code, None, status.message.as_bytes());
                    return Err(Streamed::Fault(fault));
                }
                Err(fault) => return Err(Streamed::Fault(Fault::garbage(&fault))),
            }
            if items.len() > self.ceiling.objects {
                return Err(Streamed::Fault(Fault::TooMany(self.ceiling.objects)));
            }
        }
    }

    fn keep(&self, object: T) -> (Name, F) {
        let name = Name::of(&object);
        (name, (self.convert)(object))
    }
}
