//! All resources of one service for one view, made again only as far as they can differ. It must not keep anything itself.

use std::sync::Arc;
use std::time::Duration;

use model::{Audience, Service};

use super::assignment::{Assignment, LeftOut, Surroundings};
use super::{
    Flavour, Kind, MeshTls, Naming, Resource, cluster, cluster_name, grpc, load_assignment,
};

/// The resources of one service.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// By [`Kind`].
    pub resources: [Vec<Arc<Resource>>; 4],
    /// Endpoints that the client is not told of, over all ports and subsets.
    pub left_out: LeftOut,
    /// Whether it has endpoints in other networks, so that a change of gateways concerns it.
    pub has_remote: bool,
}

/// What is the same for all services of a view.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Who asks, and what surrounds him.
    pub around: Surroundings<'a>,
    /// What he is.
    pub flavour: Flavour,
    /// His certificates for the mesh.
    pub tls: &'a MeshTls,
    /// For policies that say nothing.
    pub connect_timeout: Duration,
}

/// Makes the resources of a service. `before` is the service as it was with what came of it then: only endpoints are made
/// anew where nothing else has changed, and what comes out equal is the same `Arc`.
#[must_use]
pub fn compile(
    service: &Service,
    setting: &Setting<'_>,
    before: Option<(&Service, &Compiled)>,
) -> Compiled {
    let mut compiled = Compiled::default();
    let same_shape = before.is_some_and(|(old, _)| {
        old.ports == service.ports
            && old.subsets == service.subsets
            && (Arc::ptr_eq(&old.policy, &service.policy) || old.policy == service.policy)
    });
    let from = setting.around.from;
    compiled.has_remote = service.endpoints.iter().any(|e| !from.is_own(&e.origin));
    if let Some((_, old)) = before.filter(|_| same_shape) {
        compiled.resources = old.resources.clone();
        compiled.resources[Kind::Endpoints as usize].clear();
    }
    let host = service.host.as_str();
    for subset in service.subset_names() {
        let mut last = None;
        for port in &service.ports {
            // A number may stand twice, for TCP and for UDP; ports are sorted by number.
            if last.replace(port.number) == Some(port.number) {
                continue;
            }
            let Some(join) = service.join(port.number, subset, Audience::Mesh) else {
                continue;
            };
            let name = cluster_name(port.number, subset, host);
            let assignment = Assignment::of(service, &join, &setting.around);
            compiled.left_out.add(assignment.left_out);
            let endpoints = load_assignment(&name, &assignment, setting.flavour);
            compiled.add(Kind::Endpoints, Resource::new(&name, &endpoints));
            if same_shape {
                continue;
            }
            let mesh_name = format!("outbound_.{}_.{subset}_.{host}", port.number);
            let naming = Naming {
                name: &name,
                mesh_name: &mesh_name,
            };
            let cluster = cluster(
                naming,
                &join,
                from,
                setting.flavour,
                setting.tls,
                setting.connect_timeout,
            );
            compiled.add(Kind::Cluster, Resource::new(&name, &cluster));
            if setting.flavour == Flavour::Grpc && subset.is_empty() {
                let target = format!("{host}:{}", port.number);
                let listener = grpc::listener(&target);
                compiled.add(Kind::Listener, Resource::new(&target, &listener));
                let routes = grpc::routes(&target, &name);
                compiled.add(Kind::Routes, Resource::new(&target, &routes));
            }
        }
    }
    if let Some((_, old)) = before {
        compiled.share_with(old);
    }
    compiled
}

impl Compiled {
    fn add(&mut self, kind: Kind, resource: Resource) {
        self.resources[kind as usize].push(Arc::new(resource));
    }

    /// Takes over what is equal.
    fn share_with(&mut self, old: &Self) {
        for (new, old) in self.resources.iter_mut().zip(&old.resources) {
            for resource in new {
                let known = old.iter().find(|known| known.tag == resource.tag);
                if let Some(known) = known {
                    *resource = Arc::clone(known);
                }
            }
        }
    }
}
