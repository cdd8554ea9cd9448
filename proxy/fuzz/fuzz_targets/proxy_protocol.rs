//! PROXY headers of any kind: no panic, the same answer however they are cut, and never more bytes wanted than 4 KiB.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::proxy_protocol::{Parsed, ProxyFault, parse};

fuzz_target!(|raw: &[u8]| {
    let whole = parse(raw);
    assert_eq!(bytewise(raw), whole);
    match whole {
        Ok(Parsed::Incomplete) => assert!(raw.len() < 4096),
        Ok(Parsed::Header {
            len,
            source,
            destination,
        }) => {
            assert!(len <= raw.len());
            assert_eq!(source.is_some(), destination.is_some());
        }
        Err(_) => {}
    }
});

fn bytewise(raw: &[u8]) -> Result<Parsed, ProxyFault> {
    for end in 0..raw.len() {
        let parsed = parse(&raw[..end])?;
        if parsed != Parsed::Incomplete {
            return Ok(parsed);
        }
    }
    parse(raw)
}
