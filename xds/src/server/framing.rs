//! gRPC's messages on HTTP/2 (its PROTOCOL-HTTP2.md, "Requests" and "Responses"): five bytes, then the message. Most streams are
//! idle, so no buffer is kept while nothing is on its way; and what many clients are told is not copied for each. It must not
//! know what messages say.

mod replies;

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use std::vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

pub(super) use self::replies::{Messages, Replies, respond};

/// Before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Bytes of a request: Envoy's node has 61 KB, and a client that comes back names everything that it has.
const REQUEST: usize = 16 << 20;

/// Bytes of all requests that have not come to their end: beyond it whoever sends more is ended, so that many half requests
/// cannot take the gateway's memory. Twenty of the largest, or those of 4,000 Envoys that connect at once.
const UNFINISHED: usize = 256 << 20;

/// How long a request may be on its way: half requests of a few clients must not take what all have.
const WHOLE: Duration = Duration::from_secs(30);

/// What a client says.
#[derive(Debug)]
pub(super) struct Requests {
    body: Incoming,
    buffer: BytesMut,
    /// When what is in the buffer began to come; only while something is.
    begun: Option<Instant>,
    share: Share,
}

/// How much of [`UNFINISHED`] a stream has taken; given back when it is dropped.
#[derive(Debug)]
struct Share {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Requests {
    /// Reads them from a body; `unfinished` is what all streams of a server count together.
    pub(super) fn new(body: Incoming, unfinished: Arc<AtomicUsize>) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            begun: None,
            share: Share {
                all: unfinished,
                own: 0,
            },
        }
    }

    /// The next message; `None` at the end. Nothing is lost when this is dropped while it waits.
    ///
    /// # Errors
    /// When the connection fails, or a message is compressed, too large, too slow, cut short or cannot be read.
    pub(super) async fn message<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = whole(&mut self.buffer)? {
                self.share.holds(self.buffer.len())?;
                self.begun = None;
                let read = M::decode(message);
                return read.map(Some).map_err(|fault| {
                    Status::invalid_argument(format!("a request cannot be read: {fault}"))
                });
            }
            self.share.holds(self.buffer.len())?;
            if !self.buffer.is_empty() && self.begun.is_none() {
                self.begun = Some(Instant::now());
            }
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = match self.begun {
                None => frame.await,
                Some(begun) => timeout_at(begun + WHOLE, frame).await.map_err(|_| {
                    Status::deadline_exceeded(format!(
                        "a request was still not whole {WHOLE:?} after it began"
                    ))
                })?,
            };
            match frame {
                Some(Ok(frame)) => {
                    // Trailers of a client say nothing.
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(fault)) => return Err(Status::unknown(fault.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::internal("the stream ended within a request")),
            }
        }
    }
}

impl Share {
    /// Notes how much this stream holds now.
    fn holds(&mut self, bytes: usize) -> Result<(), Status> {
        if bytes == self.own {
            return Ok(());
        }
        self.all.fetch_sub(self.own, Relaxed);
        let others = self.all.fetch_add(bytes, Relaxed);
        self.own = bytes;
        if others + bytes > UNFINISHED {
            return Err(Status::resource_exhausted(format!(
                "the unfinished requests of all clients have more than {UNFINISHED} bytes; connect again later"
            )));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Relaxed);
    }
}

/// Takes a whole message out of the buffer, if one is there.
fn whole(buffer: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some((head, rest)) = buffer.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err(Status::unimplemented(
            "compressed requests are not read; send them plain",
        ));
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > REQUEST {
        return Err(Status::resource_exhausted(format!(
            "a request has {length} bytes, more than {REQUEST}"
        )));
    }
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(HEAD);
    let message = buffer.split_to(length).freeze();
    if buffer.is_empty() {
        // What is split off would keep all of it alive.
        *buffer = BytesMut::new();
    }
    Ok(Some(message))
}

/// A response on its way: what is only its own, then resources, whose bytes many responses share.
#[derive(Debug)]
pub(super) struct Framed {
    /// Never empty while something is left.
    now: Bytes,
    rest: vec::IntoIter<Bytes>,
    left: usize,
}

impl Framed {
    /// A message of these fields followed by these resources; none of them is empty.
    ///
    /// # Errors
    /// When it is longer than gRPC can say.
    pub(super) fn new(fields: &[u8], resources: Vec<Bytes>) -> Result<Self, Status> {
        let length = fields.len() + resources.iter().map(Bytes::len).sum::<usize>();
        let told = u32::try_from(length)
            .map_err(|_| Status::internal(format!("a response has {length} bytes")))?;
        let mut now = BytesMut::with_capacity(HEAD + fields.len());
        now.put_u8(0);
        now.put_u32(told);
        now.put_slice(fields);
        Ok(Self {
            now: now.freeze(),
            rest: resources.into_iter(),
            left: HEAD + length,
        })
    }
}

impl Buf for Framed {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        &self.now
    }

    fn advance(&mut self, mut count: usize) {
        self.left = self.left.saturating_sub(count);
        while count >= self.now.len() {
            count -= self.now.len();
            let Some(next) = self.rest.next() else {
                self.now = Bytes::new();
                return;
            };
            self.now = next;
        }
        self.now.advance(count);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        if self.now.is_empty() {
            return 0;
        }
        let parts = std::iter::once(&self.now).chain(self.rest.as_slice());
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests;
