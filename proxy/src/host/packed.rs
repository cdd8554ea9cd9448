//! A dialled address in 19 bytes instead of the 32 of std's, so that a host's state fits into a cache line.

use std::net::{IpAddr, SocketAddr};

use model::EndpointKey;

/// Address, port and family. Scope and flow of an IPv6 address are not kept: link-local addresses are never dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    address: [u8; 16],
    port: [u8; 2],
    is_v4: bool,
}

impl Packed {
    pub(super) fn of(EndpointKey(address): EndpointKey) -> Self {
        let (bytes, is_v4) = match address.ip() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), true),
            IpAddr::V6(v6) => (v6.octets(), false),
        };
        Self {
            address: bytes,
            port: address.port().to_be_bytes(),
            is_v4,
        }
    }

    pub(super) fn unpack(self) -> EndpointKey {
        let [.., a, b, c, d] = self.address;
        let ip = if self.is_v4 {
            IpAddr::from([a, b, c, d])
        } else {
            IpAddr::from(self.address)
        };
        EndpointKey(SocketAddr::new(ip, u16::from_be_bytes(self.port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() {
        for text in [
            "10.0.0.1:80",
            "[2001:db8::1]:65535",
            "[::ffff:10.0.0.1]:0",
            "[::]:1",
        ] {
            let key = EndpointKey(text.parse().expect(text));
            assert_eq!(Packed::of(key).unpack(), key, "{text}");
        }
    }
}
