//! The answer does not depend on how the bytes come, and none is looked at twice before the last.

use std::borrow::Cow;

use proptest::prelude::*;

use super::super::body::joined;
use super::builder::Builder;
use super::{LIMIT, Parser, parse, parse_bytewise, parse_cut};

#[test]
fn nothing_is_incomplete() {
    assert_eq!(parse(&[]), Ok(None));
}

#[test]
fn every_pair_of_cuts_gives_the_same_answer() {
    for raw in [
        Builder::new().whole(),
        Builder::new().records([3, 40, 1, 1]),
    ] {
        let expected = parse(&raw);
        assert!(matches!(expected, Ok(Some(_))));
        for first in 0..raw.len() {
            for second in first..raw.len() {
                assert_eq!(parse_cut(&raw, [first, second]), expected);
            }
        }
    }
}

#[test]
fn every_cut_of_the_message_into_two_records_gives_the_same_name() {
    let hello = Builder::new();
    for size in 1..hello.message().len() {
        let raw = hello.records([size]);
        let parsed = parse_bytewise(&raw).unwrap().unwrap();
        assert_eq!(parsed.name.as_str(), "a.test");
        assert_eq!(parsed.len, raw.len());
    }
}

/// What lies in records that are done is overwritten after each piece: the parser must not notice, so its work is linear.
#[test]
fn no_byte_is_looked_at_twice_before_the_last() {
    let raw = Builder::new().padded(30_000).records([1000; 99]);
    let mut parser = Parser::new(LIMIT);
    let mut seen = raw.clone();
    for end in 0..raw.len() {
        assert_eq!(parser.advance(&seen[..end]), Ok(None));
        seen[..parser.record].fill(0xff);
    }
    let hello = parser.advance(&raw).unwrap().unwrap();
    assert_eq!(hello.name.as_str(), "a.test");
}

#[test]
fn an_answer_can_be_asked_for_again() {
    let raw = Builder::new().records([50]);
    let mut parser = Parser::new(LIMIT);
    let first = parser.advance(&raw);
    assert!(matches!(first, Ok(Some(_))));
    assert_eq!(parser.advance(&raw), first);
    assert_eq!(parser.advance(&[raw.as_slice(), b"more"].concat()), first);
}

/// Bytes that are taken back are a caller's mistake, and no reason to panic.
#[test]
fn fewer_bytes_than_before_are_no_panic() {
    let raw = Builder::new().records([50]);
    let mut parser = Parser::new(LIMIT);
    assert_eq!(parser.advance(&raw[..raw.len() - 1]), Ok(None));
    assert_eq!(parser.advance(&raw[..3]), Ok(None));
    assert!(matches!(parser.advance(&raw), Ok(Some(_))));
    assert!(parser.advance(&raw[..3]).is_err());
}

#[test]
fn only_a_hello_in_several_records_is_copied() {
    let hello = Builder::new();
    let message = hello.message();
    let whole = hello.whole();
    assert!(matches!(
        joined(&whole, whole.len(), message.len()),
        Ok(Cow::Borrowed(_))
    ));
    let cut = hello.records([50]);
    let Ok(Cow::Owned(copy)) = joined(&cut, cut.len(), message.len()) else {
        panic!("two records must be joined");
    };
    assert_eq!(copy, message);
    assert_eq!(copy.capacity(), message.len());
}

#[test]
fn the_parser_is_small() {
    assert!(size_of::<Parser>() <= 64);
}

proptest! {
    #[test]
    fn any_cut_of_anything_gives_the_same_answer(
        sizes in proptest::collection::vec(1usize..400, 0..8),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let mut raw = Builder::new().with(42, vec![]).padded(900).records(sizes);
        for (at, byte) in changes {
            let at = at.index(raw.len());
            raw[at] = byte;
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(raw.len())).collect();
        ends.sort_unstable();
        let whole = parse(&raw);
        prop_assert_eq!(&parse_cut(&raw, ends), &whole);
        prop_assert_eq!(&parse_bytewise(&raw), &whole);
    }
}
