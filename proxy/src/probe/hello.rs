//! The hello that a probe sends, written by hand: what a server needs to answer and nothing that costs it anything. It must
//! not know who gets it.
//!
//! It offers groups and no key share (RFC 8446 section 4.2.8), so that a server of TLS 1.3 answers with a
//! HelloRetryRequest: a handshake record, without a key exchange and without a signature. TLS 1.2 is offered for those that
//! speak nothing newer; they answer with their certificate.

/// `HandshakeType.client_hello` and `ContentType.handshake`, RFC 8446 sections 4 and 5.1.
const CLIENT_HELLO: u8 = 1;
const HANDSHAKE: u8 = 0x16;

/// TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256 (RFC 8446 appendix B.4), and the ECDHE
/// suites with AES-GCM and ChaCha20 that Envoy has by default for TLS 1.2.
const CIPHER_SUITES: [u16; 9] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
];

/// x25519, secp256r1, secp384r1: RFC 8446 section 4.2.7.
const GROUPS: [u16; 3] = [0x001d, 0x0017, 0x0018];

/// ECDSA, RSA-PSS and RSA-PKCS1 with SHA-256, 384 and 512: RFC 8446 section 4.2.3.
const SIGNATURES: [u16; 8] = [
    0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
];

/// TLS 1.3 and 1.2: RFC 8446 section 4.2.1.
const VERSIONS: [u16; 2] = [0x0304, 0x0303];

/// One record with a ClientHello (RFC 8446 section 4.1.2) that names this server and offers these protocols.
pub(crate) fn client_hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let mut server = vec![0];
    server.extend(long(name.as_bytes()));
    let offered: Vec<u8> = protocols
        .iter()
        .flat_map(|protocol| short(protocol.as_bytes()))
        .collect();
    let extensions = [
        extension(0, &long(&server)),
        // Extended master secret (RFC 7627) and secure renegotiation (RFC 5746), which some servers insist on in TLS 1.2.
        extension(23, &[]),
        extension(0xff01, &[0]),
        extension(10, &long(&pairs(&GROUPS))),
        extension(11, &short(&[0])),
        extension(13, &long(&pairs(&SIGNATURES))),
        extension(16, &long(&offered)),
        extension(43, &short(&pairs(&VERSIONS))),
        extension(51, &long(&[])),
    ];
    let random: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let body = [
        &[3, 3][..],
        &random,
        // No session.
        &[0],
        &long(&pairs(&CIPHER_SUITES)),
        // No compression, the only method there is.
        &[1, 0],
        &long(&extensions.concat()),
    ]
    .concat();
    // A message's length has three bytes; this one's first is always 0.
    let message = [&[CLIENT_HELLO, 0][..], &long(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &long(&message)].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(data)].concat()
}

fn pairs(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

/// A vector with a length of one byte; nothing here is longer.
fn short(bytes: &[u8]) -> Vec<u8> {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[len], bytes].concat()
}

/// A vector with a length of two bytes; a server name has 255 at most.
fn long(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], bytes].concat()
}
