//! What has to be derived again. It must not know how.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use model::{ClusterId, Hostname};

use super::filter::Filter;
use super::hosts::host_of;
use crate::kubernetes::facts::{Key, SliceEndpoint};

/// More addresses than this of one service in one cluster are as good as all.
pub(super) const MANY: usize = 256;

/// Up to so many addresses are sought one by one.
const FEW: usize = 4;

/// When so many Pods or Nodes of a cluster change at once, all its endpoints are touched, instead of one pass over them for
/// each.
pub(super) const MANY_PASSES: usize = 16;

/// Everything touched since the last publication.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) services: HashMap<Hostname, Parts>,
    pub(super) networks: bool,
    pub(super) exposure: bool,
    /// While many objects change at once: how many passes over a cluster's endpoints they have asked for.
    pub(super) passes: Option<usize>,
}

/// What of a service was touched: its ports and settings in any case, and endpoints of these clusters.
pub(super) type Parts = BTreeMap<ClusterId, Which>;

/// Which endpoints of a service in a cluster.
#[derive(Clone, Debug)]
pub(super) enum Which {
    All,
    /// By address, sorted. Mostly one or two, so a list is quicker than a set.
    Some(Vec<IpAddr>),
}

impl Touched {
    /// A service's ports and settings.
    pub(super) fn settings(&mut self, host: Hostname) {
        self.services.entry(host).or_default();
    }

    /// All endpoints of a service in a cluster, and its settings.
    pub(super) fn all_endpoints(&mut self, host: Hostname, cluster: &ClusterId) {
        let parts = self.services.entry(host).or_default();
        parts.insert(cluster.clone(), Which::All);
    }

    /// The view of one cluster's facts.
    pub(super) fn by<'a>(&'a mut self, cluster: &'a ClusterId, domain: &'a str) -> Touch<'a> {
        Touch {
            touched: self,
            cluster,
            domain,
        }
    }
}

impl Which {
    pub(super) fn has(&self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Some(addresses) if addresses.len() <= FEW => addresses.contains(&address),
            Self::Some(addresses) => addresses.binary_search(&address).is_ok(),
        }
    }

    /// Whether any of these may be in the slice with this filter.
    pub(super) fn may_be_in(&self, filter: &Filter) -> bool {
        match self {
            Self::Some(addresses) if addresses.len() <= FEW => {
                addresses.iter().any(|address| filter.may_have(*address))
            }
            _ => true,
        }
    }

    /// Those of a slice's endpoints, which are sorted by address.
    pub(super) fn among<'a>(&self, endpoints: &'a [SliceEndpoint]) -> Vec<&'a SliceEndpoint> {
        match self {
            Self::Some(addresses) if addresses.len() <= FEW => {
                let of = |address: IpAddr| {
                    let start = endpoints.partition_point(|other| other.address < address);
                    let same = endpoints[start..].iter();
                    same.take_while(move |other| other.address == address)
                };
                addresses.iter().copied().flat_map(of).collect()
            }
            _ => {
                let all = endpoints.iter();
                all.filter(|endpoint| self.has(endpoint.address)).collect()
            }
        }
    }

    /// Whether any of these may lie between two addresses.
    pub(super) fn has_between(&self, first: IpAddr, last: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Some(addresses) => {
                let from = addresses.partition_point(|address| *address < first);
                addresses.get(from).is_some_and(|address| *address <= last)
            }
        }
    }

    /// What is among these or among those.
    pub(super) fn or(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Some(mut addresses), Self::Some(others)) => {
                addresses.extend(others);
                addresses.sort_unstable();
                addresses.dedup();
                Self::Some(addresses)
            }
            _ => Self::All,
        }
    }
}

/// Records what one cluster's facts touch.
#[derive(Debug)]
pub(super) struct Touch<'a> {
    touched: &'a mut Touched,
    cluster: &'a ClusterId,
    domain: &'a str,
}

impl Touch<'_> {
    pub(super) fn settings(&mut self, service: &Key) {
        if let Some(host) = host_of(service, self.domain) {
            self.touched.settings(host);
        }
    }

    pub(super) fn all_endpoints(&mut self, service: &Key) {
        if let Some(host) = host_of(service, self.domain) {
            self.touched.all_endpoints(host, self.cluster);
        }
    }

    pub(super) fn endpoints(&mut self, service: &Key, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let Some(host) = host_of(service, self.domain) else {
            return;
        };
        let parts = self.touched.services.entry(host).or_default();
        let none = || Which::Some(Vec::new());
        let part = parts.entry(self.cluster.clone()).or_insert_with(none);
        if let Which::Some(known) = part {
            known.extend(addresses);
            known.sort_unstable();
            known.dedup();
            if known.len() > MANY {
                *part = Which::All;
            }
        }
    }

    /// Whether a pass over the cluster's endpoints is worth it, for one of many objects that change at once.
    pub(super) fn may_pass(&mut self) -> bool {
        let Some(passes) = &mut self.touched.passes else {
            return true;
        };
        *passes += 1;
        *passes <= MANY_PASSES
    }

    pub(super) fn networks(&mut self) {
        self.touched.networks = true;
    }
}
