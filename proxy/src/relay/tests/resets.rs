//! Ends that a peer does not mean, or means badly: resets, and peers that do not take what is theirs.

use std::io::ErrorKind;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;

use super::rig::{Rig, Room, receive, receive_some, run, send, until};
use crate::relay::{End, Shared, Side};

const SMALL: Room = Room {
    out: Some(8 << 10),
    into: Some(1 << 20),
};

/// Row 5: 200,000 bytes, a reset behind them, and a client that reads only afterwards. All of it, then FIN; also when the
/// client has sent something meanwhile, which nobody will ever read.
#[test]
fn a_slow_reader_gets_what_came_before_the_reset() {
    for chatter in [0, 1_000] {
        run(async {
            let mut rig = Rig::with(Shared::new(), SMALL, &[]);
            let total = 200_000;
            send(&mut rig.server, 0, total).await;
            until(|| rig.come_from_server() == total).await;
            until(|| rig.with_relay(|relay| relay.down.waits())).await;
            rig.reset(Side::Upstream);
            until(|| rig.has_error(Side::Upstream)).await;
            send(&mut rig.client, 0, chatter).await;
            let (at, how) = receive(&mut rig.client, 0).await;
            assert_eq!(
                (at, how),
                (total, None),
                "after {chatter} bytes of the client's"
            );
            assert_eq!(rig.traffic.received.get(), total);
            rig.close(Side::Client);
            assert_eq!(rig.end().await, End::UpstreamReset);
        });
    }
}

/// The same as row 5 for a stream that goes through a pipe: what waits in the pipe is delivered too.
#[test]
fn a_reset_behind_a_spliced_stream_loses_nothing() {
    run(async {
        let room = Room {
            out: Some(64 << 10),
            into: Some(1 << 20),
        };
        let mut rig = Rig::with(Shared::new(), room, &[]);
        let (first, total) = (16 << 20, (16 << 20) + 500_000);
        tokio::join!(
            send(&mut rig.server, 0, first),
            receive_some(&mut rig.client, 0, first)
        );
        assert!(rig.splices_down());
        send(&mut rig.server, first, total).await;
        until(|| rig.come_from_server() == total).await;
        until(|| rig.with_relay(|relay| relay.down.waits())).await;
        rig.reset(Side::Upstream);
        until(|| rig.has_error(Side::Upstream)).await;
        let (at, how) = receive(&mut rig.client, first).await;
        assert_eq!((at, how), (total, None));
        rig.close(Side::Client);
        until(|| rig.is_over()).await;
        assert_eq!(
            (rig.traffic.received.get(), rig.shared.pipes_in_use()),
            (total, 0)
        );
        assert_eq!(rig.end().await, End::UpstreamReset);
    });
}

/// A dead peer: one that takes nothing until the user timeout runs out, while bytes of ours wait for it.
#[test]
fn a_peer_that_takes_nothing_is_stalled() {
    for side in [Side::Client, Side::Upstream] {
        run(async {
            let rig = Rig::with(Shared::new(), SMALL, &[]);
            rig.with_relay(|relay| {
                let socket = if side == Side::Client {
                    relay.client()
                } else {
                    relay.upstream()
                };
                SockRef::from(&socket.unwrap())
                    .set_tcp_user_timeout(Some(Duration::from_millis(50)))
                    .unwrap();
            });
            let mut writer = if side == Side::Client {
                &rig.server
            } else {
                &rig.client
            };
            let mut at = 0;
            // The writer goes on until the relay is over; how its own socket ends is not this test's matter.
            while !rig.is_over() {
                match writer.try_write(super::rig::text(at, 10_000)) {
                    Ok(n) => at += u64::try_from(n).unwrap(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        tokio::task::yield_now().await
                    }
                    Err(_) => {
                        let _ = writer.try_read(&mut [0; 1]);
                        if side == Side::Client {
                            writer = &rig.client;
                        }
                        until(|| rig.is_over()).await;
                    }
                }
            }
            assert_eq!(rig.end().await, End::Stalled(side));
        });
    }
}

/// A reader that pauses until nobody can write any more, and lives: everything arrives, copied and spliced.
#[test]
fn a_reader_that_pauses_and_lives_gets_everything() {
    for pipes in [0, 4] {
        run(async {
            let mut rig = Rig::with(Shared::with_pipes(pipes), SMALL, &[]);
            let first = 4 << 20;
            tokio::join!(
                send(&mut rig.server, 0, first),
                receive_some(&mut rig.client, 0, first)
            );
            assert_eq!(rig.splices_down(), pipes > 0);
            let more = rig.fill_from_server(first).await;
            assert!(rig.with_relay(|relay| relay.down.waits()));
            let total = more + (1 << 20);
            let (_, (at, how)) = tokio::join!(
                async {
                    send(&mut rig.server, more, total).await;
                    rig.server.shutdown().await.unwrap();
                },
                receive(&mut rig.client, first)
            );
            assert_eq!((at, how), (total, None));
            assert_eq!(rig.traffic.received.get(), total);
            rig.client.shutdown().await.unwrap();
            assert_eq!(rig.end().await, End::Done);
        });
    }
}

/// Who was sent something has time to take it, and may say something meanwhile, but not for ever.
#[test]
fn who_goes_on_talking_to_nobody_is_left() {
    run(async {
        let mut rig = Rig::new();
        send(&mut rig.server, 0, 1_000).await;
        until(|| rig.traffic.received.get() == 1_000).await;
        rig.reset(Side::Upstream);
        let (mut at, mut over) = (0, false);
        while !over {
            match rig.client.try_write(super::rig::text(at, 10_000)) {
                Ok(n) => at += u64::try_from(n).unwrap(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => over = true,
            }
            over |= rig.is_over();
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.end().await, End::UpstreamReset);
        assert!(at >= 4 << 20, "{at} bytes");
    });
}
