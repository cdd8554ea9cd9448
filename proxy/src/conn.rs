//! One connection, from accept to close, top to bottom. It must not know how names are parsed, endpoints are chosen or
//! bytes are moved: each stage has its own file.
//!
//! From the hello to the relay nothing here takes a lock or allocates, but for what tokio needs to register the upstream
//! socket.

mod answer;
mod client;
mod proxy_header;
mod read_hello;
mod record;
mod refuse;
mod report;

use std::future::poll_fn;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;

use self::answer::{Answer, await_answer};
use self::client::Client;
pub(crate) use self::record::Conn;
pub(crate) use self::refuse::turn_away_at_once;
use crate::clock::Millis;
use crate::close::{Blame, Close, Reason, Stage};
use crate::config::Role;
use crate::dial::Dial;
use crate::hello::Hello;
use crate::relay::{End, Leftover, Relay, Side};
use crate::sockets;
use crate::table::Route;
use crate::worker::Worker;

/// What the stages before the relay came to: the chosen upstream has the hello.
struct Opened {
    upstream: TcpStream,
    /// The upstream's first bytes, as far as the client's socket did not take them.
    leftover: Option<Leftover>,
}

/// Serves one client. The returned value is all that is ever said about how it ended.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps what it is given twice, and every connection pays for it"
)]
pub(crate) fn serve<'a>(
    worker: &'a Rc<Worker>,
    conn: &'a Rc<Conn>,
    socket: StdTcpStream,
) -> impl Future<Output = Close> + use<'a> {
    async move {
        keep_waker(conn).await;

        let mut client = Client::new(socket);
        let replayable = match read_hello::read_hello(worker, conn, &mut client).await {
            Ok(hello) => find_route(worker, conn, &hello),
            Err(close) => Err(close),
        };
        let opened = match replayable {
            Ok(replayable) => open(worker, conn, &mut client, replayable).await,
            Err(close) => Err(close),
        };
        conn.release_hello(worker);
        let opened = match opened {
            Ok(opened) => opened,
            Err(close) => {
                refuse::refuse(worker, conn, client, close.reason).await;
                return close;
            }
        };
        let Ok(mut relay) = begin_relay(worker, conn, client, opened) else {
            return conn.close(Reason::Internal, Blame::Gateway);
        };
        match relayed(worker, conn, &mut relay).await {
            Ok(end) => closed(conn, end),
            Err(reason) => conn.close(reason, Blame::Gateway),
        }
    }
}

/// The tick and the closer wake the task through this; it never changes while the task lives.
async fn keep_waker(conn: &Conn) {
    poll_fn(|cx| {
        conn.set_waker(cx.waker());
        Poll::Ready(())
    })
    .await;
}

/// Turns away a client beyond a limit, without reading its hello.
pub(crate) async fn turn_away(worker: &Rc<Worker>, conn: &Rc<Conn>, socket: StdTcpStream) -> Close {
    keep_waker(conn).await;
    let close = conn.close(Reason::Overloaded, Blame::Gateway);
    refuse::refuse(worker, conn, Client::new(socket), close.reason).await;
    close
}

/// pick -> dial -> answer. `replayable`: the hello may be sent to more than one endpoint.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps what it is given twice, and every connection pays for it"
)]
fn open<'a>(
    worker: &'a Worker,
    conn: &'a Conn,
    client: &'a mut Client,
    replayable: bool,
) -> impl Future<Output = Result<Opened, Close>> + use<'a> {
    async move {
        let began = worker.clock.micros();
        worker.stats().heard(began.since(conn.accepted));
        let client = client
            .register()
            .map_err(|_| conn.close(Reason::Overloaded, Blame::Gateway))?;

        let mut dial = Dial::new();
        loop {
            conn.enter(Stage::Dial);
            poll_fn(|cx| dial.poll(cx, worker, conn, client)).await?;
            conn.enter(Stage::Answer);
            let reached = worker.clock.micros();
            let replay = replayable && dial.may_replay();
            let answer = await_answer(worker, conn, client, &mut dial, replayable, replay).await;
            let leftover = match answer {
                Ok(Answer::Early) => {
                    dial.closed_early(worker, conn);
                    continue;
                }
                Ok(Answer::Came(leftover)) => {
                    dial.answered(conn, worker.now());
                    leftover
                }
                Ok(Answer::Committed) => None,
                Err(close) => {
                    match close.blame {
                        Blame::Upstream => dial.closed_early(worker, conn),
                        _ => dial.stopped(worker, conn),
                    }
                    return Err(close);
                }
            };
            let Some(attempt) = dial.take() else {
                return Err(conn.close(Reason::Internal, Blame::Gateway));
            };
            let tier = attempt.choice.tier;
            worker.stats().reached(tier, reached.since(began));
            let upstream = attempt.keep(worker, conn);
            return Ok(Opened { upstream, leftover });
        }
    }
}

/// The route for this hello on this listener; whether the hello is all the client has said and may be said twice. A mesh listener wants one of the mesh's ALPN values first: the gate keeps
/// arbitrary TLS off mesh services (Istio's AUTO_PASSTHROUGH chains match on the same five).
fn find_route(worker: &Worker, conn: &Conn, hello: &Hello) -> Result<bool, Close> {
    conn.enter(Stage::Route);
    // A hello that came in one piece has not been held to it yet.
    worker.enforce_ceiling();
    conn.alpn.set(hello.alpn);
    let listener = worker.bound(conn.listener);
    let name = hello.name.as_str();
    let found = if listener.role != Role::Passthrough && !hello.alpn.is_mesh() {
        Err(Reason::AlpnRefused)
    } else {
        worker.find(listener.role, listener.address.port(), name)
    };
    if hello.alpn.is_probe() {
        return Err(answer_probe(conn, found.as_deref().ok()));
    }
    match found {
        Ok(route) => {
            // A mesh name is its route's, so only passthrough pays for a copy.
            if listener.role == Role::Passthrough {
                conn.set_name(name);
            }
            let entered = route.enter();
            let _ = conn.route.set(route);
            entered.map_err(|reason| {
                conn.enter(Stage::Pick);
                conn.close(reason, Blame::Gateway)
            })?;
            Ok(!hello.early_data && conn.hello_is_all(hello.len))
        }
        Err(reason) => {
            conn.set_name(name);
            Err(conn.close(reason, Blame::Downstream))
        }
    }
}

/// Another gateway asks whether somebody would serve this name. It is told by an alert, which the stage decides
/// ([`refuse::refuse`]): the name is not known, nothing may be picked, or an endpoint would get it, which hears nothing of it.
fn answer_probe(conn: &Conn, route: Option<&Route>) -> Close {
    conn.enter(match route {
        None => Stage::Route,
        Some(route) if !route.balancer().has_usable() => Stage::Pick,
        Some(_) => Stage::Answer,
    });
    conn.close(Reason::Probe, Blame::Downstream)
}

fn begin_relay(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    client: Client,
    opened: Opened,
) -> io::Result<Relay> {
    conn.enter(Stage::Relay);
    let client = client.into_registered()?;
    if let (Some(route), Some(choice)) = (conn.route.get(), conn.chosen.get()) {
        conn.count_for(route.flows.of(Some(&choice.origin), "-"));
    }
    worker.wake_at(conn, worker.now().after(sockets::SETTLED));
    let relay = Relay::new(
        client,
        opened.upstream,
        worker.relay.clone(),
        opened.leftover,
    );
    Ok(relay.behind_answer(conn.behind_answer.get()))
}

/// Moves bytes until both sides are done, one of them fails, or the closer asks for an end. Not an `async fn`: those keep what
/// they are given twice, and this is what a connection is for most of its life.
fn relayed<'a>(
    worker: &'a Worker,
    conn: &'a Conn,
    relay: &'a mut Relay,
) -> impl Future<Output = Result<End, Reason>> + use<'a> {
    let mut lingering = false;
    poll_fn(move |cx| {
        if let Some(reason) = conn.asked_to_stop() {
            return Poll::Ready(Err(reason));
        }
        if conn.is_due(worker.now()) {
            if lingering {
                return Poll::Ready(Ok(relay.end_now(&conn.traffic)));
            }
            conn.set_due(Millis::default());
            if !conn.settled.replace(true) {
                // Only a connection that lives pays for its upstream's keepalive; the client's leg has it from the listener.
                let own = conn
                    .route
                    .get()
                    .and_then(|route| route.balancer().keepalive());
                if let Ok(upstream) = relay.upstream() {
                    sockets::keep_alive(upstream, &worker.config().timeouts, own);
                }
            }
            relay.rest();
        }
        let before = conn.moved();
        let polled = relay.poll(cx, &conn.traffic).map(Ok);
        conn.see_traffic(before, worker);
        conn.holds_bytes.set(relay.holds_bytes());
        if polled.is_pending() {
            if let Some(side) = relay.lingers_for()
                && !lingering
            {
                lingering = true;
                let span = linger(side, worker.config().timeouts.user);
                worker.wake_at(conn, worker.now().after(span));
            } else if relay.wants_rest() && conn.due() == Millis::default() {
                worker.wake_at(conn, worker.now().after(sockets::SETTLED));
            }
        }
        polled
    })
}

/// The relay's end in the words of [`Close`].
fn closed(conn: &Conn, end: End) -> Close {
    let answered = conn.traffic.received.get() > 0;
    let (reason, blame) = match end {
        _ if conn.gateway_alert.get().is_some() => (Reason::GatewayAlert, Blame::Upstream),
        End::Done if !answered => (Reason::Unanswered, Blame::Upstream),
        End::Done => (Reason::Done, Blame::Nobody),
        End::ClientReset if !answered => (Reason::Unanswered, Blame::Upstream),
        End::ClientReset => (Reason::ClientReset, Blame::Downstream),
        End::UpstreamReset if !answered => (Reason::UpstreamClosedEarly, Blame::Upstream),
        End::UpstreamReset => (Reason::UpstreamReset, Blame::Upstream),
        End::Stalled(side) => (Reason::PeerStalled, blame(side)),
        End::Gone(side) => (Reason::PeerGone, blame(side)),
        End::Failed(side) => (Reason::PeerGone, blame(side)),
    };
    conn.close(reason, blame)
}

/// How long a side may take to fetch what was sent to it before the other failed. A client may pause for as long as any peer
/// that takes nothing (`user`, the user timeout), but for half a minute at least: what it has not taken waits in the kernel, which
/// throws that away when a client speaks to a socket that is closed. An upstream has nobody to answer any more.
fn linger(side: Side, user: Duration) -> Duration {
    match side {
        Side::Client => user.max(Duration::from_secs(30)),
        Side::Upstream => Duration::from_secs(1),
    }
}

fn blame(side: Side) -> Blame {
    match side {
        Side::Client => Blame::Downstream,
        Side::Upstream => Blame::Upstream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(_: fn(&'a Rc<Worker>, &'a Rc<Conn>, StdTcpStream) -> F) -> usize {
        size_of::<F>()
    }

    /// What a connection keeps for as long as it lives, besides its sockets: part of the budget of 1.7 KB for an idle one.
    #[test]
    fn a_connection_is_small() {
        let bytes = (size(serve), size_of::<Conn>());
        assert!(
            bytes.0 <= 376 && bytes.1 <= 208,
            "future and record: {bytes:?}"
        );
    }
}
