//! The answer stage: the chosen endpoint has connected; the rest of the hello goes to it, and its first byte is waited
//! for. As long as the hello is held, an endpoint that closes here can be replaced without the client seeing it.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroU8;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::Conn;
use crate::close::{Blame, Close, Reason};
use crate::dial::{Attempt, Dial};
use crate::relay::{self, Behind, Leftover, Read};
use crate::sockets;
use crate::worker::Worker;

/// Most of the first answer that is read here; the relay reads the rest.
const READ: usize = 16 << 10;

/// `ContentType.alert`, RFC 8446 section 5.1.
const ALERT: u8 = 0x15;

/// `AlertDescription.internal_error`, RFC 8446 section 6: for an alert that is cut, or that says nothing (0 is `close_notify`).
const INTERNAL_ERROR: NonZeroU8 = NonZeroU8::new(80).unwrap();

/// What became of a hello that was sent.
#[derive(Debug)]
pub(super) enum Answer {
    /// The first bytes came, and went to the client but for what its socket did not take.
    Came(Option<Leftover>),
    /// The endpoint closed before its first byte, and may be replaced.
    Early,
    /// The client has sent more than its hello (or it took too long to hold it): this endpoint has to do.
    Committed,
}

/// Waits for the answer. Not an `async fn`: those keep what they are given twice. `watched`: the hello is all the client has sent and may be sent twice; `replay`: it may still be
/// sent to another endpoint.
pub(super) fn await_answer<'a>(
    worker: &'a Worker,
    conn: &'a Conn,
    client: &'a TcpStream,
    dial: &'a mut Dial,
    watched: bool,
    replay: bool,
) -> impl Future<Output = Result<Answer, Close>> + use<'a> {
    worker.wake_at(conn, worker.now().after(worker.config().timeouts.dial));
    conn.gateway_alert.set(None);
    poll_fn(move |cx| {
        if let Some(reason) = conn.asked_to_stop() {
            return Poll::Ready(Err(conn.close(reason, Blame::Gateway)));
        }
        let Some(attempt) = dial.reached() else {
            return Poll::Ready(Err(conn.close(Reason::Internal, Blame::Gateway)));
        };
        let outcome = match ready!(poll_answer(
            worker, conn, client, attempt, watched, replay, cx
        )) {
            Ok(answer) => Ok(answer),
            Err(_) if replay => Ok(Answer::Early),
            Err(_) => Err(conn.close(Reason::UpstreamClosedEarly, Blame::Upstream)),
        };
        Poll::Ready(outcome)
    })
}

/// An error means that the endpoint closed before its first byte.
fn poll_answer(
    worker: &Worker,
    conn: &Conn,
    client: &TcpStream,
    attempt: &mut Attempt,
    watched: bool,
    replay: bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Answer>> {
    if poll_send_rest(conn, attempt, cx)?.is_pending() {
        if conn.is_due(worker.now()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        return Poll::Pending;
    }
    if !watched {
        return Poll::Ready(Ok(Answer::Committed));
    }
    let mut scratch = worker.relay.scratch();
    if let Poll::Ready(read) = relay::read(cx, &attempt.stream, &mut scratch, READ) {
        let Read { bytes, behind, .. } = read?;
        let bytes = &scratch[..bytes];
        let alert = attempt.choice.gateway && bytes.first() == Some(&ALERT);
        // The record's header has five bytes, the alert's level one (RFC 8446 sections 5.1 and 6).
        let description = bytes.get(6).and_then(|byte| NonZeroU8::new(*byte));
        let description = description.unwrap_or(INTERNAL_ERROR);
        conn.gateway_alert.set(alert.then_some(description));
        if bytes.is_empty() || (alert && replay) {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken = match behind {
            Behind::End => relay::write_last(client, bytes),
            Behind::Unknown | Behind::Fault(_) => client.try_write(bytes),
        };
        // An error of the client's socket is found by the relay.
        let taken = taken.unwrap_or(0);
        let before = conn.moved();
        let received = before.1 + u64::try_from(taken).unwrap_or(0);
        conn.traffic.received.set(received);
        conn.see_traffic(before, worker);
        conn.behind_answer.set(behind);
        let rest = &bytes[taken..];
        let leftover = (!rest.is_empty()).then(|| worker.relay.leftover(rest));
        return Poll::Ready(Ok(Answer::Came(leftover)));
    }
    if conn.is_due(worker.now()) || client.poll_read_ready(cx).is_ready() {
        return Poll::Ready(Ok(Answer::Committed));
    }
    Poll::Pending
}

/// The part of a large hello that did not fit into the endpoint's socket at once.
fn poll_send_rest(
    conn: &Conn,
    attempt: &mut Attempt,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let held = conn.held.borrow();
    if attempt.sent < held.len() {
        sockets::hurry(&attempt.stream);
    }
    while attempt.sent < held.len() {
        ready!(attempt.stream.poll_write_ready(cx))?;
        match attempt.stream.try_write(&held[attempt.sent..]) {
            Ok(n) => attempt.sent += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
    Poll::Ready(Ok(()))
}
