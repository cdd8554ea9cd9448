//! What wakes a relay: each direction's source, however often, and whatever a poll before could not ask for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Context;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::coop::{consume_budget, has_budget_remaining};
use tokio::task::spawn_local;

use super::rig::{Rig, Room, receive, receive_some, run, text, until};
use super::{on_worker, pair};
use crate::relay::socket::Socket;
use crate::relay::{End, Relay, Shared, Side, Traffic};

/// The runtime answers "not now" to everything in a poll that has no budget left, and wakes the task again: such an answer does not
/// mean that the socket will.
#[test]
fn a_poll_without_budget_is_made_up_for() {
    on_worker(async {
        let (mut client, inner) = pair().await;
        let (outer, mut server) = pair().await;
        let mut relay = Relay::new(inner, outer, Shared::new(), None);
        let mut without_budget = 3;
        let end = spawn_local(poll_fn(move |cx| {
            if without_budget > 0 {
                without_budget -= 1;
                spend_budget(cx);
            }
            relay.poll(cx, &Traffic::default())
        }));
        assert_eq!(asked(&mut client, &mut server).await, *b"ask");
        assert_eq!(asked(&mut server, &mut client).await, *b"ask");
        drop((client, server));
        assert_eq!(end.await.expect("no panic"), End::Done);
    });
}

/// A direction that has been quiet while the other moved is still woken for.
#[test]
fn each_direction_is_woken_for_after_the_other() {
    run(async {
        let mut rig = Rig::new();
        for round in 0..200 {
            for _ in 0..=round % 7 {
                assert_eq!(asked(&mut rig.client, &mut rig.server).await, *b"ask");
            }
            for _ in 0..=round % 5 {
                assert_eq!(asked(&mut rig.server, &mut rig.client).await, *b"ask");
            }
        }
    });
}

/// The runtime is woken by each segment that comes to a socket it watches, whether anybody waits for it or not.
#[test]
fn the_source_of_a_stream_that_waits_for_its_sink_is_not_watched() {
    run(async {
        let room = Room {
            out: Some(64 << 10),
            into: None,
        };
        let mut rig = Rig::with(Shared::new(), room, &[]);
        let is_watched = |relay: &Relay| matches!(relay.upstream, Socket::Watched(_));
        let (mut at, mut read) = (0, 0);
        while !rig.splices_down() {
            at += write_some(&rig, at, 256 << 10);
            turns(1).await;
            (read, _) = receive_some(&mut rig.client, read, at).await;
        }
        until(|| !rig.with_relay(Relay::holds_bytes)).await;
        assert!(rig.with_relay(is_watched));
        while !rig.with_relay(Relay::holds_bytes) {
            at += write_some(&rig, at, 64 << 10);
            turns(20).await;
        }
        assert!(!rig.with_relay(is_watched));
        at += write_some(&rig, at, 64 << 10);
        // The other way is open meanwhile, also when it has to wait itself.
        assert_eq!(asked(&mut rig.client, &mut rig.server).await, *b"ask");
        (read, _) = receive_some(&mut rig.client, read, at).await;
        until(|| rig.with_relay(is_watched)).await;
        rig.server.shutdown().await.expect("an end");
        assert_eq!(receive(&mut rig.client, read).await, (at, None));
        rig.close(Side::Client);
        assert_eq!(rig.end().await, End::Done);
    });
}

fn write_some(rig: &Rig, at: u64, most: u64) -> u64 {
    let written = rig.server.try_write(text(at, most)).unwrap_or(0);
    u64::try_from(written).expect("bytes")
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

async fn asked(from: &mut tokio::net::TcpStream, to: &mut tokio::net::TcpStream) -> [u8; 3] {
    from.write_all(b"ask").await.expect("sent");
    let mut got = [0; 3];
    to.read_exact(&mut got).await.expect("received");
    got
}

fn spend_budget(cx: &mut Context<'_>) {
    while has_budget_remaining() {
        let _ = pin!(consume_budget()).poll(cx);
    }
}
