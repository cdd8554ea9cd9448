//! One row for each kind of first bytes that Envoy, HAProxy and nginx were measured to treat differently, and for each
//! fault: what becomes of it, the same answer however it is cut.

use super::builder::{
    Builder, alpn, in_records, message, record, server_name, server_names, vec16,
};
use super::{Hello, Parser, Reject, parse, parse_bytewise, parse_cut};
use crate::close::Reason;

/// Each hello here names `a.test` and is taken; what stands behind it is not part of it.
fn taken() -> Vec<(&'static str, Vec<u8>, usize)> {
    let hello = Builder::new;
    let whole = hello().whole();
    let mut greased = hello()
        .with(0x1a1a, vec![0])
        .with(0xfafa, vec![])
        .replace(16, Some(alpn(&["\u{a}\u{a}", "istio"])));
    greased.ciphers.splice(0..0, [0x2a, 0x2a]);
    greased.extensions.rotate_right(1);
    // Outer hello: type, HPKE suite, configuration id, encapsulated key, sealed inner hello.
    let mut outer = vec![0, 0, 1, 0, 1, 0x42];
    outer.extend(vec16(&[5; 32]));
    outer.extend(vec16(&[6; 200]));
    let mut old = hello();
    old.version = 0x0301;
    old.session.clear();
    old.extensions.retain(|(kind, _)| matches!(kind, 0 | 16));
    let mut first = hello().padded(1431);
    first.extensions.sort();
    let mut last = hello().padded(1551);
    last.extensions.sort();
    last.extensions.reverse();
    let name_at = find(&hello().message(), b"a.test");
    let early = hello().with(42, vec![]);
    let rows = vec![
        ("plain", whole.clone(), 0),
        ("record version 0300", record(0x0300, &hello().message()), 0),
        ("record version 0303", record(0x0303, &hello().message()), 0),
        ("record version 0304", record(0x0304, &hello().message()), 0),
        ("GREASE everywhere", greased.whole(), 0),
        ("ECH outer", hello().with(0xfe0d, outer).whole(), 0),
        ("TLS 1.0 style", old.whole(), 0),
        ("upper case", hello().named(b"A.tEsT").whole(), 0),
        ("one trailing dot", hello().named(b"a.test.").whole(), 0),
        ("post-quantum size, name first", first.whole(), 0),
        ("post-quantum size, name last", last.whole(), 0),
        ("two records, cut before the name", hello().records([20]), 0),
        (
            "two records, cut in the name",
            hello().records([name_at + 2]),
            0,
        ),
        (
            "two records, cut behind the name",
            hello().records([name_at + 6]),
            0,
        ),
        ("records of 16 bytes", hello().records([16; 99]), 0),
        ("records of one byte", hello().records([1; 999]), 0),
        ("first record of one byte", hello().records([1]), 0),
        ("cut in the handshake header", hello().records([3]), 0),
        ("cut behind the handshake header", hello().records([4]), 0),
        (
            "early data behind it",
            behind(&early.whole(), &application_data(40_000)),
            40_015,
        ),
        (
            "change cipher spec behind it",
            behind(&whole, &[0x14, 3, 3, 0, 1, 1]),
            6,
        ),
        (
            "a handshake record behind it",
            behind(&whole, &record(0x0303, &message(20, &[0; 32]))),
            41,
        ),
        ("anything behind it", behind(&whole, b"GET / HTTP/1.1"), 14),
    ];
    rows
}

#[test]
fn hellos_that_are_taken() {
    for (what, raw, behind) in taken() {
        let hello = parse(&raw).unwrap_or_else(|reject| panic!("{what}: {reject}"));
        let hello = hello.unwrap_or_else(|| panic!("{what}: incomplete"));
        assert_eq!(hello.name.as_str(), "a.test", "{what}");
        assert!(hello.alpn.is_mesh(), "{what}");
        assert_eq!(hello.early_data, what.contains("early data"), "{what}");
        assert_eq!(hello.len, raw.len() - behind, "{what}");
        assert_same_however_cut(what, &raw, &Ok(Some(hello.clone())));
        // Nothing is said before the last byte of the hello.
        assert_eq!(parse(&raw[..hello.len - 1]), Ok(None), "{what}");
    }
}

/// Each of these is refused, for its own reason, after no more than so many bytes.
fn refused() -> Vec<(&'static str, Vec<u8>, Reject, usize)> {
    let hello = Builder::new;
    let whole = hello().whole();
    let all = usize::MAX;
    let with_name = |data| hello().replace(0, Some(data)).whole();
    let changed = |change: fn(&mut Builder)| {
        let mut hello = hello();
        change(&mut hello);
        hello.whole()
    };
    let mut bare = hello().message();
    bare.truncate(4 + 2 + 32 + 33 + 8 + 2);
    let cut_short = message(1, &hello().message()[4..120]);
    let mut empty_first = vec![0x16, 3, 1, 0, 0];
    empty_first.extend(&whole);
    let mut empty_between = record(0x0301, &hello().message()[..50]);
    empty_between.extend([0x16, 3, 1, 0, 0]);
    empty_between.extend(record(0x0301, &hello().message()[50..]));
    let mut alert_between = record(0x0301, &hello().message()[..50]);
    alert_between.extend([0x15, 3, 3, 0, 2, 1, 0]);
    let mut version_changes = record(0x0301, &hello().message()[..50]);
    version_changes.extend(record(0x0305, &hello().message()[50..]));
    let mut coalesced = hello().message();
    coalesced.extend(message(20, &[0; 32]));
    let mut one_byte_more = hello().message();
    one_byte_more.push(0);
    vec![
        ("TLS alert", vec![0x15, 3, 1, 0, 2, 2, 80], Reject::Alert, 1),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(),
            Reject::Http,
            4,
        ),
        (
            "HTTP with a long method",
            b"OPTIONS * HTTP/1.1\r\n".to_vec(),
            Reject::Http,
            8,
        ),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            Reject::Http,
            16,
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Reject::Ssh, 4),
        ("SMTP", b"EHLO a.test\r\n".to_vec(), Reject::Text, 1),
        ("almost HTTP", b"GETS a.test\r\n".to_vec(), Reject::Text, 4),
        ("an empty line", b"\n".to_vec(), Reject::Text, 1),
        (
            "PROXY header",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            Reject::ProxyHeader,
            6,
        ),
        (
            "PROXY header, version 2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec(),
            Reject::ProxyHeader,
            12,
        ),
        (
            "SSL 2.0",
            vec![0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16],
            Reject::Ssl2,
            1,
        ),
        ("zeros", vec![0; 64], Reject::NotTls, 1),
        ("application data", application_data(10), Reject::NotTls, 1),
        (
            "change cipher spec",
            vec![0x14, 3, 3, 0, 1, 1],
            Reject::NotTls,
            1,
        ),
        (
            "junk behind 0x16",
            vec![0x16, 0x99, 0x88, 0x77, 0x66, 0x55],
            Reject::RecordVersion,
            2,
        ),
        (
            "record version 0400",
            record(0x0400, &hello().message()),
            Reject::RecordVersion,
            2,
        ),
        (
            "record version 0305",
            record(0x0305, &hello().message()),
            Reject::RecordVersion,
            3,
        ),
        (
            "record version 0200",
            record(0x0200, &hello().message()),
            Reject::RecordVersion,
            2,
        ),
        ("empty record first", empty_first, Reject::EmptyRecord, 5),
        (
            "empty record between",
            empty_between,
            Reject::EmptyRecord,
            60,
        ),
        ("alert between", alert_between, Reject::ForeignRecord, 56),
        (
            "record version changes to none",
            version_changes,
            Reject::ForeignRecord,
            58,
        ),
        (
            "record of 2^14 + 1",
            vec![0x16, 3, 1, 0x40, 1, 1],
            Reject::LongRecord,
            5,
        ),
        (
            "ServerHello",
            record(0x0303, &message(2, &[0; 70])),
            Reject::NotClientHello,
            6,
        ),
        (
            "hello request",
            record(0x0303, &message(0, &[])),
            Reject::NotClientHello,
            6,
        ),
        (
            "a message behind it in its record",
            record(0x0301, &coalesced),
            Reject::TrailingMessage,
            9,
        ),
        (
            "a byte behind it in its record",
            record(0x0301, &one_byte_more),
            Reject::TrailingMessage,
            9,
        ),
        (
            "a byte behind it in its last record",
            in_records(&one_byte_more, [100]),
            Reject::TrailingMessage,
            110,
        ),
        (
            "announced too long",
            record(0x0301, &[1, 0xff, 0xff, 0xff, 3, 3]),
            Reject::TooLarge,
            9,
        ),
        (
            "hello for SSL 3.0",
            changed(|hello| hello.version = 0x0300),
            Reject::LegacyVersion,
            all,
        ),
        (
            "hello for SSL 2.0",
            changed(|hello| hello.version = 0x0002),
            Reject::LegacyVersion,
            all,
        ),
        (
            "hello for DTLS",
            changed(|hello| hello.version = 0xfefd),
            Reject::LegacyVersion,
            all,
        ),
        (
            "no body",
            record(0x0301, &message(1, &[])),
            Reject::Truncated,
            all,
        ),
        (
            "cut short",
            record(0x0301, &cut_short),
            Reject::Truncated,
            all,
        ),
        (
            "session id of 33",
            changed(|hello| hello.session.push(0)),
            Reject::BadList,
            all,
        ),
        (
            "no ciphers",
            changed(|hello| hello.ciphers.clear()),
            Reject::BadList,
            all,
        ),
        (
            "half a cipher",
            changed(|hello| hello.ciphers.push(0)),
            Reject::BadList,
            all,
        ),
        (
            "no compressions",
            changed(|hello| hello.compressions.clear()),
            Reject::BadList,
            all,
        ),
        (
            "bytes behind the extensions",
            changed(|hello| hello.tail.push(0)),
            Reject::TrailingBytes,
            all,
        ),
        (
            "no extensions",
            record(0x0301, &message(1, &bare[4..])),
            Reject::NoName,
            all,
        ),
        (
            "an empty list of extensions",
            changed(|hello| hello.extensions.clear()),
            Reject::NoName,
            all,
        ),
        (
            "no name",
            hello().replace(0, None).whole(),
            Reject::NoName,
            all,
        ),
        (
            "empty name extension",
            with_name(vec![]),
            Reject::NoName,
            all,
        ),
        (
            "empty list of names",
            with_name(vec![0, 0]),
            Reject::NoName,
            all,
        ),
        (
            "name of type 1",
            with_name(server_names(&[(1, b"a.test")])),
            Reject::NoName,
            all,
        ),
        (
            "name of type 1, then a host",
            with_name(server_names(&[(1, b"b"), (0, b"a.test")])),
            Reject::NoName,
            all,
        ),
        (
            "two names",
            with_name(server_names(&[(0, b"a.test"), (0, b"b.test")])),
            Reject::TwoNames,
            all,
        ),
        (
            "the same name twice",
            with_name(server_names(&[(0, b"a.test"), (0, b"a.test")])),
            Reject::TwoNames,
            all,
        ),
        (
            "a host, then type 1",
            with_name(server_names(&[(0, b"a.test"), (1, b"b")])),
            Reject::TwoNames,
            all,
        ),
        (
            "bytes behind the names",
            with_name([server_name(b"a.test"), vec![0]].concat()),
            Reject::TrailingBytes,
            all,
        ),
        (
            "name longer than its list",
            with_name(vec![0, 4, 0, 0, 9, b'a']),
            Reject::Truncated,
            all,
        ),
        (
            "list longer than its extension",
            with_name(vec![0, 9, 0, 0, 1, b'a']),
            Reject::Truncated,
            all,
        ),
        (
            "name extension twice",
            hello().with(0, server_name(b"b.test")).whole(),
            Reject::DuplicateExtension,
            all,
        ),
        (
            "another extension twice",
            hello().with(43, vec![2, 3, 4]).whole(),
            Reject::DuplicateExtension,
            all,
        ),
        (
            "an unknown extension twice",
            hello().with(0xffff, vec![]).with(0xffff, vec![]).whole(),
            Reject::DuplicateExtension,
            all,
        ),
        (
            "empty name",
            hello().named(b"").whole(),
            Reject::BadName,
            all,
        ),
        (
            "name with a NUL",
            hello().named(b"a.test\0.b").whole(),
            Reject::BadName,
            all,
        ),
        (
            "name of 300 bytes",
            hello().named(&[b'a'; 300]).whole(),
            Reject::BadName,
            all,
        ),
        (
            "IPv4 address",
            hello().named(b"192.0.2.1").whole(),
            Reject::AddressAsName,
            all,
        ),
        (
            "IPv6 address",
            hello().named(b"2001:db8::1").whole(),
            Reject::AddressAsName,
            all,
        ),
        (
            "empty ALPN extension",
            hello().replace(16, Some(vec![])).whole(),
            Reject::Truncated,
            all,
        ),
        (
            "empty list of protocols",
            hello().replace(16, Some(vec![0, 0])).whole(),
            Reject::BadList,
            all,
        ),
        (
            "empty protocol",
            hello().replace(16, Some(alpn(&["istio", ""]))).whole(),
            Reject::BadList,
            all,
        ),
        (
            "bytes behind the protocols",
            hello()
                .replace(16, Some([alpn(&["istio"]), vec![0]].concat()))
                .whole(),
            Reject::TrailingBytes,
            all,
        ),
    ]
}

#[test]
fn first_bytes_that_are_refused() {
    for (what, raw, reject, after) in refused() {
        assert_eq!(parse(&raw), Err(reject), "{what}");
        assert_same_however_cut(what, &raw, &Err(reject));
        if after < usize::MAX {
            assert_eq!(parse(&raw[..after]), Err(reject), "{what}: too late");
            assert_eq!(parse(&raw[..after - 1]), Ok(None), "{what}: too early");
        }
    }
}

/// The reasons that a connection's log and metrics give: each is reached, and the fine ones map as the README says.
#[test]
fn every_reject_has_its_reason() {
    let mut reasons: Vec<Reason> = refused().iter().map(|row| row.2.reason()).collect();
    reasons.sort();
    reasons.dedup();
    let expected = [
        Reason::NotTls,
        Reason::MalformedHello,
        Reason::HelloTooLarge,
        Reason::TwoNames,
        Reason::DuplicateExtension,
        Reason::BadName,
        Reason::NoName,
    ];
    assert_eq!(reasons, expected);
    assert_eq!(Reject::Alert.reason(), Reason::NotTls);
    assert_eq!(Reject::RecordVersion.reason(), Reason::NotTls);
    assert_eq!(Reject::NotClientHello.reason(), Reason::MalformedHello);
    assert_eq!(Reject::EmptyRecord.reason(), Reason::MalformedHello);
    assert_eq!(Reject::AddressAsName.reason(), Reason::BadName);
    let mut names = Vec::new();
    for reject in Reject::ALL {
        let said = refused().iter().any(|row| row.2 == *reject);
        assert!(said, "no row is refused for {reject:?}");
        names.push(reject.as_str());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reject::ALL.len(), "two have one name");
}

/// At once, one byte at a time, and in two pieces cut anywhere (within the first 2 KiB).
fn assert_same_however_cut(what: &str, raw: &[u8], expected: &Result<Option<Hello>, Reject>) {
    assert_eq!(&parse_bytewise(raw), expected, "{what}: one byte at a time");
    for cut in 0..raw.len().min(2048) {
        assert_eq!(&parse_cut(raw, [cut]), expected, "{what}: cut at {cut}");
    }
}

fn behind(hello: &[u8], more: &[u8]) -> Vec<u8> {
    [hello, more].concat()
}

/// Records of application data with so many bytes.
fn application_data(len: usize) -> Vec<u8> {
    let mut raw = in_records(&vec![0xaa; len], [16_384; 9]);
    let mut at = 0;
    while at < raw.len() {
        raw[at] = 0x17;
        at += 5 + usize::from(u16::from_be_bytes([raw[at + 3], raw[at + 4]]));
    }
    raw
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    let mut windows = haystack.windows(needle.len());
    windows
        .position(|window| window == needle)
        .expect("it is there")
}

/// What is only waited for to see whose it is, is named when no more comes; a hello that is cut short is not.
#[test]
fn text_that_ends_is_no_hello_cut_short() {
    let hello = Builder::new().whole();
    for (raw, reject) in [
        (&b"\r\n"[..], Some(Reject::Text)),
        (b"PROX", Some(Reject::Text)),
        (b"GE", Some(Reject::Text)),
        (&hello[..1], None),
        (&hello[..hello.len() - 1], None),
        (b"", None),
    ] {
        assert_eq!(parse(raw), Ok(None), "{raw:?}");
        assert_eq!(Parser::at_end(raw), reject, "{raw:?}");
    }
}
