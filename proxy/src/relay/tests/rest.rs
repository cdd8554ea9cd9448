//! What a connection holds while little happens: its leftover first, a pipe only while a stream moves; and what only the tick
//! notices.

use socket2::SockRef;
use tokio::io::AsyncWriteExt;

use super::rig::{Rig, Room, receive, receive_some, run, send, text, until};
use crate::relay::{End, Shared, Side};

/// What was read from the upstream before the relay began goes first, and is counted when it leaves.
#[test]
fn a_leftover_goes_first() {
    run(async {
        let before = text(0, 100_000);
        let mut rig = Rig::with(
            Shared::new(),
            Room {
                out: Some(8 << 10),
                into: None,
            },
            before,
        );
        send(&mut rig.server, 100_000, 150_000).await;
        rig.server.shutdown().await.unwrap();
        assert_eq!(receive(&mut rig.client, 0).await, (150_000, None));
        assert_eq!(rig.traffic.received.get(), 150_000);
        drop(rig.client);
        assert_eq!(rig.traffic.sent.get(), 0);
    });
}

/// A connection at rest holds nothing of the pools.
#[test]
fn a_quiet_connection_holds_no_pipe_and_no_buffer() {
    run(async {
        let mut rig = Rig::new();
        let total = 8 << 20;
        let (mut server, end) = (&mut rig.server, total);
        let (_, got) = tokio::join!(
            send(&mut server, 0, end),
            receive_some(&mut rig.client, 0, total)
        );
        assert_eq!(got.0, total);
        assert!(rig.splices_down(), "8 MiB did not prove a stream");
        assert_eq!(rig.shared.pipes_in_use(), 1);
        rig.rest();
        assert!(
            rig.with_relay(|relay| relay.wants_rest()),
            "it has moved since, so it keeps its pipe"
        );
        rig.rest();
        assert!(!rig.splices_down());
        assert_eq!(rig.shared.pipes_in_use(), 0);
        assert_eq!(rig.with_relay(|relay| relay.down.held()), 0);
    });
}

/// What follows a hello may come in pieces, and none of them waits for the ACK of the one before. A client that says nothing more
/// costs no system call for that.
#[test]
fn what_follows_the_hello_hurries() {
    run(async {
        let mut rig = Rig::new();
        let hurries = |rig: &Rig| {
            rig.with_relay(|relay| {
                let upstream = relay.upstream().unwrap();
                SockRef::from(&upstream).tcp_nodelay().unwrap()
            })
        };
        send(&mut rig.server, 0, 100).await;
        assert_eq!(receive_some(&mut rig.client, 0, 100).await.0, 100);
        assert!(!hurries(&rig), "nothing has followed");
        send(&mut rig.client, 0, 1).await;
        assert_eq!(receive_some(&mut rig.server, 0, 1).await.0, 1);
        assert!(hurries(&rig));
    });
}

/// A client that said FIN, and resets while the server is silent, is noticed by the tick: nothing else would.
#[test]
fn a_reset_after_a_half_close_is_noticed() {
    run(async {
        let mut rig = Rig::new();
        send(&mut rig.client, 0, 10).await;
        rig.client.shutdown().await.unwrap();
        assert_eq!(receive(&mut rig.server, 0).await, (10, None));
        assert!(rig.with_relay(|relay| relay.wants_rest()));
        rig.rest();
        rig.reset(Side::Client);
        until(|| rig.has_error(Side::Client)).await;
        assert!(!rig.is_over());
        rig.rest();
        rig.close(Side::Upstream);
        assert_eq!(rig.end().await, End::ClientReset);
    });
}
