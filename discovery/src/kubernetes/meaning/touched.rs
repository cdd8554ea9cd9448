//! What has to be derived again. It must not know how.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use model::{ClusterId, Hostname};

use super::hosts::host_of;
use crate::kubernetes::facts::Key;

/// More addresses than this of one service in one cluster are as good as all.
const MANY: usize = 256;

/// Everything touched since the last publication.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) services: HashMap<Hostname, Parts>,
    pub(super) networks: bool,
    pub(super) exposure: bool,
}

/// What of a service was touched.
#[derive(Debug)]
pub(super) enum Parts {
    /// Anything: all of it is derived again.
    Whole,
    /// Endpoints of these clusters.
    Some(BTreeMap<ClusterId, Which>),
}

/// Which endpoints of a service in a cluster.
#[derive(Debug)]
pub(super) enum Which {
    All,
    Some(BTreeSet<IpAddr>),
}

impl Touched {
    pub(super) fn whole(&mut self, host: Hostname) {
        self.services.insert(host, Parts::Whole);
    }

    fn part(&mut self, host: Hostname, cluster: &ClusterId) -> Option<&mut Which> {
        let parts = self
            .services
            .entry(host)
            .or_insert_with(|| Parts::Some(BTreeMap::new()));
        match parts {
            Parts::Whole => None,
            Parts::Some(clusters) => Some(
                clusters
                    .entry(cluster.clone())
                    .or_insert_with(|| Which::Some(BTreeSet::new())),
            ),
        }
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
            Self::Some(addresses) => addresses.contains(&address),
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
    pub(super) fn whole(&mut self, service: &Key) {
        if let Some(host) = host_of(service, self.domain) {
            self.touched.whole(host);
        }
    }

    pub(super) fn all_endpoints(&mut self, service: &Key) {
        let host = host_of(service, self.domain);
        let part = host.and_then(|host| self.touched.part(host, self.cluster));
        if let Some(part) = part {
            *part = Which::All;
        }
    }

    pub(super) fn endpoints(&mut self, service: &Key, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let host = host_of(service, self.domain);
        let part = host.and_then(|host| self.touched.part(host, self.cluster));
        if let Some(part) = part
            && let Which::Some(known) = part
        {
            known.extend(addresses);
            if known.len() > MANY {
                *part = Which::All;
            }
        }
    }

    pub(super) fn networks(&mut self) {
        self.touched.networks = true;
    }
}
