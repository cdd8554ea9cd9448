//! One service, derived from all that is known of its host.

use std::sync::Arc;

use model::{Chunked, Endpoint, Hostname, Port, Service, TrafficDistribution};

use super::endpoints::{Demand, View, unique};
use super::entries::Resolved;
use super::exposure::{Exposure, Reach};
use super::pool::Pool;
use super::ports::Mismatch;
use super::selection::{Selected, select};
use super::touched::{Parts, Which};
use super::world::Istio;
use super::{Me, Rules, entries, hosts, patch, policy, ports};
use crate::kubernetes::facts::{Key, ServiceEntryFact, ServiceFact};

/// What services are derived from.
pub(super) struct Known<'a> {
    pub(super) me: &'a Me,
    pub(super) rules: &'a Rules,
    pub(super) istio: &'a Istio,
    pub(super) resolved: &'a Resolved,
    pub(super) exposure: &'a Exposure,
    /// Our own cluster first.
    pub(super) views: &'a [View<'a>],
}

/// A service, and what stands beside it.
pub(super) struct Derived {
    pub(super) service: Arc<Service>,
    /// What it asks of its endpoints.
    pub(super) demand: Demand,
    /// Ports that clusters call differently.
    pub(super) mismatches: Vec<Mismatch>,
}

/// What is known of one host.
struct Sources<'a> {
    host: &'a Hostname,
    /// The Service of that name; `None`: the host has another form.
    key: Option<Key>,
    /// Clusters that have the Service and let us see it, our own first.
    services: Vec<(&'a View<'a>, &'a ServiceFact)>,
    entries: Vec<&'a ServiceEntryFact>,
}

impl<'a> Known<'a> {
    /// The service of a host; `None` if there is none that we expose. Endpoints that were not touched are taken from
    /// `before`, as long as the same is asked of them.
    pub(super) fn service(
        &self,
        host: &'a Hostname,
        parts: &Parts,
        before: Option<(&Arc<Service>, &Demand)>,
        pool: &mut Pool,
    ) -> Option<Derived> {
        let reach = self.exposure.reach(host);
        if reach == Reach::Hidden {
            return None;
        }
        let sources = self.sources(host)?;
        let selected = self.selected(&sources);
        let ruling = policy::ruling(&selected, sources.distribution());
        let first = sources.services.first().map(|(_, service)| *service);
        let demand = Demand {
            mesh: reach == Reach::Mesh && ruling.mutual_tls,
            labels: ruling.labels,
            node_local: first.is_some_and(|service| service.node_local),
        };
        let mut endpoints =
            |view: &View, which: &Which| self.endpoints(&sources, view, &demand, which, pool);
        let endpoints = match before {
            Some((before, asked)) if *asked == demand => {
                let mut fresh = Vec::new();
                for view in self.views {
                    if let Some(which) = parts.get(view.cluster) {
                        fresh.extend(endpoints(view, which));
                    }
                }
                patch::patch(&before.endpoints, parts, fresh)
            }
            _ => {
                let all = self.views.iter();
                let all = all.flat_map(|view| endpoints(view, &Which::All));
                let all = Chunked::from_items(all.collect());
                match before {
                    Some((before, _)) => all.sharing_with(&before.endpoints),
                    None => all,
                }
            }
        };
        let (ports, mismatches) = self.ports(&sources, &selected, reach);
        let service = Service {
            host: host.clone(),
            ports,
            subsets: ruling.subsets,
            policy: ruling.policy,
            endpoints,
        };
        Some(Derived {
            service: Arc::new(service),
            demand,
            mismatches,
        })
    }

    /// `None`: there is nothing of that name inside the mesh, or the first Service of it may not be seen by us.
    fn sources(&self, host: &'a Hostname) -> Option<Sources<'a>> {
        let key = hosts::key_of(host, &self.rules.domain);
        let seen = |namespace: &str, service: &ServiceFact| {
            !service.external && service.export_to.is_visible(namespace, &self.me.namespace)
        };
        let mut services = Vec::new();
        if let Some(key) = &key {
            let all = self.views.iter();
            services.extend(all.filter_map(|view| Some((view, view.facts.service(key)?))));
            if let Some((_, first)) = services.first()
                && !seen(&key.namespace, first)
            {
                return None;
            }
            services.retain(|(_, service)| seen(&key.namespace, service));
        }
        let entries = self.istio.entries.values().filter(|entry| {
            let home = &entry.key.namespace;
            entry.internal
                && entry.hosts.contains(host)
                && entry.export_to.is_visible(home, &self.me.namespace)
        });
        let entries: Vec<_> = entries.collect();
        let sources = Sources {
            host,
            key,
            services,
            entries,
        };
        let known = !sources.services.is_empty() || !sources.entries.is_empty();
        known.then_some(sources)
    }

    fn selected(&self, sources: &Sources) -> Selected {
        let entry = sources.entries.first().map(|entry| &*entry.key.namespace);
        let of_service = sources.key.as_ref().map(|key| &*key.namespace);
        let namespace = match sources.services.is_empty() {
            true => entry.or(of_service),
            false => of_service,
        };
        let rules = &self.istio.rules;
        select(
            rules,
            self.me,
            self.rules,
            sources.host,
            namespace.unwrap_or_default(),
        )
    }

    fn endpoints(
        &self,
        sources: &Sources,
        view: &View,
        demand: &Demand,
        which: &Which,
        pool: &mut Pool,
    ) -> Vec<Endpoint> {
        let mut found = Vec::new();
        if let Some(key) = &sources.key {
            let local = hosts::is_cluster_local(key, &self.rules.system_namespace);
            if view.is_own() || !local {
                found = view.endpoints(key, demand, which, pool);
            }
        }
        if view.is_own() {
            for entry in &sources.entries {
                let given = entries::endpoints(
                    view,
                    entry,
                    sources.host,
                    self.resolved,
                    demand,
                    which,
                    pool,
                );
                found.extend(given);
            }
        }
        unique(&mut found);
        found
    }

    /// The ports that have a name; those that clients are told to speak to without the mesh's mutual TLS have none, unless
    /// a plain name may lead there.
    fn ports(
        &self,
        sources: &Sources,
        selected: &Selected,
        reach: Reach,
    ) -> (Vec<Port>, Vec<Mismatch>) {
        let of_services = sources.services.iter();
        let of_services = of_services.map(|(view, service)| (view.cluster, &service.ports[..]));
        let of_entries: Vec<Vec<Port>> = sources
            .entries
            .iter()
            .map(|entry| entries::ports(entry))
            .collect();
        let of_entries = of_entries
            .iter()
            .map(|ports| (&self.me.cluster, &ports[..]));
        let (mut ports, mismatches) = ports::union(of_services.chain(of_entries));
        if reach == Reach::Mesh && !self.exposure.leads_plainly_to(sources.host) {
            let plain = policy::plain_ports(selected);
            ports.retain(|port| !plain.contains(&port.number));
        }
        (ports, mismatches)
    }
}

impl Sources<'_> {
    /// What the first Service says, else its namespace.
    fn distribution(&self) -> TrafficDistribution {
        let Some((view, service)) = self.services.first() else {
            return TrafficDistribution::Default;
        };
        let of_namespace = || {
            let namespace = view.facts.namespace(&service.key.namespace)?;
            namespace.traffic_distribution
        };
        service
            .traffic_distribution
            .or_else(of_namespace)
            .unwrap_or_default()
    }
}
