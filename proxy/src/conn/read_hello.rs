//! The hello stage: reads until a whole ClientHello is there, the client gives up, or its time is over. What the bytes
//! mean is the parser's business.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use super::{Client, Conn, proxy_header};
use crate::close::{Blame, Close, Reason, Stage};
use crate::hello::{Hello, Parser, Reject};
use crate::worker::Worker;

/// Most that one read takes: a whole hello of the default ceiling.
const READ: usize = 64 << 10;

/// Reads the hello; its bytes, and whatever came right behind them, are then in `conn.held`.
pub(super) async fn read_hello(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    client: &mut Client,
) -> Result<Hello, Close> {
    conn.enter(Stage::Hello);
    let mut parser = Parser::new(worker.config().limits.hello_bytes);
    let mut waits = false;
    let mut in_parts = false;
    let mut wants_header = proxy_header::is_due(worker, conn)?;
    loop {
        match take_what_is_there(worker, conn, client) {
            Ok(0) if conn.held.borrow().is_empty() => {
                return Err(conn.close(Reason::Probe, Blame::Downstream));
            }
            Ok(0) => return Err(cut(worker, conn, wants_header, Reason::HelloCut)),
            Ok(_) => {
                wants_header = wants_header && !proxy_header::take(worker, conn)?;
                if !wants_header {
                    match parser.advance(&conn.held.borrow()) {
                        Ok(Some(hello)) if worker.keep_whole(conn) => return Ok(hello),
                        Ok(Some(_)) => return Err(conn.close(Reason::Overloaded, Blame::Gateway)),
                        Ok(None) => {}
                        Err(reject) => return Err(refuse(worker, conn, reject)),
                    }
                }
                if !std::mem::replace(&mut in_parts, true) {
                    client.ack_at_once();
                }
            }
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) if conn.held.borrow().is_empty() => {
                return Err(conn.close(Reason::Probe, Blame::Downstream));
            }
            Err(_) => return Err(cut(worker, conn, wants_header, Reason::HelloCut)),
        }
        if !waits {
            waits = true;
            worker.wake_at(
                conn,
                conn.accepted.millis().after(worker.config().timeouts.hello),
            );
            worker.queue(conn);
        }
        worker.enforce_ceiling();
        if let Err(close) = wait(worker, conn, client).await {
            return Err(match close.reason {
                Reason::HelloTimeout => cut(worker, conn, wants_header, close.reason),
                _ => close,
            });
        }
    }
}

/// The end of a client of whose hello no more comes: for this reason, unless what did come is none.
fn cut(worker: &Worker, conn: &Conn, wants_header: bool, reason: Reason) -> Close {
    if !wants_header && let Some(reject) = Parser::at_end(&conn.held.borrow()) {
        return refuse(worker, conn, reject);
    }
    conn.close(reason, Blame::Downstream)
}

fn refuse(worker: &Worker, conn: &Conn, reject: Reject) -> Close {
    worker.stats().refused(reject);
    conn.set_reject(reject);
    conn.close(reject.reason(), Blame::Downstream)
}

fn take_what_is_there(worker: &Worker, conn: &Conn, client: &Client) -> io::Result<usize> {
    let mut scratch = worker.relay.scratch();
    let n = client.read_now(&mut scratch[..READ])?;
    worker.hold(conn, &scratch[..n]);
    Ok(n)
}

/// Until there is more to read.
async fn wait(worker: &Worker, conn: &Conn, client: &mut Client) -> Result<(), Close> {
    let socket = client
        .register()
        .map_err(|_| conn.close(Reason::Overloaded, Blame::Gateway))?;
    poll_fn(|cx| {
        if let Some(reason) = conn.asked_to_stop() {
            return Poll::Ready(Err(conn.close(reason, Blame::Gateway)));
        }
        if conn.is_due(worker.now()) {
            return Poll::Ready(Err(conn.close(Reason::HelloTimeout, Blame::Downstream)));
        }
        // An error of the socket is found by the read that follows.
        socket.poll_read_ready(cx).map(|_| Ok(()))
    })
    .await
}
