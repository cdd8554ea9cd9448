//! A worker's bulk streams and its small flows take turns. Asserted in bytes: what each stream moves while a flow waits.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Rig, Room, run, text, until};
use crate::relay::{Shared, Side, Traffic};

const STREAMS: usize = 8;
const ROUNDS: usize = 200;

/// A message of the small flow waits for at most one turn of each stream: what they move between the moment it is in the
/// kernel and the moment the relay has passed it on.
#[test]
fn a_small_flow_waits_for_a_turn_of_each_stream_at_most() {
    run(async {
        let shared = Shared::new();
        let streams: Vec<Rig> = (0..STREAMS)
            .map(|_| Rig::with(shared.clone(), Room::default(), &[]))
            .collect();
        let counts: Vec<_> = streams.iter().map(|rig| rig.traffic.clone()).collect();
        for rig in streams {
            // Both ways, so that a stream is woken by the one while it is in the middle of the other.
            for peer in [blocking(rig.client), blocking(rig.server)] {
                write_for_ever(peer.try_clone().unwrap());
                read_for_ever(peer);
            }
        }
        until(|| {
            counts
                .iter()
                .all(|traffic| traffic.received.get() > 16 << 20)
        })
        .await;
        assert!(shared.pipes_in_use() > 0);

        let moved = || -> Vec<u64> { counts.iter().map(|traffic| both(traffic)).collect() };
        let mut small = Rig::with(shared, Room::default(), &[]);
        let arrived = Rc::new(RefCell::new(moved()));
        let worst = Rc::new(Cell::new(0));
        small.watch({
            let (arrived, worst, counts) = (arrived.clone(), worst.clone(), counts.clone());
            move || {
                for (traffic, before) in counts.iter().zip(arrived.borrow().iter()) {
                    worst.set(worst.get().max(both(traffic) - before));
                }
            }
        });
        let mut bytes = [0; 128];
        for _ in 0..ROUNDS {
            small.client.write_all(text(0, 128)).await.unwrap();
            small.arrived(Side::Client);
            *arrived.borrow_mut() = moved();
            small.server.read_exact(&mut bytes).await.unwrap();
            small.server.write_all(&bytes).await.unwrap();
            small.arrived(Side::Upstream);
            *arrived.borrow_mut() = moved();
            small.client.read_exact(&mut bytes).await.unwrap();
        }
        assert!(worst.get() > 0, "nothing was measured");
        assert!(
            worst.get() <= 1 << 20,
            "waited for {} bytes of a stream",
            worst.get()
        );
    });
}

/// Two directions of one connection share its turn, and neither shuts the other out.
#[test]
fn the_directions_of_a_connection_share_its_turn() {
    run(async {
        let rig = Rig::new();
        let traffic = rig.traffic.clone();
        let last = Rc::new(Cell::new(0));
        let worst = Rc::new(Cell::new(0));
        rig.watch({
            let (traffic, last, worst) = (traffic.clone(), last.clone(), worst.clone());
            move || {
                let now = traffic.sent.get() + traffic.received.get();
                worst.set(worst.get().max(now - last.replace(now)));
            }
        });
        for peer in [blocking(rig.client), blocking(rig.server)] {
            write_for_ever(peer.try_clone().unwrap());
            read_for_ever(peer);
        }
        until(|| traffic.sent.get() > 64 << 20 && traffic.received.get() > 64 << 20).await;
        assert!(
            worst.get() <= 1 << 20,
            "moved {} bytes in one turn",
            worst.get()
        );
    });
}

fn both(traffic: &Traffic) -> u64 {
    traffic.sent.get() + traffic.received.get()
}

/// A peer that another thread plays, so that the worker's thread has nothing but relays to run.
fn blocking(socket: tokio::net::TcpStream) -> TcpStream {
    let socket = socket.into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    socket
}

/// Ends when the relay does.
fn write_for_ever(mut socket: TcpStream) {
    std::thread::spawn(move || while socket.write_all(text(0, 256 << 10)).is_ok() {});
}

/// Ends when the relay does.
fn read_for_ever(mut socket: TcpStream) {
    std::thread::spawn(move || {
        let mut bytes = vec![0; 256 << 10];
        while socket.read(&mut bytes).is_ok_and(|n| n > 0) {}
    });
}
