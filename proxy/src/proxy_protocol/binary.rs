//! Version 2: a fixed part, addresses, extra fields (`proxy-protocol.txt` section 2.2). The extra fields are skipped, the
//! checksum among them: TCP has one, and nobody who could forge the header would be kept by it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Parsed, ProxyFault};

/// How every header begins: section 2.2.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of the signature, the version and command, the family, and the length.
const FIXED: usize = 16;
/// Bytes that may follow the fixed part, so that a header is at most 4 KiB. Load balancers send some hundred; a length of
/// two bytes could ask for 64 KiB of memory before the hello.
const MAX: u16 = 4096 - 16;

/// Commands and families: section 2.2.
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const INET_STREAM: u8 = 0x11;
const INET6_STREAM: u8 = 0x21;

pub(super) fn parse(raw: &[u8]) -> Result<Parsed, ProxyFault> {
    let rest = raw.get(SIGNATURE.len()..).unwrap_or_default();
    let Some(&version_and_command) = rest.first() else {
        return Ok(Parsed::Incomplete);
    };
    let command = version_and_command & 0x0f;
    match version_and_command >> 4 {
        2 if matches!(command, LOCAL | PROXY) => {}
        2 => return Err(ProxyFault::UnknownCommand(command)),
        version => return Err(ProxyFault::UnknownVersion(version)),
    }
    let Some(&family) = rest.get(1) else {
        return Ok(Parsed::Incomplete);
    };
    // What a LOCAL header says of addresses must be ignored.
    let addresses = match command {
        LOCAL => 0,
        _ => addresses_len(family)?,
    };
    let Some(&[_, _, high, low]) = rest.first_chunk() else {
        return Ok(Parsed::Incomplete);
    };
    let len = u16::from_be_bytes([high, low]);
    if len > MAX {
        return Err(ProxyFault::LongHeader(len));
    }
    if len < addresses {
        return Err(ProxyFault::ShortAddresses(len));
    }
    let end = FIXED + usize::from(len);
    let Some(block) = raw.get(FIXED..end) else {
        return Ok(Parsed::Incomplete);
    };
    if command == LOCAL {
        return Ok(Parsed::without_addresses(end));
    }
    let (addresses, fields) = block.split_at(usize::from(addresses));
    // Section 2.2 has the whole block ignored where the family is unspecified.
    if family >> 4 != 0 {
        check_fields(fields)?;
    }
    Ok(ends(family, addresses).map_or_else(
        || Parsed::without_addresses(end),
        |(source, destination)| Parsed::between(end, source, destination),
    ))
}

/// Bytes of the two addresses and ports of a family (upper half) and transport (lower half).
const fn addresses_len(family: u8) -> Result<u16, ProxyFault> {
    match (family >> 4, family & 0x0f) {
        (0, 0..=2) => Ok(0),
        (1, 0..=2) => Ok(12),
        (2, 0..=2) => Ok(36),
        // Unix sockets: two paths of 108 bytes.
        (3, 0..=2) => Ok(216),
        _ => Err(ProxyFault::UnknownFamily(family)),
    }
}

/// The two ends, if they are those of a TCP connection: nothing else can have been our client.
fn ends(family: u8, addresses: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match family {
        INET_STREAM => {
            let (source, rest) = addresses.split_first_chunk::<4>()?;
            let (destination, ports) = rest.split_first_chunk::<4>()?;
            let (source_port, destination_port) = split_ports(ports)?;
            Some((
                SocketAddr::new(Ipv4Addr::from(*source).into(), source_port),
                SocketAddr::new(Ipv4Addr::from(*destination).into(), destination_port),
            ))
        }
        INET6_STREAM => {
            let (source, rest) = addresses.split_first_chunk::<16>()?;
            let (destination, ports) = rest.split_first_chunk::<16>()?;
            let (source_port, destination_port) = split_ports(ports)?;
            Some((
                SocketAddr::new(Ipv6Addr::from(*source).into(), source_port),
                SocketAddr::new(Ipv6Addr::from(*destination).into(), destination_port),
            ))
        }
        _ => None,
    }
}

fn split_ports(ports: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d] = ports.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// That type, length and value follow each other to the very end. What they say is not looked at.
fn check_fields(mut fields: &[u8]) -> Result<(), ProxyFault> {
    while !fields.is_empty() {
        let (&[_, high, low], rest) = fields.split_first_chunk().ok_or(ProxyFault::BadField)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        fields = rest.get(len..).ok_or(ProxyFault::BadField)?;
    }
    Ok(())
}
