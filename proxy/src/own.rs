//! Which addresses lead back to our own listeners: dialling one would be a loop that ends with the last descriptor. It must not
//! know who is dialled, or why.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Millis;

/// How long the kernel's answers are kept: a machine's addresses may change.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Most of them that are kept.
const KEPT: usize = 4_096;

/// The discard port: nothing is sent there, a socket only asks for the way.
const ANY_PORT: u16 = 9;

/// Our own listeners.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// As they were bound.
    listeners: Vec<SocketAddr>,
    machine: Mutex<Machine>,
}

/// What the kernel has said of addresses.
#[derive(Debug, Default)]
struct Machine {
    is_here: HashMap<IpAddr, bool>,
    since: Millis,
}

impl Own {
    /// These listeners, as they were bound.
    pub(crate) fn new(listeners: &[SocketAddr]) -> Self {
        let canonical =
            |bound: &SocketAddr| SocketAddr::new(bound.ip().to_canonical(), bound.port());
        Self {
            listeners: listeners.iter().map(canonical).collect(),
            machine: Mutex::default(),
        }
    }

    /// Whether one of them is reached there. Asks the kernel only about addresses at the port of a listener on all addresses,
    /// and about each once in a while.
    pub(crate) fn leads_here(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.listeners.iter().any(|listener| {
            listener.port() == address.port()
                && (listener.ip() == ip || (takes_all(listener.ip(), ip) && self.is_here(ip)))
        })
    }

    /// Forgets what the kernel has said, if that was long ago.
    pub(crate) fn look_again(&self, now: Millis) {
        let mut machine = self.machine.lock();
        if now.since(machine.since) >= KEPT_FOR || machine.is_here.len() >= KEPT {
            machine.is_here.clear();
            machine.since = now;
        }
    }

    fn is_here(&self, ip: IpAddr) -> bool {
        let mut machine = self.machine.lock();
        if let Some(known) = machine.is_here.get(&ip) {
            return *known;
        }
        let asked = is_of_this_machine(ip);
        if let Some(is_here) = asked {
            machine.is_here.insert(ip, is_here);
        }
        asked.unwrap_or(false)
    }
}

/// Whether a listener on this address takes whoever connects to `ip` of its machine: `[::]` listens on both families.
fn takes_all(listener: IpAddr, ip: IpAddr) -> bool {
    listener.is_unspecified() && (listener.is_ipv6() || ip.is_ipv4())
}

/// Whether an address is one of this machine's, in our network namespace; `None` if the kernel could not say.
fn is_of_this_machine(ip: IpAddr) -> Option<bool> {
    let found = if binds_anything(ip) {
        is_its_own_source(ip)
    } else {
        UdpSocket::bind((ip, 0)).map(|_| true)
    };
    match found {
        Ok(is_here) => Some(is_here),
        Err(fault) if is_our_want(&fault) => None,
        Err(_) => Some(false),
    }
}

/// With `ip_nonlocal_bind` (ip-sysctl.rst; keepalived asks for it) any address can be bound.
fn binds_anything(ip: IpAddr) -> bool {
    let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind"))
        .is_ok_and(|said| said.trim() != "0")
}

/// Whether the kernel would send from this address to itself, as it does to its own primary addresses. Sends nothing.
fn is_its_own_source(ip: IpAddr) -> io::Result<bool> {
    let any = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((ip, ANY_PORT))?;
    Ok(socket.local_addr()?.ip() == ip)
}

/// Want of descriptors, memory or ports says nothing about the address.
fn is_our_want(fault: &io::Error) -> bool {
    crate::sockets::is_want(fault) || fault.kind() == io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    /// An address of this machine that is not a loopback address, where it has one with a way out.
    fn outer() -> Option<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        socket.connect((Ipv4Addr::new(203, 0, 113, 9), 9)).ok()?;
        Some(socket.local_addr().expect("its address").ip())
    }

    /// A listener on all addresses is reached at each of this machine's, not only by loopback, and at nobody else's.
    #[test]
    fn a_listener_on_all_addresses_is_reached_at_each() {
        for bound in ["0.0.0.0:15443", "[::]:15443"] {
            let own = Own::new(&[at(bound)]);
            assert!(own.leads_here(at("127.0.0.1:15443")), "{bound}");
            assert!(own.leads_here(at("127.9.9.9:15443")), "{bound}");
            assert!(own.leads_here(at("[::ffff:127.0.0.1]:15443")), "{bound}");
            assert!(!own.leads_here(at("127.0.0.1:15444")), "{bound}");
            assert!(!own.leads_here(at("203.0.113.9:15443")), "{bound}");
            assert!(!own.leads_here(at("[2001:db8::9]:15443")), "{bound}");
            if let Some(outer) = outer() {
                assert!(own.leads_here(SocketAddr::new(outer, 15443)), "{outer}");
                assert!(!own.leads_here(SocketAddr::new(outer, 15444)), "{outer}");
            }
        }
        assert!(!Own::new(&[at("0.0.0.0:15443")]).leads_here(at("[::1]:15443")));
    }

    #[test]
    fn a_listener_on_one_address_is_reached_there() {
        let own = Own::new(&[at("127.0.0.1:15443")]);
        assert!(own.leads_here(at("127.0.0.1:15443")));
        assert!(own.leads_here(at("[::ffff:127.0.0.1]:15443")));
        assert!(!own.leads_here(at("127.0.0.2:15443")));
    }

    /// The other way to ask, where any address can be bound.
    #[test]
    fn an_address_of_this_machine_is_its_own_source() {
        let is = |ip: &str| is_its_own_source(ip.parse().expect("an address")).ok();
        assert_eq!(is("127.0.0.1"), Some(true));
        assert_ne!(is("203.0.113.9"), Some(true));
    }

    /// The kernel is asked about an address once, and again when a while has passed.
    #[test]
    fn answers_are_kept_for_a_while() {
        let own = Own::new(&[at("0.0.0.0:15443")]);
        let stranger = at("203.0.113.9:15443");
        assert!(!own.leads_here(stranger));
        // As if the address had come to this machine since.
        own.machine.lock().is_here.insert(stranger.ip(), true);
        own.look_again(Millis(59_999));
        assert!(own.leads_here(stranger));
        own.look_again(Millis(60_000));
        assert!(!own.leads_here(stranger));
    }
}
