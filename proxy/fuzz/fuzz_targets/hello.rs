//! First bytes of any kind: no panic, the same answer however they are cut, and what rustls accepts too is read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::hello::{Alpn, Hello, Parser, Reject};
use rustls::server::{Accepted, Acceptor};

/// The default ceiling.
const LIMIT: usize = 64 << 10;

fuzz_target!(|raw: &[u8]| {
    let whole = Parser::new(LIMIT).advance(raw);
    assert_eq!(bytewise(raw), whole);
    if let Ok(Some(hello)) = &whole {
        assert!(hello.len <= raw.len());
        assert_eq!(Parser::new(LIMIT).advance(&raw[..hello.len - 1]), Ok(None));
    }
    match (whole, ask_rustls(raw)) {
        (Ok(Some(hello)), Some(accepted)) => compare(&hello, &accepted),
        (Ok(None), Some(_)) => panic!("rustls has a whole hello, we wait"),
        (Err(reject), Some(_)) => assert!(may_be_stricter(reject), "rustls accepts: {reject}"),
        (_, None) => {}
    }
});

fn bytewise(raw: &[u8]) -> Result<Option<Hello>, Reject> {
    let mut parser = Parser::new(LIMIT);
    for end in 0..raw.len() {
        if let Some(hello) = parser.advance(&raw[..end])? {
            return Ok(Some(hello));
        }
    }
    parser.advance(raw)
}

fn ask_rustls(mut raw: &[u8]) -> Option<Accepted> {
    let mut acceptor = Acceptor::default();
    loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => return Some(accepted),
            Err(_) => return None,
            // An error here says that its buffer is full.
            Ok(None) if raw.is_empty() || acceptor.read_tls(&mut raw).is_err() => return None,
            Ok(None) => {}
        }
    }
}

fn compare(hello: &Hello, accepted: &Accepted) {
    let theirs = accepted.client_hello();
    let name = theirs.server_name().unwrap_or_default();
    assert_eq!(hello.name.as_str(), name.strip_suffix('.').unwrap_or(name));
    let protocols = theirs.alpn().into_iter().flatten();
    let offered = protocols.fold(Alpn::default(), Alpn::with);
    assert_eq!(hello.alpn, offered);
}

/// The classes of difference in which we refuse, as the crate's own differential test names them.
fn may_be_stricter(reject: Reject) -> bool {
    matches!(
        reject,
        Reject::RecordVersion
            | Reject::ForeignRecord
            | Reject::LongRecord
            | Reject::LegacyVersion
            | Reject::NoName
            | Reject::AddressAsName
            | Reject::TwoNames
    )
}
