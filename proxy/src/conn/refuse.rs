//! How a client is told that it will not be served: a TLS alert, FIN, and a moment in which what it still sends is thrown
//! away, because closing on unread bytes would reset the alert away. It must not decide why.

use std::future::poll_fn;
use std::io::Read;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::num::NonZeroU8;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::{Client, Conn};
use crate::close::{Reason, Stage};
use crate::worker::Worker;

/// How long what a refused client still sends is thrown away.
const LINGER: Duration = Duration::from_secs(1);

/// Most that is thrown away.
const DISCARD: usize = 256 << 10;

/// `AlertDescription`, RFC 8446 section 6; `unrecognized_name` is RFC 6066 section 3's.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Alert {
    CloseNotify = 0,
    IllegalParameter = 47,
    DecodeError = 50,
    InternalError = 80,
    UnrecognizedName = 112,
}

/// Ends a connection that was never relayed.
pub(super) async fn refuse(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    mut client: Client,
    reason: Reason,
) {
    if says_nothing(reason, conn.stage()) {
        return;
    }
    let Ok(socket) = client.register() else {
        return;
    };
    // What another network's gateway said is passed on, also where its endpoint could have been replaced and none was left.
    let passed_on = conn
        .gateway_alert
        .get()
        .filter(|_| reason == Reason::GatewayAlert)
        .map(NonZeroU8::get);
    let own = || alert(reason, conn.stage()).map(|alert| alert as u8);
    if let Some(description) = passed_on.or_else(own) {
        let _ = SockRef::from(socket).send(&record(description));
    }
    let told = SockRef::from(socket).shutdown(Shutdown::Write).is_ok();
    // Who had to make room for another makes it now.
    if told && conn.asked_to_stop() != Some(Reason::Overloaded) {
        discard(worker, conn, socket).await;
    }
}

/// Tells a client that there is no room for it, without waiting for anything: for where not even a descriptor can be kept. What
/// it has sent so far is read, because closing on unread bytes would reset the alert away; what it sends later may do that.
pub(crate) fn turn_away_at_once(mut socket: &StdTcpStream) {
    let mut unread = [0; 4 << 10];
    for _ in 0..DISCARD / unread.len() {
        if !matches!(socket.read(&mut unread), Ok(1..)) {
            break;
        }
    }
    let _ = SockRef::from(socket).send(&record(Alert::InternalError as u8));
    let _ = socket.shutdown(Shutdown::Write);
}

/// An alert, protocol version 3.3 as every version of TLS accepts it: fatal, but for `close_notify`, which is a warning (RFC
/// 5246 section 7.2.1).
const fn record(description: u8) -> [u8; 7] {
    let level = if description == Alert::CloseNotify as u8 {
        1
    } else {
        2
    };
    [0x15, 0x03, 0x03, 0x00, 0x02, level, description]
}

/// A client that is gone, or that has not spoken, is told nothing.
fn says_nothing(reason: Reason, stage: Stage) -> bool {
    use Reason::{ClientGone, HelloCut, HelloTimeout, Probe, Stopped};
    match reason {
        ClientGone | HelloCut | HelloTimeout | Stopped => true,
        Probe => stage <= Stage::Hello,
        _ => false,
    }
}

fn alert(reason: Reason, stage: Stage) -> Option<Alert> {
    use Reason as R;
    match reason {
        // Another gateway's, which is told what a client would be; `close_notify` says that there is nothing wrong.
        R::Probe if stage == Stage::Answer => Some(Alert::CloseNotify),
        R::Probe if stage == Stage::Route => Some(Alert::UnrecognizedName),
        R::NotTls | R::ProxyHeaderMissing | R::ProxySourceRefused => None,
        R::MalformedHello | R::HelloTooLarge => Some(Alert::DecodeError),
        R::TwoNames | R::DuplicateExtension => Some(Alert::IllegalParameter),
        // One answer for all of them: what exists here is not told to those who guess.
        R::NoName
        | R::BadName
        | R::AlpnRefused
        | R::NotMeshName
        | R::UnknownService
        | R::UnknownPort
        | R::UnknownSubset => Some(Alert::UnrecognizedName),
        _ => Some(Alert::InternalError),
    }
}

async fn discard(worker: &Worker, conn: &Conn, socket: &TcpStream) {
    worker.wake_at(conn, worker.now().after(LINGER));
    let mut discarded = 0;
    poll_fn(|cx| {
        while socket.poll_read_ready(cx).is_ready() {
            let mut scratch = worker.relay.scratch();
            match socket.try_read(&mut scratch[..]) {
                Ok(0) => return Poll::Ready(()),
                Ok(n) => discarded += n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
            if discarded > DISCARD {
                return Poll::Ready(());
            }
        }
        if conn.is_due(worker.now()) || conn.asked_to_stop() == Some(Reason::Stopped) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}
