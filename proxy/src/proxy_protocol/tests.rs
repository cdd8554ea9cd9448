//! Headers of both versions, good and bad, cut anywhere, with the client's bytes behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::{Parsed, ProxyFault, parse};

/// The first answer to bytes that come one at a time.
fn bytewise(raw: &[u8]) -> Result<Parsed, ProxyFault> {
    for end in 0..raw.len() {
        let parsed = parse(&raw[..end])?;
        if parsed != Parsed::Incomplete {
            return Ok(parsed);
        }
    }
    parse(raw)
}

/// The answer, which must be the same with a hello behind the bytes (if they are a header) and however they are cut.
fn whole(raw: &[u8]) -> Result<Parsed, ProxyFault> {
    let parsed = parse(raw);
    assert_eq!(bytewise(raw), parsed, "{raw:?}");
    if let Ok(Parsed::Header { len, .. }) = parsed {
        assert_eq!(len, raw.len(), "{raw:?}");
        let followed = [raw, b"\x16\x03\x01\r\n"].concat();
        assert_eq!(parse(&followed), parsed, "{raw:?}");
        assert_eq!(parse(&raw[..len - 1]), Ok(Parsed::Incomplete), "{raw:?}");
    }
    parsed
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// A version 2 header.
fn v2(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut raw = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    raw.extend([version_and_command, family]);
    raw.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    raw.extend(block);
    raw
}

/// The addresses of a version 2 header.
fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut block = Vec::new();
    for end in [source, destination] {
        match end.ip() {
            IpAddr::V4(ip) => block.extend(ip.octets()),
            IpAddr::V6(ip) => block.extend(ip.octets()),
        }
    }
    block.extend(source.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    block
}

fn v4_block() -> Vec<u8> {
    block(
        address("192.0.2.1:5000").unwrap(),
        address("198.51.100.2:443").unwrap(),
    )
}

#[test]
fn headers_with_addresses() {
    let v6 = block(
        address("[2001:db8::1]:5000").unwrap(),
        address("[2001:db8::2]:443").unwrap(),
    );
    let with_fields = [v4_block(), vec![4, 0, 0, 0xea, 0, 3, 1, 2, 3]].concat();
    let cases = [
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n".to_vec(), "192.0.2.1:5000", "198.51.100.2:443"),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec(), "0.0.0.0:0", "255.255.255.255:65535"),
        (b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 5000 443\r\n".to_vec(), "[2001:db8::1]:5000", "[::ffff:192.0.2.1]:443"),
        (
            b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n".to_vec(),
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ),
        (v2(0x21, 0x11, &v4_block()), "192.0.2.1:5000", "198.51.100.2:443"),
        (v2(0x21, 0x11, &with_fields), "192.0.2.1:5000", "198.51.100.2:443"),
        (v2(0x21, 0x21, &v6), "[2001:db8::1]:5000", "[2001:db8::2]:443"),
    ];
    for (raw, from, to) in cases {
        let expected = Parsed::Header {
            len: raw.len(),
            source: address(from),
            destination: address(to),
        };
        assert_eq!(whole(&raw), Ok(expected));
    }
}

#[test]
fn headers_without_addresses() {
    let longest = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 91], b"\r\n".to_vec()].concat();
    assert_eq!(longest.len(), 107);
    let cases = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 \xff any thing\r\n".to_vec(),
        longest,
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &v4_block()),
        v2(0x20, 0xff, &[1, 2, 3]),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x00, &[1, 2, 3]),
        v2(0x21, 0x12, &v4_block()),
        v2(0x21, 0x31, &[0; 216]),
        v2(0x20, 0x00, &[0; 4080]),
    ];
    for raw in cases {
        let expected = Parsed::Header {
            len: raw.len(),
            source: None,
            destination: None,
        };
        assert_eq!(whole(&raw), Ok(expected));
    }
}

#[test]
fn what_is_no_header() {
    let long_line = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92], b"\r\n".to_vec()].concat();
    let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
    let field = |bytes: &[u8]| v2(0x21, 0x11, &[v4_block(), bytes.to_vec()].concat());
    let cases = [
        (vec![0x16, 3, 1], ProxyFault::Missing),
        (b"PROXYTCP4".to_vec(), ProxyFault::Missing),
        (b"proxy TCP4".to_vec(), ProxyFault::Missing),
        (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), ProxyFault::Missing),
        (long_line, ProxyFault::LongLine),
        (b"PROXY UNKNOWN\n".to_vec(), ProxyFault::NoReturn),
        (b"PROXY \n".to_vec(), ProxyFault::NoReturn),
        (line(""), ProxyFault::UnknownProtocol),
        (
            line("UDP4 192.0.2.1 192.0.2.2 1 2"),
            ProxyFault::UnknownProtocol,
        ),
        (line("unknown"), ProxyFault::UnknownProtocol),
        (line("UNKNOWNX"), ProxyFault::UnknownProtocol),
        (line("TCP4"), ProxyFault::BadLine),
        (line("TCP4 192.0.2.1 192.0.2.2 1"), ProxyFault::BadLine),
        (line("TCP4 192.0.2.1 192.0.2.2 1 2 "), ProxyFault::BadLine),
        (line("TCP4 192.0.2.1 192.0.2.2 1 2 3"), ProxyFault::BadLine),
        (
            b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n".to_vec(),
            ProxyFault::BadLine,
        ),
        (line("TCP4  192.0.2.1 192.0.2.2 1"), ProxyFault::BadAddress),
        (
            line("TCP4 192.0.2.01 192.0.2.2 1 2"),
            ProxyFault::BadAddress,
        ),
        (
            line("TCP4 2001:db8::1 192.0.2.2 1 2"),
            ProxyFault::BadAddress,
        ),
        (line("TCP6 192.0.2.1 192.0.2.2 1 2"), ProxyFault::BadAddress),
        (
            line("TCP4 192.0.2.1 192.0.2.2 65536 2"),
            ProxyFault::BadPort,
        ),
        (line("TCP4 192.0.2.1 192.0.2.2 1 02"), ProxyFault::BadPort),
        (line("TCP4 192.0.2.1 192.0.2.2 +1 2"), ProxyFault::BadPort),
        (line("TCP4 192.0.2.1 192.0.2.2 -1 2"), ProxyFault::BadPort),
        (line("TCP4 192.0.2.1 192.0.2.2 1\r 2"), ProxyFault::BadPort),
        (line("TCP4 192.0.2.1 192.0.2.2 1 \t"), ProxyFault::BadPort),
        (v2(0x11, 0x11, &v4_block()), ProxyFault::UnknownVersion(1)),
        (v2(0x31, 0x11, &v4_block()), ProxyFault::UnknownVersion(3)),
        (v2(0x22, 0x11, &v4_block()), ProxyFault::UnknownCommand(2)),
        (v2(0x21, 0x41, &v4_block()), ProxyFault::UnknownFamily(0x41)),
        (v2(0x21, 0x13, &v4_block()), ProxyFault::UnknownFamily(0x13)),
        (
            v2(0x21, 0x11, &v4_block()[1..]),
            ProxyFault::ShortAddresses(11),
        ),
        (v2(0x21, 0x21, &[0; 35]), ProxyFault::ShortAddresses(35)),
        (v2(0x21, 0x31, &[0; 215]), ProxyFault::ShortAddresses(215)),
        (v2(0x20, 0x00, &[0; 4081]), ProxyFault::LongHeader(4081)),
        (field(&[4]), ProxyFault::BadField),
        (field(&[4, 0]), ProxyFault::BadField),
        (field(&[4, 0, 1]), ProxyFault::BadField),
        (field(&[4, 0, 0, 4, 0, 2, 1]), ProxyFault::BadField),
    ];
    for (raw, fault) in cases {
        assert_eq!(
            whole(&raw),
            Err(fault),
            "{:?}",
            raw.escape_ascii().to_string()
        );
    }
}

/// What cannot become a header is refused at the byte that shows it.
#[test]
fn faults_are_found_early() {
    assert_eq!(parse(b"\x16"), Err(ProxyFault::Missing));
    assert_eq!(parse(b"PR"), Ok(Parsed::Incomplete));
    assert_eq!(parse(b"PRX"), Err(ProxyFault::Missing));
    let header = v2(0x21, 0x11, &[0; 4081]);
    assert_eq!(parse(&header[..15]), Ok(Parsed::Incomplete));
    assert_eq!(parse(&header[..16]), Err(ProxyFault::LongHeader(4081)));
    let header = v2(0x25, 0x11, &[]);
    assert_eq!(parse(&header[..12]), Ok(Parsed::Incomplete));
    assert_eq!(parse(&header[..13]), Err(ProxyFault::UnknownCommand(5)));
}

/// Two ends of the same family.
fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<[(Ipv4Addr, u16); 2]>();
    let v6 = any::<[(Ipv6Addr, u16); 2]>();
    prop_oneof![
        v4.prop_map(|[a, b]| (SocketAddr::from(a), SocketAddr::from(b))),
        v6.prop_map(|[a, b]| (SocketAddr::from(a), SocketAddr::from(b))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read((from, to) in ends(), fields in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..4)) {
        let v4 = from.is_ipv4();
        let (name, family) = if v4 { ("TCP4", 0x11) } else { ("TCP6", 0x21) };
        let line = format!("PROXY {name} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
        let mut block = block(from, to);
        for (kind, value) in fields {
            block.push(kind);
            block.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            block.extend(value);
        }
        for raw in [line.into_bytes(), v2(0x21, family, &block)] {
            let expected = Parsed::Header { len: raw.len(), source: Some(from), destination: Some(to) };
            prop_assert_eq!(whole(&raw), Ok(expected));
        }
    }

    #[test]
    fn anything_gives_the_same_answer_however_it_is_cut(
        start in prop_oneof![Just(b"PROXY TCP4 1".to_vec()), Just(b"PROXY ".to_vec()), Just(v2(0x21, 0x11, &v4_block())), Just(v2(0x20, 0, &[])), Just(vec![])],
        keep in any::<proptest::sample::Index>(),
        more in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(0u8)], 0..130),
    ) {
        let raw = [&start[..keep.index(start.len() + 1)], &more].concat();
        prop_assert_eq!(bytewise(&raw), parse(&raw));
    }
}
