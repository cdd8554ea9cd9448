//! Version 1: one line of text (`proxy-protocol.txt` section 2.1). It is judged when its end is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Parsed, ProxyFault};

/// How every line begins.
pub(super) const START: &[u8] = b"PROXY ";
/// Bytes of the longest line, its end included: section 2.1.
const MAX: usize = 107;

pub(super) fn parse(raw: &[u8]) -> Result<Parsed, ProxyFault> {
    let window = &raw[..raw.len().min(MAX)];
    let Some(feed) = window.iter().position(|byte| *byte == b'\n') else {
        if window.len() == MAX {
            return Err(ProxyFault::LongLine);
        }
        return Ok(Parsed::Incomplete);
    };
    let text = window[..feed].get(START.len()..).unwrap_or_default();
    let text = text.strip_suffix(b"\r").ok_or(ProxyFault::NoReturn)?;
    let len = feed + 1;
    // `UNKNOWN` is judged on its bytes: whatever follows it up to the line's end must be ignored.
    if text == b"UNKNOWN" || text.starts_with(b"UNKNOWN ") {
        return Ok(Parsed::without_addresses(len));
    }
    let text = std::str::from_utf8(text).map_err(|_| ProxyFault::BadLine)?;
    let (source, destination) = match text.split_once(' ') {
        Some(("TCP4", rest)) => ends::<Ipv4Addr>(rest)?,
        Some(("TCP6", rest)) => ends::<Ipv6Addr>(rest)?,
        _ if matches!(text, "TCP4" | "TCP6") => return Err(ProxyFault::BadLine),
        _ => return Err(ProxyFault::UnknownProtocol),
    };
    Ok(Parsed::between(len, source, destination))
}

/// `<source address> <destination address> <source port> <destination port>`, of one family.
fn ends<A: FromStr + Into<IpAddr>>(text: &str) -> Result<(SocketAddr, SocketAddr), ProxyFault> {
    let mut words = text.split(' ');
    let mut next = || words.next().ok_or(ProxyFault::BadLine);
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if words.next().is_some() {
        return Err(ProxyFault::BadLine);
    }
    Ok((
        SocketAddr::new(address::<A>(source)?, port(source_port)?),
        SocketAddr::new(address::<A>(destination)?, port(destination_port)?),
    ))
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, ProxyFault> {
    let address = text.parse::<A>().map_err(|_| ProxyFault::BadAddress)?;
    Ok(address.into())
}

/// Section 2.1: decimal digits, without leading zeros, 0 to 65535.
fn port(text: &str) -> Result<u16, ProxyFault> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if leading_zero || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProxyFault::BadPort);
    }
    text.parse().map_err(|_| ProxyFault::BadPort)
}
