//! Hellos of every size up to the ceiling, and one byte beyond it.

use super::builder::Builder;
use super::{LIMIT, Parser, Reject, parse, parse_bytewise};

#[test]
fn padding_is_no_matter() {
    for len in [
        517, 1431, 1551, 1800, 4096, 8192, 12_000, 14_700, 15_500, 16_200, 16_389,
    ] {
        let raw = Builder::new().padded(len).whole();
        assert_eq!(raw.len(), len);
        let hello = parse(&raw).unwrap().unwrap();
        assert_eq!((hello.name.as_str(), hello.len), ("a.test", len));
    }
}

#[test]
fn large_hellos_in_full_records_are_taken_name_first_or_last() {
    for len in [17_000, 24_000, 33_000, 40_000, 60_000] {
        let mut hello = Builder::new().padded(len);
        for _ in 0..2 {
            let raw = hello.records([16_384; 9]);
            let parsed = parse_bytewise(&raw).unwrap().unwrap();
            assert_eq!((parsed.name.as_str(), parsed.len), ("a.test", raw.len()));
            hello.extensions.reverse();
        }
    }
}

/// The raw bytes of a hello of so many bytes in full records.
fn raw_of(message: usize) -> Vec<u8> {
    let raw = Builder::new().padded(message + 5).records([16_384; 9]);
    assert_eq!(raw.len(), message + message.div_ceil(16_384) * 5);
    raw
}

#[test]
fn the_ceiling_counts_raw_bytes_with_headers() {
    let fits = raw_of(LIMIT - 20);
    assert_eq!(fits.len(), LIMIT);
    assert!(matches!(parse(&fits), Ok(Some(_))));
    assert!(matches!(parse_bytewise(&fits), Ok(Some(_))));

    let mut beyond = raw_of(LIMIT - 20);
    // The message announces one byte more than fits.
    let len = u16::from_be_bytes([beyond[7], beyond[8]]) + 1;
    beyond[7..9].copy_from_slice(&len.to_be_bytes());
    assert_eq!(parse(&beyond[..8]), Ok(None));
    assert_eq!(parse(&beyond[..9]), Err(Reject::TooLarge));
    assert_eq!(parse_bytewise(&beyond), Err(Reject::TooLarge));
}

#[test]
fn every_small_ceiling_is_exact() {
    let raw = Builder::new().records([60, 60]);
    for limit in 0..raw.len() + 10 {
        let answer = Parser::new(limit).advance(&raw);
        let mut bytewise = Parser::new(limit);
        let first = (0..=raw.len()).find_map(|end| bytewise.advance(&raw[..end]).transpose());
        assert_eq!(answer.clone().transpose(), first);
        match answer {
            Ok(hello) => assert!(hello.is_some() && limit >= raw.len(), "{limit}"),
            Err(reject) => assert!(reject == Reject::TooLarge && limit < raw.len(), "{limit}"),
        }
    }
}

/// Headers of tiny records count, so a hello within the ceiling can leave it by the way it is cut.
#[test]
fn tiny_records_use_up_the_ceiling() {
    let hello = Builder::new().padded(12_000);
    let raw = hello.records(std::iter::repeat(1));
    assert!(raw.len() > LIMIT);
    assert_eq!(parse(&raw), Err(Reject::TooLarge));
    assert!(matches!(parse(&hello.whole()), Ok(Some(_))));
}

/// As many extensions as fit, none twice: all are looked at, and the last may still be a duplicate.
#[test]
fn a_hello_full_of_extensions_is_read_to_its_end() {
    let mut hello = Builder::new();
    hello
        .extensions
        .extend((100..16_000).map(|kind| (kind, Vec::new())));
    let raw = hello.records([16_384; 9]);
    assert!(matches!(parse(&raw), Ok(Some(_))));
    let raw = hello.with(15_999, Vec::new()).records([16_384; 9]);
    assert_eq!(parse(&raw), Err(Reject::DuplicateExtension));
}
