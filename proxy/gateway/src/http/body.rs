//! Bodies of answers: whole ones, and those that are written piece by piece, because a million endpoints must not be one
//! string. A reader that is slow holds one piece, and the next is made when it has taken that.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use model::Snapshot;

/// The body of an answer.
pub(crate) enum Payload {
    /// All of it.
    Whole(Full<Bytes>),
    /// Piece by piece.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>),
}

/// A snapshot on its way out, service by service.
struct Writing {
    snapshot: Arc<Snapshot>,
    next: Next,
}

#[derive(Clone, Copy)]
enum Next {
    Head,
    /// The service at this place of this chunk of the list.
    Service(usize, usize),
    Nothing,
}

impl Payload {
    /// A snapshot as JSON.
    pub(crate) fn snapshot(snapshot: Arc<Snapshot>) -> Self {
        Self::Pieces(Box::new(Writing {
            snapshot,
            next: Next::Head,
        }))
    }
}

impl Iterator for Writing {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunks = self.snapshot.services.chunks();
        match self.next {
            Next::Head => {
                self.next = Next::Service(0, 0);
                let head = serde_json::json!({
                    "version": self.snapshot.version,
                    "networks": self.snapshot.networks,
                    "passthrough": self.snapshot.passthrough,
                });
                let mut text = head.to_string();
                // The object goes on.
                text.pop();
                text.push_str(",\"services\":[\n");
                Some(text.into())
            }
            Next::Service(chunk, place) => match chunks.get(chunk) {
                None => {
                    self.next = Next::Nothing;
                    Some(Bytes::from_static(b"]}\n"))
                }
                Some(services) => {
                    let Some(service) = services.get(place) else {
                        self.next = Next::Service(chunk + 1, 0);
                        return self.next();
                    };
                    let last = chunk + 1 == chunks.len() && place + 1 == services.len();
                    self.next = Next::Service(chunk, place + 1);
                    let mut text =
                        serde_json::to_vec(&**service).unwrap_or_else(|_| b"null".to_vec());
                    text.extend_from_slice(if last { b"\n" } else { b",\n" });
                    Some(text.into())
                }
            },
            Next::Nothing => None,
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Pieces(pieces) => {
                // There may be hundreds, and a worker may share the core: it need not wait for the end of our time slice.
                std::thread::yield_now();
                Poll::Ready(pieces.next().map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Chunked, Hostname, Service};

    use super::*;

    fn snapshot(services: usize) -> Arc<Snapshot> {
        let service = |n: usize| {
            Arc::new(Service {
                host: Hostname::parse(&format!("s{n}")).expect("a host name"),
                ports: Vec::new(),
                subsets: BTreeMap::new(),
                policy: Arc::default(),
                endpoints: Chunked::from_items(Vec::new()),
            })
        };
        Arc::new(Snapshot {
            version: 7,
            services: Chunked::from_items((0..services).map(service).collect()),
            ..Snapshot::default()
        })
    }

    /// What was written piece by piece is the snapshot, and no piece is more than a service.
    #[test]
    fn a_snapshot_is_written_service_by_service() {
        for count in [0, 1, 3, 1_000] {
            let snapshot = snapshot(count);
            let writing = Writing {
                snapshot: snapshot.clone(),
                next: Next::Head,
            };
            let pieces: Vec<Bytes> = writing.collect();
            assert_eq!(pieces.len(), count + 2);
            let read: Snapshot = serde_json::from_slice(&pieces.concat()).expect("a snapshot");
            assert_eq!(read, *snapshot);
        }
    }
}
