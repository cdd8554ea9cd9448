//! Ours against `rustls::server::Acceptor`: what it accepts and our table does not refuse, we accept with the same name
//! and protocols; whatever else differs belongs to a class that has a name and an example here.

use proptest::prelude::*;
use proptest::sample::Index;
use rustls::{Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::super::Alpn;
use super::builder::{Builder, alpn, in_records, message, record, server_name, server_names};
use super::genuine::{Verdict, ask, hello};
use super::{Hello, Parser, Reject, parse};

/// How the two may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    // rustls accepts, we refuse: rows of our table.
    /// It takes any record version that begins with 3.
    OddRecordVersion,
    /// It takes the length of an encrypted record where a plaintext one stands.
    LongRecord,
    /// It leaves the hello's version to a later step.
    OldVersion,
    /// It needs no name.
    NoName,
    /// It ignores a name that is an address.
    AddressAsName,
    /// It ignores what follows a host name, if that is of another type.
    SecondEntry,
    // We accept, rustls refuses: the endpoint's business.
    /// It looks into extensions that we pass over.
    OtherExtension,
    /// It wants a key share offer to be last.
    KeyOfferNotLast,
    /// It wants the null compression offered.
    NoNullCompression,
    /// It wants signature algorithms.
    NoSignatureAlgorithms,
    /// It holds names to the letter of DNS: labels of 63 bytes, no hyphen at their ends, the last not numeric, 253 in all.
    NameOutsideDns,
    // We refuse, rustls still waits.
    /// We refuse as soon as nothing can mend it.
    Earlier,
    // We still wait, rustls refuses.
    /// We wait for the rest of text until it is clear whose it is.
    Later,
}

/// The class of a difference; `None` where the two agree, an explanation where they differ without a class.
fn compare(raw: &[u8]) -> Result<Option<Difference>, String> {
    let ours = parse(raw);
    let theirs = ask(raw);
    match (&ours, &theirs) {
        (Ok(Some(hello)), Verdict::Accepted(name, protocols)) => same(hello, name, protocols),
        (Err(reject), Verdict::Accepted(name, _)) => stricter(*reject, name.as_deref()),
        (Ok(Some(_)), Verdict::Rejected(error)) => laxer(error),
        (Err(_), Verdict::Incomplete) => Ok(Some(Difference::Earlier)),
        (Ok(None), Verdict::Incomplete) | (Err(_), Verdict::Rejected(_)) => Ok(None),
        (Ok(None), Verdict::Rejected(_)) if Parser::at_end(raw) == Some(Reject::Text) => {
            Ok(Some(Difference::Later))
        }
        (Ok(None), _) | (_, Verdict::Incomplete) => Err(String::new()),
    }
    .map_err(|why| format!("{why}: ours {ours:?}, theirs {theirs:?}"))
}

fn same(
    hello: &Hello,
    name: &Option<String>,
    protocols: &[String],
) -> Result<Option<Difference>, String> {
    let name = name.as_deref().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    let offered: Alpn = protocols.iter().map(String::as_str).collect();
    if hello.name.as_str() != name || hello.alpn != offered {
        return Err("both accept, but not the same".to_owned());
    }
    Ok(None)
}

fn stricter(reject: Reject, name: Option<&str>) -> Result<Option<Difference>, String> {
    Ok(Some(match (reject, name) {
        (Reject::RecordVersion | Reject::ForeignRecord, _) => Difference::OddRecordVersion,
        (Reject::LongRecord, _) => Difference::LongRecord,
        (Reject::LegacyVersion, _) => Difference::OldVersion,
        (Reject::NoName, None) => Difference::NoName,
        (Reject::AddressAsName, None) => Difference::AddressAsName,
        (Reject::TwoNames, _) => Difference::SecondEntry,
        _ => return Err("rustls accepts".to_owned()),
    }))
}

fn laxer(error: &Error) -> Result<Option<Difference>, String> {
    Ok(Some(match error {
        Error::InvalidMessage(InvalidMessage::PreSharedKeyIsNotFinalExtension) => {
            Difference::KeyOfferNotLast
        }
        Error::InvalidMessage(
            // Also what it says of an unknown type of encrypted hello.
            InvalidMessage::InvalidContentType
            | InvalidMessage::MessageTooShort
            | InvalidMessage::MissingData(_)
            | InvalidMessage::TrailingData(_)
            | InvalidMessage::IllegalEmptyList(_)
            | InvalidMessage::IllegalEmptyValue
            | InvalidMessage::NoSignatureSchemes
            | InvalidMessage::InvalidCertificateStatusType,
        ) => Difference::OtherExtension,
        Error::PeerIncompatible(PeerIncompatible::NullCompressionRequired) => {
            Difference::NoNullCompression
        }
        Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired) => {
            Difference::NoSignatureAlgorithms
        }
        Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName) => {
            Difference::NameOutsideDns
        }
        _ => return Err("rustls refuses".to_owned()),
    }))
}

#[test]
fn every_class_has_an_example() {
    let hello = Builder::new;
    let named = |name: &[u8]| hello().named(name).whole();
    let mut old = hello();
    old.version = 0x0300;
    let mut deflate = hello();
    deflate.compressions = vec![1];
    let entries = server_names(&[(0, b"a.test"), (1, b"b")]);
    let key_offer = vec![
        0, 7, 0, 1, 1, 0, 0, 0, 0, 0, 33, 32, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
        3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    ];
    let examples = [
        (
            Difference::OddRecordVersion,
            record(0x0305, &hello().message()),
        ),
        (
            Difference::LongRecord,
            record(0x0301, &hello().padded(16_400).message()),
        ),
        (Difference::OldVersion, old.whole()),
        (Difference::NoName, hello().replace(0, None).whole()),
        (Difference::AddressAsName, named(b"192.0.2.1")),
        (Difference::AddressAsName, named(b"2001:db8::1")),
        (
            Difference::SecondEntry,
            hello().replace(0, Some(entries)).whole(),
        ),
        (
            Difference::OtherExtension,
            hello().replace(10, Some(vec![9])).whole(),
        ),
        (
            Difference::KeyOfferNotLast,
            hello().with(41, key_offer).with(21, vec![]).whole(),
        ),
        (Difference::NoNullCompression, deflate.whole()),
        (
            Difference::NoSignatureAlgorithms,
            hello().replace(13, None).whole(),
        ),
        (Difference::NameOutsideDns, named(&[b'a'; 64])),
        (Difference::NameOutsideDns, named(b"a-.test")),
        (Difference::NameOutsideDns, named(b"a.1")),
        (Difference::Earlier, record(0x0301, &[2])),
        (Difference::Later, b"G".to_vec()),
        (Difference::Later, b"\r\n\r\n".to_vec()),
    ];
    for (class, raw) in examples {
        assert_eq!(compare(&raw), Ok(Some(class)));
    }
}

/// Where the two must agree although they could easily not.
#[test]
fn no_difference_here() {
    let hello = Builder::new;
    let coalesced = [hello().message(), message(20, &[0; 32])].concat();
    let agreed = [
        hello().whole(),
        hello().named(b"A.Test.").whole(),
        hello().records([1, 1, 1, 50]),
        hello().padded(40_000).records([16_384; 9]),
        hello().with(0, server_name(b"b.test")).whole(),
        hello().with(0xabcd, vec![]).with(0xabcd, vec![]).whole(),
        hello()
            .replace(0, Some(server_names(&[(0, b"a"), (0, b"b")])))
            .whole(),
        hello().replace(0, Some(server_names(&[(1, b"a")]))).whole(),
        hello().named(b"").whole(),
        hello().named(b"a\0b").whole(),
        record(0x0301, &coalesced),
        [hello().whole(), record(0x0301, &message(20, &[0; 32]))].concat(),
        [vec![0x16, 3, 1, 0, 0], hello().whole()].concat(),
        vec![0x15, 3, 1, 0, 2, 2, 80],
    ];
    for raw in agreed {
        assert_eq!(compare(&raw), Ok(None));
    }
}

/// Names as hellos may carry them: mostly good ones.
fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-zA-Z0-9_-]{1,20}(\\.[a-zA-Z0-9_-]{1,20}){0,3}\\.?".prop_map(String::into_bytes),
        2 => Just(b"outbound_.5000_._.hello.default.svc.cluster.local".to_vec()),
        1 => "[0-9]{1,3}(\\.[0-9]{1,3}){3}\\.?|[0-9a-f:]{2,12}".prop_map(String::into_bytes),
        1 => "[a-z]{60,70}\\.test|[a-z.]{250,258}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

/// Extensions of any type and of the types that somebody reads, with data that may or may not fit them.
fn extensions() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let kind = prop_oneof![
        0u16..60,
        any::<u16>(),
        Just(0xfe0d),
        Just(0xff01),
        Just(0x1a1a)
    ];
    let data = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..8),
        1 => names().prop_map(|name| server_name(&name)),
        1 => Just(alpn(&["istio", "h2"])),
    ];
    proptest::collection::vec((kind, data), 0..6)
}

/// A hello built of parts, or one of rustls's, as the handshake message.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let protocol = prop_oneof![
        Just("istio"),
        Just("h2"),
        Just("http/1.1"),
        Just("x"),
        Just("istio-h2")
    ];
    let protocols = proptest::collection::vec(protocol, 0..4);
    let version = prop_oneof![8 => Just(0x0303u16), 1 => 0x02ffu16..0x0306, 1 => any::<u16>()];
    let built = (
        names(),
        extensions(),
        protocols.clone(),
        version,
        any::<Index>(),
    );
    let built = built.prop_map(|(name, more, protocols, version, turn)| {
        let mut hello = Builder::new().named(&name).replace(16, None);
        if !protocols.is_empty() {
            hello = hello.with(16, alpn(&protocols));
        }
        hello.extensions.extend(more);
        let turn = turn.index(hello.extensions.len());
        hello.extensions.rotate_left(turn);
        hello.version = version;
        hello.message()
    });
    let genuine = (any::<bool>(), protocols);
    let genuine = genuine.prop_map(|(long, protocols)| {
        let name = if long {
            "outbound_.80_.v1_.a.b.svc.cluster.local"
        } else {
            "a.test"
        };
        hello(name, &protocols, false)[5..].to_vec()
    });
    prop_oneof![3 => built, 1 => genuine]
}

/// One change to some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::Cut),
    ];
    prop_oneof![1 => Just(Vec::new()), 2 => proptest::collection::vec(change, 1..4)]
}

fn apply(mut raw: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if raw.is_empty() {
            break;
        }
        match change {
            Change::Set(at, byte) => {
                let at = at.index(raw.len());
                raw[at] = *byte;
            }
            Change::Insert(at, byte) => raw.insert(at.index(raw.len()), *byte),
            Change::Remove(at) => {
                raw.remove(at.index(raw.len()));
            }
            Change::Cut(at) => raw.truncate(at.index(raw.len())),
        }
    }
    raw
}

proptest! {
    // A failure is pinned as a case of its own above, not in a file of seeds.
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Changed before it is put into records (so that the hello's inside is met), and after (so that the records are).
    #[test]
    fn every_difference_has_a_class(
        message in messages(),
        inside in changes(),
        sizes in proptest::collection::vec(1usize..200, 0..5),
        outside in changes(),
    ) {
        let raw = in_records(&apply(message, &inside), sizes);
        let raw = apply(raw, &outside);
        if let Err(why) = compare(&raw) {
            prop_assert!(false, "{why}");
        }
    }
}
