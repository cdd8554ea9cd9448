//! Whom the closer names, and when.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::clock::Micros;
use crate::tick::Key;

const WINDOW: Duration = Duration::from_secs(20);

/// An answered connection in its relay.
fn conn(serial: u32) -> Conn {
    let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    let conn = Conn::new(Key { slot: 0, serial }, peer, 0, Micros(1_000));
    conn.enter(Stage::Relay);
    conn.answered.set(true);
    conn
}

fn drain() -> Batch {
    Batch {
        reason: Reason::Drained,
        rest: Some(Reason::DrainDeadline),
        percent: 100,
        over: WINDOW,
    }
}

fn shed(percent: u8) -> Batch {
    Batch {
        reason: Reason::Shed,
        rest: None,
        percent,
        over: WINDOW,
    }
}

fn closer() -> Closer {
    Closer::new(Closing::default(), 1)
}

/// Asks for each connection once; how many are told to end.
fn round(closer: &mut Closer, conns: &[Conn], rounds: u8, now: Millis) -> usize {
    let mut told = 0;
    for conn in conns {
        if let Some(reason) = closer.judge(conn, rounds, now) {
            conn.ask_to_stop(reason);
            told += 1;
        }
    }
    told
}

#[test]
fn nothing_ends_without_a_trigger() {
    let conns = [conn(1)];
    assert_eq!(round(&mut closer(), &conns, 255, Millis(1 << 40)), 0);
}

#[test]
fn a_batch_is_spread_over_its_window() {
    let conns: Vec<_> = (0..100).map(conn).collect();
    let mut closer = closer();
    closer.begin(shed(50), 100, Millis(0));
    let mut told = 0;
    for (at, expected) in [
        (1, 1),
        (5_000, 13),
        (10_000, 25),
        (19_999, 50),
        (30_000, 50),
    ] {
        told += round(&mut closer, &conns, 1, Millis(at));
        assert_eq!(told, expected, "after {at} ms");
    }
    assert_eq!(
        closer.end_batch(Millis(30_000)),
        None,
        "shedding spares the rest"
    );
    let more = [conn(1)];
    assert_eq!(
        round(&mut closer, &more, 1, Millis(30_001)),
        0,
        "and is over"
    );
}

#[test]
fn only_quiet_moments_are_taken() {
    let mut closer = closer();
    closer.begin(drain(), 100, Millis(0));
    let late = Millis(10_000);
    assert_eq!(
        closer.judge(&conn(1), 0, late),
        None,
        "bytes have just moved"
    );
    let holds = conn(2);
    holds.holds_bytes.set(true);
    assert_eq!(
        closer.judge(&holds, 255, late),
        None,
        "bytes wait for a peer"
    );
    let dialling = conn(3);
    dialling.enter(Stage::Dial);
    assert_eq!(
        closer.judge(&dialling, 255, late),
        None,
        "it has just begun"
    );
    let asks = conn(4);
    asks.answered.set(false);
    assert_eq!(
        closer.judge(&asks, 89, late),
        None,
        "it waits for an answer"
    );
    assert_eq!(
        closer.judge(&asks, 90, late),
        Some(Reason::Drained),
        "nine tenths of the window"
    );
    assert_eq!(closer.judge(&conn(5), 1, late), Some(Reason::Drained));
}

#[test]
fn a_drain_ends_with_everything_closed() {
    let mut closer = closer();
    closer.begin(drain(), 1, Millis(0));
    assert_eq!(closer.end_batch(Millis(19_999)), None);
    assert_eq!(
        closer.end_batch(Millis(20_000)),
        Some(Reason::DrainDeadline)
    );
    // Also who comes later, from another worker's queue.
    assert_eq!(
        closer.end_batch(Millis(20_025)),
        Some(Reason::DrainDeadline)
    );
    closer.begin(shed(10), 1, Millis(20_030));
    assert_eq!(
        closer.end_batch(Millis(20_050)),
        Some(Reason::DrainDeadline),
        "shedding does not stop a drain"
    );
}

#[test]
fn old_connections_end_a_tenth_earlier_or_later() {
    let config = Closing {
        max_age: Some(Duration::from_secs(100)),
        failback_per_second: 0,
    };
    let mut closer = Closer::new(config, 1);
    let conns: Vec<_> = (0..1_000).map(conn).collect();
    assert_eq!(round(&mut closer, &conns, 1, Millis(90_000)), 0);
    let half = round(&mut closer, &conns, 1, Millis(100_000));
    assert!(
        (400..600).contains(&half),
        "{half} of 1,000 at the age itself"
    );
    assert_eq!(half + round(&mut closer, &conns, 1, Millis(110_002)), 1_000);
    assert_eq!(conns[0].asked_to_stop(), Some(Reason::MaxAge));
}

#[test]
fn failback_has_a_rate() {
    let mut budget = Budget {
        per_second: 3,
        second: 0,
        used: 0,
    };
    let mut taken = |at| (0..10).filter(|_| budget.take(Millis(at))).count();
    assert_eq!((taken(5_000), taken(5_999), taken(6_000)), (3, 0, 3));
}
