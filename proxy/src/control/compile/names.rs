//! Which routes lead through the gateways of other networks: what probes ask for, and whom. It must not compile anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::EndpointKey;

use super::{Entry, Routes};
use crate::balance::is_forbidden;
use crate::config::Role;
use crate::control::probes::LeadsTo;
use crate::table::Route;

impl Routes {
    /// Every address at which another network is entered, as far as something here may be sent there.
    pub(in crate::control) fn gateways(&self) -> BTreeMap<EndpointKey, Vec<LeadsTo>> {
        let mut found: BTreeMap<_, Vec<LeadsTo>> = BTreeMap::new();
        if !self.mesh_roles.contains(&Role::Outbound) {
            return found;
        }
        let networks = self.snapshot.networks.iter();
        for (network, entered) in networks.filter(|(id, _)| **id != self.viewpoint.network) {
            for gateway in &entered.gateways {
                if !is_forbidden(gateway.address, &self.own, self.allow_loopback) {
                    let leads_to = found.entry(EndpointKey(gateway.address)).or_default();
                    leads_to.push((network.clone(), gateway.clusters.clone()));
                }
            }
        }
        found
    }

    /// Whether a route still leads to something ready there.
    pub(in crate::control) fn leads_through(&self, route: &Arc<Route>, there: &[LeadsTo]) -> bool {
        let entries = self.services.get(&route.service).iter();
        entries
            .filter(|entry| Arc::ptr_eq(&entry.route, route))
            .any(|entry| entry.leads_through(there))
    }

    /// Some routes that lead to something ready there, of services that differ as far as there are such. Looks at every route
    /// where there are few.
    pub(in crate::control) fn some_through(
        &self,
        there: &[LeadsTo],
        most: usize,
    ) -> Vec<Arc<Route>> {
        let of_service = |entries: &[Entry]| {
            let mut found = entries.iter().filter(|entry| entry.leads_through(there));
            found.next().map(|entry| entry.route.clone())
        };
        self.services
            .iter()
            .filter_map(of_service)
            .take(most)
            .collect()
    }
}

impl Entry {
    fn leads_through(&self, there: &[LeadsTo]) -> bool {
        let is_there = |network, cluster| {
            let leads = |(id, clusters): &LeadsTo| {
                id == network && (clusters.is_empty() || clusters.contains(cluster))
            };
            there.iter().any(leads)
        };
        let sums = self
            .kept
            .iter()
            .flat_map(|kept| &kept.chunks)
            .flat_map(|(_, parts)| &parts.remote);
        self.route.role == Role::Outbound
            && sums
                .filter(|(_, sum)| sum.availability.healthy + sum.availability.degraded > 0)
                .any(|(key, _)| is_there(&key.network, &key.cluster))
    }
}
