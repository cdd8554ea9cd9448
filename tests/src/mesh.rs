//! Endpoints in zones and networks, and a gateway in-process before them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::{
    Chunked, Endpoint, Health, Hostname, Labels, Network, NetworkId, Origin, Policy, Port, PortMap,
    Protocol, Service, Snapshot, TlsMode, Viewpoint, Workload,
};
use proxy::Proxy;
use proxy::close::Reason;
use proxy::config::{Config, Limits, Listener, Role, Timeouts};
use sidecar::{Backend, Client, Pki};
use tokio::sync::watch;

/// Where an endpoint stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its cluster.
    pub cluster: &'static str,
    /// Its network.
    pub network: &'static str,
    /// `region/zone`.
    pub locality: &'static str,
}

/// A running gateway with its snapshot.
pub struct Mesh {
    /// Trust of all endpoints and clients.
    pub pki: Pki,
    /// The data path.
    pub proxy: Proxy,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Mesh {
    /// A gateway with inbound, outbound and passthrough listeners on free ports of `ip`, and one worker; `change` can
    /// still alter its configuration.
    ///
    /// # Panics
    /// When it cannot start.
    pub fn start(ip: IpAddr, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = proxy_config(ip);
        change(&mut config);
        let (snapshots, receiver) = watch::channel(Arc::default());
        Self {
            pki: Pki::new(),
            proxy: Proxy::start(config, receiver).expect("the gateway starts"),
            snapshots,
        }
    }

    /// Publishes these services and gateways, and waits until the routes follow.
    pub async fn publish(&self, services: Vec<Service>, networks: &[(&str, Vec<model::Gateway>)]) {
        let networks: BTreeMap<NetworkId, Network> = networks
            .iter()
            .map(|(id, gateways)| {
                (
                    (*id).into(),
                    Network {
                        gateways: gateways.clone(),
                    },
                )
            })
            .collect();
        let version = self.snapshots.borrow().version + 1;
        self.publish_snapshot(Snapshot {
            version,
            networks: Arc::new(networks),
            services: Chunked::from_items(services.into_iter().map(Arc::new).collect()),
            passthrough: Arc::default(),
        })
        .await;
    }

    /// Publishes a snapshot, and waits until the routes follow.
    pub async fn publish_snapshot(&self, snapshot: Snapshot) {
        let version = snapshot.version;
        self.snapshots.send_replace(Arc::new(snapshot));
        until("the snapshot is in force", || {
            self.proxy.snapshot_version() == version
        })
        .await;
    }

    /// Where the listener of this role is.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self, role: Role) -> SocketAddr {
        let bound = self.proxy.bound().iter().find(|bound| bound.role == role);
        bound.expect("a listener of that role").address
    }

    /// A client of the listener of this role, as a sidecar.
    #[must_use]
    pub fn client(&self, role: Role) -> Client {
        Client::new(&self.pki, self.address(role))
    }

    /// How many connections have ended for this reason.
    #[must_use]
    pub fn count(&self, reason: Reason) -> u64 {
        let closes = self.proxy.totals().closes;
        let of_reason = closes.iter().filter(|(_, known, _)| *known == reason);
        of_reason.map(|(.., count)| count).sum()
    }

    /// A running endpoint.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn backend(&self, who: &str) -> Backend {
        let ip = sidecar::fresh_loopback();
        Backend::start(&self.pki, who, ip)
            .await
            .expect("an endpoint starts")
    }
}

/// What [`Mesh::start`] begins with: cluster us, network n2, us-west/a.
#[must_use]
pub fn proxy_config(ip: IpAddr) -> Config {
    let listener = |role| Listener {
        address: SocketAddr::new(ip, 0),
        role,
    };
    Config {
        listeners: [Role::Inbound, Role::Outbound, Role::Passthrough]
            .map(listener)
            .into(),
        workers: 1,
        viewpoint: Viewpoint {
            cluster: "us".into(),
            network: "n2".into(),
            locality: "us-west/a".into(),
            ..Viewpoint::default()
        },
        allow_loopback: true,
        zone_spill: true,
        timeouts: Timeouts::default(),
        limits: Limits::default(),
    }
}

/// An endpoint of the service's port `http`.
#[must_use]
pub fn endpoint(address: SocketAddr, place: Place) -> Endpoint {
    Endpoint {
        address: address.ip(),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: Arc::new(PortMap::from([("http".into(), address.port())])),
        labels: Arc::new(Labels::new()),
        origin: Arc::new(Origin {
            cluster: place.cluster.into(),
            network: place.network.into(),
            locality: place.locality.into(),
            workload: Workload::default(),
        }),
    }
}

/// The service `hello` with port 5000.
///
/// # Panics
/// Never: the host name is one.
#[must_use]
pub fn hello_service(endpoints: Vec<Endpoint>) -> Service {
    Service {
        host: Hostname::parse("hello.default.svc.cluster.local").expect("a host name"),
        ports: vec![Port {
            number: 5000,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::new(Policy::default()),
        endpoints: Chunked::from_items(endpoints),
    }
}

/// Waits until something holds.
///
/// # Panics
/// When it does not hold within 20 s.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(outcome.is_ok(), "waited in vain until {what}");
}
