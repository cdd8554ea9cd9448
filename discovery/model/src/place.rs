//! Where an endpoint belongs among those of its service, seen from one place. A pure rule: the balancer and the xDS server
//! both use it.

use std::net::IpAddr;

use crate::{Closeness, Endpoint, LocalityPolicy, Viewpoint, closeness, distribute_share};

/// A tier, and within it the endpoints that one locality rule treats alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The tier.
    pub closeness: Closeness,
    /// The `distribute` entry that the endpoints fall under; without one, 0 for our own network and 1 for others.
    pub group: u16,
    /// The percent that the entry gives; 100 without one.
    pub percent: u32,
}

impl Place {
    /// A tier that another control plane has given, the first being 0.
    #[must_use]
    pub fn given(tier: usize) -> Self {
        Self {
            closeness: Closeness::given(tier),
            group: 0,
            percent: 100,
        }
    }
}

/// Where an endpoint belongs: `distribute` puts all into one tier, else closeness decides.
#[must_use]
pub fn place(from: &Viewpoint, policy: &LocalityPolicy, endpoint: &Endpoint) -> Place {
    let origin = &endpoint.origin;
    match distribute_share(from, policy, &origin.locality) {
        Some((group, percent)) => Place {
            closeness: Closeness(0),
            group,
            percent,
        },
        None => Place {
            closeness: closeness(from, policy, origin, &endpoint.labels),
            group: u16::from(!from.is_own(origin)),
            percent: 100,
        },
    }
}

/// Whether an address may be dialled by anybody (design section 5): not the unspecified one, nor link-local or multicast
/// ones, and loopback only where `allow_loopback` says so.
#[must_use]
pub fn is_dialable(ip: IpAddr, allow_loopback: bool) -> bool {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(ip.is_unspecified()
        || ip.is_multicast()
        || link_local
        || (ip.is_loopback() && !allow_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_dials() {
        for (ip, anybody, with_loopback) in [
            ("10.1.2.3", true, true),
            ("fd00::1", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("224.0.0.1", false, false),
            ("ff02::1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let ip = ip.parse().expect("an address");
            assert_eq!(is_dialable(ip, false), anybody, "{ip}");
            assert_eq!(is_dialable(ip, true), with_loopback, "{ip}");
        }
    }
}
