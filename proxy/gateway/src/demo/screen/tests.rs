//! What the table and the summary look like.

use std::time::Duration;

use tokio::time::Instant;

use super::{Screen, columns, heading, summary, table};
use crate::demo::clients::Outcome;
use crate::demo::script::SCENES;
use crate::demo::tally::Tally;

fn tally(zero: Instant) -> Tally {
    let mut tally = Tally::new(zero);
    for who in ["us/us-b/hello-1", "us/us-b/hello-2", "eu/eu-a/hello-1"] {
        tally.count(Outcome {
            region: 1,
            begun: zero,
            ended: zero + Duration::from_millis(2),
            first: true,
            result: Ok(who.to_owned()),
        });
    }
    tally
}

#[test]
fn every_line_fits_a_terminal() {
    let zero = Instant::now();
    let rows = table(Duration::from_secs(7), &tally(zero));
    let head = columns();
    let headings = SCENES.iter().enumerate();
    let headings: Vec<_> = headings
        .map(|(index, scene)| heading(index, scene))
        .collect();
    let lines = rows.lines().chain(headings.iter().map(String::as_str));
    for line in lines.chain([head.as_str(), super::intro().as_str()]) {
        assert!(line.len() < 80, "{} columns: {line}", line.len());
    }
}

#[test]
fn a_row_stands_under_its_columns() {
    let rows = table(Duration::from_secs(7), &tally(Instant::now()));
    let us: Vec<_> = rows
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(
        us,
        [
            "7.0s", "us", "2", "33%", ".", ".", "67%", ".", ".", "2.0", "2.0", "0"
        ]
    );
    let lengths: Vec<_> = rows.lines().map(str::len).collect();
    assert_eq!(lengths, [columns().len(); 3]);
}

#[test]
fn a_frame_is_drawn_over_the_last_one() {
    let mut screen = Screen::new(true);
    assert_eq!(screen.over_the_last("a\nb\n"), "\x1b[Ja\nb\n");
    assert_eq!(screen.over_the_last("c\n"), "\x1b[2F\x1b[Jc\n");
}

#[test]
fn the_summary_says_what_was_expected() {
    let zero = Instant::now();
    let text = summary(zero + Duration::from_secs(28), &tally(zero));
    assert!(text.starts_with("summary after 28.0 s\n"), "{text}");
    assert!(
        text.contains("failed to find a live endpoint: 0 (0 expected)"),
        "{text}"
    );
}
