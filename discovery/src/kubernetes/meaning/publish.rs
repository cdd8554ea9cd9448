//! What was touched -> the next snapshot, which shares the rest with the one before.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Chunked, Destination, Hostname, PassthroughRoute, Service, Snapshot};

use super::exposure::Exposure;
use super::service::Known;
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
        let mut demands = std::mem::take(&mut self.demands);
        let known = Known {
            me: &self.me,
            rules: &self.rules,
            istio: &self.istio,
            resolved: &self.resolved,
            exposure: &self.exposure,
            views: &self.views(),
        };
        let mut changed = Vec::new();
        for (host, parts) in touched {
            let before = self.snapshot.service(host);
            let asked = demands.get(host);
            let after = known.service(host, parts, before.zip(asked), &mut pool);
            let after = match after {
                Some((after, demand)) => {
                    if asked != Some(&demand) {
                        demands.insert(host.clone(), demand);
                    }
                    Some(after)
                }
                None => {
                    demands.remove(host);
                    None
                }
            };
            if before != after.as_ref() {
                changed.push((host.clone(), after));
            }
        }
        self.pool = pool;
        self.demands = demands;
        changed
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
