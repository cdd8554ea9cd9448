//! What one sort of client sees of the snapshot: all its resources, kept up to date by doing again only what has changed. It
//! must not know streams.

mod shelf;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{ClusterId, Hostname, Locality, NetworkId, Service, Snapshot, Viewpoint, diff};

pub use self::shelf::{Shelf, Shelves};
use crate::resource::assignment::{LeftOut, Surroundings};
use crate::resource::{Compiled, Flavour, Kind, MeshTls, Setting, compile};

/// What tells one view from another: clients that agree on it share every byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewKey {
    /// What the clients are.
    pub flavour: Flavour,
    /// Their cluster.
    pub cluster: ClusterId,
    /// Their network.
    pub network: NetworkId,
    /// Where they stand.
    pub locality: Locality,
}

/// What is the same for all views.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The gateway's own place: what a client that does not say its cluster or network is taken to share. Labels are not
    /// looked at.
    pub own: Viewpoint,
    /// The certificates that Envoys use for the mesh.
    pub mesh_tls: MeshTls,
    /// Limit of a connection attempt where no policy says one.
    pub connect_timeout: Duration,
    /// Whether clients may be told of loopback addresses.
    pub allow_loopback: bool,
}

/// Gateway addresses that probes find dead.
pub type Dead = Arc<BTreeSet<SocketAddr>>;

/// One view.
#[derive(Debug)]
pub struct View {
    viewpoint: Viewpoint,
    flavour: Flavour,
    snapshot: Arc<Snapshot>,
    dead: Dead,
    services: HashMap<Hostname, (Arc<Service>, Compiled)>,
    shelves: Arc<Shelves>,
}

impl View {
    /// A view of nothing yet.
    #[must_use]
    pub fn new(key: &ViewKey, settings: &Settings) -> Self {
        Self {
            viewpoint: Viewpoint {
                cluster: key.cluster.clone(),
                network: key.network.clone(),
                locality: key.locality.clone(),
                regions: settings.own.regions.clone(),
                ..Viewpoint::default()
            },
            flavour: key.flavour,
            snapshot: Arc::default(),
            dead: Dead::default(),
            services: HashMap::new(),
            shelves: Arc::default(),
        }
    }

    /// Brings a snapshot into it.
    pub fn update(&mut self, settings: &Settings, snapshot: &Arc<Snapshot>, dead: &Dead) {
        let changes = diff(&self.snapshot, snapshot);
        let gateways = changes.networks || self.dead != *dead;
        self.snapshot = Arc::clone(snapshot);
        self.dead = Arc::clone(dead);
        let mut update = shelf::Update::default();
        for host in &changes.removed {
            if let Some((_, old)) = self.services.remove(host) {
                update.replace(Some(&old), &Compiled::default());
            }
        }
        for host in &changes.changed {
            if let Some(service) = snapshot.service(host) {
                self.compile(service, settings, &mut update);
            }
        }
        if gateways {
            let with_remote = self.services.values().filter(|(_, made)| made.has_remote);
            let services: Vec<_> = with_remote.map(|(service, _)| service.clone()).collect();
            for service in services {
                self.compile(&service, settings, &mut update);
            }
        }
        let mut left_out = LeftOut::default();
        for (_, made) in self.services.values() {
            left_out.add(made.left_out);
        }
        self.shelves = Arc::new(update.apply(&self.shelves, left_out));
    }

    /// Its resources, as of the last update.
    #[must_use]
    pub fn shelves(&self) -> &Arc<Shelves> {
        &self.shelves
    }

    fn compile(&mut self, service: &Arc<Service>, settings: &Settings, update: &mut shelf::Update) {
        let setting = Setting {
            around: Surroundings {
                from: &self.viewpoint,
                networks: &self.snapshot.networks,
                dead: &self.dead,
                allow_loopback: settings.allow_loopback,
                // A gateway lets nobody in without the mesh's TLS.
                through_gateways: self.flavour == Flavour::Envoy
                    && settings.mesh_tls != MeshTls::Off,
            },
            flavour: self.flavour,
            tls: &settings.mesh_tls,
            connect_timeout: settings.connect_timeout,
        };
        let before = self.services.get(&service.host);
        let made = compile(
            service,
            &setting,
            before.map(|(service, made)| (&**service, made)),
        );
        update.replace(before.map(|(_, made)| made), &made);
        let host = service.host.clone();
        self.services.insert(host, (Arc::clone(service), made));
    }
}

impl Shelves {
    /// The shelf of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &Arc<Shelf> {
        &self.kinds[kind as usize]
    }
}

#[cfg(test)]
mod tests;
