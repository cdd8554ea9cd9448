//! Much both ways at once: byte for byte, and counted, whichever way it goes through.

use rustix::net::SendFlags;
use tokio::io::AsyncWriteExt;

use super::rig::{Rig, Room, receive, receive_some, run, send};
use crate::relay::{End, Shared, Side};

/// So much each way at once in each of so many connections, with so many pipes for all of them.
async fn pump(connections: usize, pipes: usize, total: u64) -> std::rc::Rc<Shared> {
    let shared = Shared::with_pipes(pipes);
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let rig = Rig::with(shared.clone(), Room::default(), &[]);
        tasks.push(tokio::task::spawn_local(pump_one(rig, total)));
    }
    for task in tasks {
        task.await.unwrap();
    }
    shared
}

async fn pump_one(mut rig: Rig, total: u64) {
    {
        let (mut from_client, mut to_client) = rig.client.split();
        let (mut from_server, mut to_server) = rig.server.split();
        let (_, _, down, up) = tokio::join!(
            async {
                send(&mut to_client, 0, total).await;
                to_client.shutdown().await.unwrap();
            },
            async {
                send(&mut to_server, 0, total).await;
                to_server.shutdown().await.unwrap();
            },
            receive(&mut from_client, 0),
            receive(&mut from_server, 0),
        );
        assert_eq!((down, up), ((total, None), (total, None)));
    }
    assert_eq!(
        (rig.traffic.sent.get(), rig.traffic.received.get()),
        (total, total)
    );
    assert_eq!(rig.end().await, End::Done);
}

/// Eight streams in four connections, three pipes: some are spliced, some copied, and some change over when a pipe comes free.
#[test]
fn streams_share_the_pipes_there_are() {
    run(async {
        let shared = pump(4, 3, 8 << 20).await;
        assert!(shared.pipes_refused() > 0);
        assert_eq!(shared.pipes_in_use(), 0);
    });
}

/// A kernel that would not splice, played by a pipe that is taken away: what is in it comes out by copying.
#[test]
fn what_is_in_a_pipe_survives_the_change_to_copying() {
    run(async {
        let mut rig = Rig::with(
            Shared::new(),
            Room {
                out: Some(64 << 10),
                into: Some(1 << 20),
            },
            &[],
        );
        let first = 8 << 20;
        tokio::join!(
            send(&mut rig.server, 0, first),
            super::rig::receive_some(&mut rig.client, 0, first)
        );
        assert!(rig.splices_down());
        let more = rig.fill_from_server(first).await;
        let held = rig.with_relay(|relay| relay.down.held());
        assert!(held > 0);
        if let Some(relay) = rig.relay.borrow_mut().as_mut() {
            relay.down.unpipe(&rig.shared).unwrap();
            assert_eq!(relay.down.held(), held);
        }
        assert!(!rig.splices_down());
        rig.server.shutdown().await.unwrap();
        assert_eq!(receive(&mut rig.client, first).await, (more, None));
        assert_eq!(rig.traffic.received.get(), more);
    });
}

/// A pipe with bytes of a connection that is over in it must reach nobody else, and its place is free again.
#[test]
fn a_pipe_that_was_left_full_is_not_used_again() {
    run(async {
        let shared = Shared::with_pipes(1);
        let mut rig = Rig::with(
            shared.clone(),
            Room {
                out: Some(64 << 10),
                into: Some(1 << 20),
            },
            &[],
        );
        let first = 8 << 20;
        tokio::join!(
            send(&mut rig.server, 0, first),
            super::rig::receive_some(&mut rig.client, 0, first)
        );
        rig.fill_from_server(first).await;
        assert!(rig.splices_down() && rig.with_relay(|relay| relay.down.waits()));
        rig.reset(Side::Client);
        rig.close(Side::Upstream);
        assert_eq!(rig.end().await, End::ClientReset);
        assert_eq!(shared.pipes_in_use(), 0);

        // One way, so that the one pipe is enough.
        let mut rig = Rig::with(shared.clone(), Room::default(), &[]);
        let (_, got) = tokio::join!(
            send(&mut rig.server, 0, first),
            super::rig::receive_some(&mut rig.client, 0, first)
        );
        assert_eq!(got, (first, None));
        assert!(rig.splices_down());
        assert_eq!(shared.pipes_refused(), 0);
    });
}

/// The kernel splices nothing from behind urgent data, and calls that the end once the peer has closed. Only the urgent byte
/// itself is not passed on: it is no byte of the stream for who does not ask for it.
#[test]
fn what_comes_behind_urgent_data_is_not_lost() {
    run(async {
        let mut rig = Rig::new();
        let first = 8 << 20;
        tokio::join!(
            send(&mut rig.server, 0, first),
            receive_some(&mut rig.client, 0, first)
        );
        assert!(rig.splices_down());
        send(&mut rig.server, first, first + 3).await;
        assert_eq!(rustix::net::send(&rig.server, b"!", SendFlags::OOB), Ok(1));
        let total = first + 1_000;
        send(&mut rig.server, first + 3, total).await;
        rig.server.shutdown().await.unwrap();
        assert_eq!(receive(&mut rig.client, first).await, (total, None));
        assert_eq!(rig.traffic.received.get(), total);
        rig.client.shutdown().await.unwrap();
        assert_eq!(rig.end().await, End::Done);
    });
}
