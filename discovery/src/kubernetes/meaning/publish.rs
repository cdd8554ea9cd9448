//! What was touched -> the next snapshot, which shares the rest with the one before.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Chunked, Destination, Hostname, PassthroughRoute, Service, Snapshot};

use super::exposure::Exposure;
use super::service::{Derived, Known};
use super::touched::{Parts, Touched};
use super::{World, networks};

/// Up to so many services are replaced one by one, which copies a chunk of the list each.
const FEW: usize = 64;

/// A service as it is now; `None`: it is gone.
type Changed = (Hostname, Option<Arc<Service>>);

impl World {
    /// The snapshot, if anything in it differs from the one before; the first time always.
    pub fn publish(&mut self) -> Option<Arc<Snapshot>> {
        let mut touched = std::mem::take(&mut self.touched);
        let first = self.snapshot.version == 0;
        if touched.exposure {
            self.expose(&mut touched);
        }
        let networks = match touched.networks {
            true => Arc::new(networks::networks(&self.views(), &self.resolved)),
            false => self.snapshot.networks.clone(),
        };
        let changed = self.changed(&touched.services);
        let services = replaced(&self.snapshot.services, &changed);
        let passthrough = match touched.exposure || !changed.is_empty() {
            true => Arc::new(complete(&self.exposure.routes, &services)),
            false => self.snapshot.passthrough.clone(),
        };
        let before = &self.snapshot;
        let same_networks = networks == before.networks;
        let same_routes = passthrough == before.passthrough;
        if !first && changed.is_empty() && same_networks && same_routes {
            return None;
        }
        self.snapshot = Arc::new(Snapshot {
            version: before.version + 1,
            networks: if same_networks {
                before.networks.clone()
            } else {
                networks
            },
            services,
            passthrough: if same_routes {
                before.passthrough.clone()
            } else {
                passthrough
            },
        });
        Some(self.snapshot.clone())
    }

    /// Works out anew what our Gateways expose, and touches the services for which it differs.
    fn expose(&mut self, touched: &mut Touched) {
        let Self {
            istio, me, rules, ..
        } = self;
        let exposure = Exposure::of(&istio.gateways, &istio.virtual_services, me, rules);
        let before = std::mem::replace(&mut self.exposure, exposure);
        for host in self.hosts() {
            let plainly = |exposure: &Exposure| exposure.leads_plainly_to(&host);
            let differs = before.reach(&host) != self.exposure.reach(&host)
                || plainly(&before) != plainly(&self.exposure);
            if differs {
                touched.settings(host);
            }
        }
    }

    fn changed(&mut self, touched: &HashMap<Hostname, Parts>) -> Vec<Changed> {
        let mut pool = std::mem::take(&mut self.pool);
        let known = Known {
            me: &self.me,
            rules: &self.rules,
            istio: &self.istio,
            resolved: &self.resolved,
            exposure: &self.exposure,
            views: &self.views(),
        };
        let derive = |(host, parts)| {
            let before = self.snapshot.service(host).zip(self.demands.get(host));
            (host.clone(), known.service(host, parts, before, &mut pool))
        };
        let derived: Vec<_> = touched.iter().map(derive).collect();
        self.pool = pool;
        let mut changed = Vec::new();
        for (host, derived) in derived {
            let after = self.remember(&host, derived);
            let before = self.snapshot.service(&host);
            if before != after.as_ref() {
                self.tally
                    .replace(before.map(|one| &**one), after.as_deref());
                changed.push((host, after));
            }
        }
        changed
    }

    /// Keeps what stands beside a service.
    fn remember(&mut self, host: &Hostname, derived: Option<Derived>) -> Option<Arc<Service>> {
        let Some(derived) = derived else {
            self.demands.remove(host);
            self.mismatches.remove(host);
            return None;
        };
        if self.demands.get(host) != Some(&derived.demand) {
            self.demands.insert(host.clone(), derived.demand);
        }
        match derived.mismatches.is_empty() {
            true => self.mismatches.remove(host),
            false => self.mismatches.insert(host.clone(), derived.mismatches),
        };
        Some(derived.service)
    }
}

fn replaced(before: &Chunked<Arc<Service>>, changed: &[Changed]) -> Chunked<Arc<Service>> {
    if changed.len() <= FEW {
        let replace = |list: Chunked<Arc<Service>>, (host, after): &Changed| match after {
            Some(after) => list.with(after.clone()),
            None => match before.find(|service| service.host.cmp(host)) {
                Some(gone) => list.without(gone),
                None => list,
            },
        };
        return changed.iter().fold(before.clone(), replace);
    }
    let gone: HashMap<&Hostname, ()> = changed.iter().map(|(host, _)| (host, ())).collect();
    let kept = before
        .iter()
        .filter(|service| !gone.contains_key(&service.host));
    let new = changed.iter().filter_map(|(_, after)| after.clone());
    Chunked::from_items(kept.cloned().chain(new).collect())
}

/// The routes with the port of every target: where a VirtualService names none, the service has to have only one.
fn complete(
    routes: &[PassthroughRoute],
    services: &Chunked<Arc<Service>>,
) -> Vec<PassthroughRoute> {
    let target = |to: &Destination| -> Option<Destination> {
        let mut to = to.clone();
        if to.port == 0 {
            let service = services.find(|service| service.host.cmp(&to.host))?;
            let [only] = service.ports.as_slice() else {
                return None;
            };
            to.port = only.number;
        }
        Some(to)
    };
    let route = |route: &PassthroughRoute| PassthroughRoute {
        to: route.to.iter().filter_map(target).collect(),
        ..route.clone()
    };
    routes.iter().map(route).collect()
}
