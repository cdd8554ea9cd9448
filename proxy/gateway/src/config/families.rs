//! Addresses of both families on a kernel that has only one. It must not choose an address otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

use super::Gateway;

impl Gateway {
    /// What this kernel can bind: one without IPv6 (`ipv6.disable=1`) takes `0.0.0.0` for `[::]`, which is all addresses there too.
    #[must_use]
    pub fn for_this_kernel(self) -> Self {
        match socket(AddressFamily::INET6, SocketType::STREAM, None) {
            Err(Errno::AFNOSUPPORT) => self.without_ipv6(),
            _ => self,
        }
    }

    fn without_ipv6(mut self) -> Self {
        let listeners = self.listeners.iter_mut().map(|one| &mut one.address);
        let others = [
            &mut self.admin.address,
            &mut self.stats.address,
            &mut self.ready.address,
        ];
        for address in listeners.chain(others).chain(&mut self.xds.address) {
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
                *address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ipv6_all_addresses_are_those_of_ipv4() {
        let mut gateway = Gateway::default();
        gateway.xds.address = Some("[::]:18000".parse().expect("an address"));
        let mut named = gateway.listeners[0].clone();
        named.address = "[fd00::1]:15444".parse().expect("an address");
        gateway.listeners.push(named);
        let gateway = gateway.without_ipv6();
        let listeners = gateway.listeners.iter().map(|one| one.address);
        let others = [
            gateway.stats.address,
            gateway.ready.address,
            gateway.admin.address,
        ];
        let all: Vec<String> = listeners
            .chain(others)
            .chain(gateway.xds.address)
            .map(|address| address.to_string())
            .collect();
        assert_eq!(
            all,
            [
                "0.0.0.0:15443",
                "[fd00::1]:15444",
                "0.0.0.0:15020",
                "0.0.0.0:15021",
                "127.0.0.1:15000",
                "0.0.0.0:18000"
            ]
        );
    }
}
