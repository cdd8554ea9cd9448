//! Which hosts our Gateways expose: nothing else is reachable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Hostname, Labels, PassthroughRoute};

use super::hosts::covers;
use super::passthrough;
use super::{Me, Rules};
use crate::kubernetes::facts::{GatewayFact, Key, ServerMode, VirtualServiceFact};

/// What our Gateways expose.
#[derive(Debug, Default)]
pub(super) struct Exposure {
    /// Patterns of hosts whose mesh names are routed.
    mesh: BTreeSet<Arc<str>>,
    /// Hosts that plain names lead to.
    plain: BTreeSet<Hostname>,
    /// The plain names.
    pub(super) routes: Arc<Vec<PassthroughRoute>>,
}

/// How far a host is exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Not at all.
    Hidden,
    /// By plain names alone.
    Plain,
    /// By its mesh names.
    Mesh,
}

impl Exposure {
    /// The union of all Gateways that select us, in whatever namespace they stand (Istio's `mergeGateways`; where two of
    /// them overlap, Istio's listener is rejected as a whole). For mesh names the namespace before a host means nothing.
    pub(super) fn of(
        gateways: &BTreeMap<Key, GatewayFact>,
        virtual_services: &BTreeMap<Key, VirtualServiceFact>,
        me: &Me,
        rules: &Rules,
    ) -> Self {
        let ours: Vec<&GatewayFact> = gateways
            .values()
            .filter(|gateway| selects(&gateway.selector, &me.labels))
            .collect();
        let servers = ours.iter().flat_map(|gateway| &gateway.servers);
        let auto = servers.filter(|server| server.mode == ServerMode::Auto);
        let hosts = auto.flat_map(|server| &server.hosts);
        let mesh = hosts.map(|host| match host.split_once('/') {
            Some((_, host)) => host.into(),
            None => host.clone(),
        });
        let routes = passthrough::routes(&ours, virtual_services, me, rules);
        let targets = routes.iter().flat_map(|route| &route.to);
        Self {
            mesh: mesh.collect(),
            plain: targets.map(|to| to.host.clone()).collect(),
            routes: Arc::new(routes),
        }
    }

    pub(super) fn reach(&self, host: &Hostname) -> Reach {
        if self
            .mesh
            .iter()
            .any(|pattern| covers(pattern, host.as_str()))
        {
            Reach::Mesh
        } else if self.leads_plainly_to(host) {
            Reach::Plain
        } else {
            Reach::Hidden
        }
    }

    /// Whether a plain name leads to a host.
    pub(super) fn leads_plainly_to(&self, host: &Hostname) -> bool {
        self.plain.contains(host)
    }
}

/// Whether a selector picks a workload with these labels; one without labels picks every gateway.
fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
