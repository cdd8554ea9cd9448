//! The body of an answer: messages, and at the end how it ended. It must not know what the messages say.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Body, Frame};
use tonic::Status;

use super::Framed;

/// Messages of an answer; nothing follows an error.
pub(in crate::server) type Messages =
    Pin<Box<dyn Stream<Item = Result<Framed, Status>> + Send + 'static>>;

/// What a client is told; without messages, nothing beyond the headers.
#[derive(Default)]
pub(in crate::server) struct Replies(Option<Messages>);

/// An answer with these messages.
pub(in crate::server) fn respond(messages: Messages) -> Response<Replies> {
    let mut response = Response::new(Replies(Some(messages)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

impl Body for Replies {
    type Data = Framed;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Framed>, Infallible>>> {
        let Some(messages) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let status = match ready!(messages.as_mut().poll_next(cx)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Its words cannot stand in a header.
        let _ = Status::new(status.code(), "").add_header(&mut trailers);
    }
    trailers
}
