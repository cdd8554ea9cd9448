//! What counts as what.

use std::io;
use std::time::Duration;

use sidecar::{Error, Kind};
use tokio::time::Instant;

use super::{Tally, place};
use crate::demo::clients::Outcome;

const MS: Duration = Duration::from_millis(1);

fn lost(kind: Kind, begun: Instant, ended: Instant) -> Outcome {
    let error = Error {
        kind,
        address: ([127, 0, 0, 1], 15444).into(),
        source: io::ErrorKind::UnexpectedEof.into(),
    };
    Outcome {
        region: 1,
        begun,
        ended,
        first: true,
        result: Err(error),
    }
}

fn answered(who: &str, begun: Instant, took: Duration) -> Outcome {
    Outcome {
        region: 1,
        begun,
        ended: begun + took,
        first: true,
        result: Ok(who.to_owned()),
    }
}

/// Failures and in-flight losses after one loss of this kind, from `from` to `to` ms, with a kill from 100 to 110 ms.
fn after(kind: Kind, from: u32, to: u32) -> (u64, u64) {
    let zero = Instant::now();
    let mut tally = Tally::new(zero);
    tally.kill_begins(zero + MS * 100);
    tally.kill_ends(zero + MS * 110);
    tally.count(lost(kind, zero + MS * from, zero + MS * to));
    (tally.failed(), tally.rows()[1].in_flight)
}

#[test]
fn only_an_endpoint_that_answered_and_was_killed_excuses_a_loss() {
    assert_eq!(after(Kind::Cut, 50, 105), (0, 1));
    assert_eq!(
        after(Kind::Cut, 300, 310),
        (0, 1),
        "the end takes a while to come through"
    );
    assert_eq!(
        after(Kind::Cut, 50, 99),
        (1, 0),
        "nobody had been killed yet"
    );
    assert_eq!(
        after(Kind::Cut, 1200, 1300),
        (1, 0),
        "the kill was long over"
    );
    for kind in [Kind::Connect, Kind::Unanswered, Kind::Timeout] {
        assert_eq!(
            after(kind, 50, 105),
            (1, 0),
            "{kind}: another endpoint lived"
        );
    }
}

#[test]
fn without_a_kill_nothing_is_excused_and_the_reason_is_kept() {
    let zero = Instant::now();
    let mut tally = Tally::new(zero);
    tally.count(lost(Kind::Cut, zero, zero + MS * 1500));
    assert_eq!(tally.failed(), 1);
    assert!(
        tally.examples[0].starts_with("at 1.5 s a client in us"),
        "{:?}",
        tally.examples
    );
}

#[test]
fn shares_and_quantiles_are_of_what_is_recent() {
    let zero = Instant::now();
    let mut tally = Tally::new(zero);
    tally.count(answered("eu/eu-b/hello-1", zero, MS));
    for took in 1..=100 {
        let who = if took <= 75 {
            "us/us-a/hello-1"
        } else {
            "us/us-b/hello-2"
        };
        tally.count(answered(who, zero + MS * 5000, MS * took));
    }
    tally.forget_before(zero + MS * 5200);
    let row = &tally.rows()[1];
    assert_eq!(row.shares(), [0.0, 0.0, 75.0, 25.0, 0.0, 0.0]);
    assert_eq!(row.recent_quantile(0.5), MS * 50);
    assert_eq!(row.recent_quantile(0.99), MS * 99);
    assert_eq!(row.answered, 101);
    assert_eq!(tally.rows()[0].recent_quantile(0.99), Duration::ZERO);
}

#[test]
fn places_are_columns() {
    assert_eq!(place("eu/eu-a/hello-1"), Some(0));
    assert_eq!(place("ap/ap-b/hello-4"), Some(5));
    assert_eq!(place("mars/mars-a/x"), None);
    assert_eq!(place("eu/us-a/x"), None);
}
