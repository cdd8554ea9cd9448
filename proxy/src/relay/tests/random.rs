//! Connections of random shape, byte for byte: sizes of writes and reads, pauses, buffers, pipes, who closes first and how.

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::rig::{Rig, Room, receive_some, run, send};
use crate::relay::{End, Shared};

/// One side of a connection: writes its text in pieces and reads the other's, with turns given up between.
struct Script {
    writes: u64,
    reads: u64,
    /// Reads nothing before all is written, or writes nothing before all is read.
    order: Order,
    seed: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Both,
    ReadFirst,
}

#[test]
fn connections_of_any_shape_arrive_whole() {
    for seed in 0..120 {
        run(async {
            let mut random = Rng::with_seed(seed);
            let room = Room {
                out: random.bool().then(|| random.usize(4 << 10..128 << 10)),
                into: random.bool().then(|| random.usize(4 << 10..512 << 10)),
            };
            let (up, down) = (size(&mut random), size(&mut random));
            // Both reading first would be two peers that wait for each other.
            let first = if random.bool() {
                Order::ReadFirst
            } else {
                Order::Both
            };
            let (one, other) = if random.bool() {
                (first, Order::Both)
            } else {
                (Order::Both, first)
            };
            let shared = Shared::with_pipes(random.usize(0..3));
            let mut rig = Rig::with(shared.clone(), room, &[]);
            let client = Script {
                writes: up,
                reads: down,
                order: one,
                seed: random.u64(..),
            };
            let server = Script {
                writes: down,
                reads: up,
                order: other,
                seed: random.u64(..),
            };
            {
                let (from_relay, to_relay) = rig.client.split();
                let (from_relay_too, to_relay_too) = rig.server.split();
                tokio::join!(
                    client.play(from_relay, to_relay),
                    server.play(from_relay_too, to_relay_too)
                );
            }
            let traffic = rig.traffic.clone();
            assert_eq!(rig.end().await, End::Done, "seed {seed}");
            assert_eq!(
                (traffic.sent.get(), traffic.received.get()),
                (up, down),
                "seed {seed}"
            );
            assert_eq!(shared.pipes_in_use(), 0, "seed {seed}");
        });
    }
}

/// Few bytes, a few buffers full, or a stream.
fn size(random: &mut Rng) -> u64 {
    match random.u8(0..4) {
        0 => random.u64(0..1_000),
        1 => random.u64(0..100_000),
        2 => random.u64(0..1 << 20),
        _ => random.u64(0..4 << 20),
    }
}

impl Script {
    async fn play(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
        let (mut writing, mut reading) = (Rng::with_seed(self.seed), Rng::with_seed(!self.seed));
        if self.order == Order::ReadFirst {
            self.read(&mut from, &mut reading).await;
            self.write(&mut to, &mut writing).await;
        } else {
            tokio::join!(
                self.read(&mut from, &mut reading),
                self.write(&mut to, &mut writing)
            );
        }
    }

    async fn write(&self, to: &mut WriteHalf<'_>, random: &mut Rng) {
        let mut at = 0;
        while at < self.writes {
            let end = (at + piece(random)).min(self.writes);
            send(to, at, end).await;
            at = end;
            pause(random).await;
        }
        to.shutdown().await.unwrap();
    }

    async fn read(&self, from: &mut ReadHalf<'_>, random: &mut Rng) {
        let mut at = 0;
        while at < self.reads {
            let end = (at + piece(random)).min(self.reads);
            let (got, how) = receive_some(from, at, end).await;
            assert_eq!((got, how), (end, None));
            at = end;
            pause(random).await;
        }
        assert_eq!(from.read(&mut [0]).await.unwrap(), 0, "more than was sent");
    }
}

fn piece(random: &mut Rng) -> u64 {
    if random.bool() {
        random.u64(1..2_000)
    } else {
        random.u64(1..300_000)
    }
}

async fn pause(random: &mut Rng) {
    if random.u8(0..8) == 0 {
        for _ in 0..random.u32(0..200) {
            tokio::task::yield_now().await;
        }
    }
}
