//! Endpoints in zones and networks, and a gateway in-process before them, as a user would run it: from a configuration and a
//! mesh file.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use gateway::App;
use gateway::config::{self, Gateway, Role};
use model::{
    Chunked, Endpoint, Health, Hostname, Labels, Origin, PassthroughRoute, Policy, Port, PortMap,
    Protocol, Service, TlsMode, Workload,
};
use proxy::Proxy;
use proxy::close::Reason;
use serde_json::Value;
use sidecar::{Backend, Client, Pki};
use tempfile::TempDir;

use crate::{mesh_yaml, until};

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

/// A running gateway with its files.
pub struct Mesh {
    /// Trust of all endpoints and clients.
    pub pki: Pki,
    /// The gateway.
    pub app: App,
    roles: Vec<Role>,
    folder: TempDir,
}

impl Mesh {
    /// A gateway with inbound, outbound and passthrough listeners on free ports of `ip`, and one worker; `change` can
    /// still alter its configuration.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn start(ip: IpAddr, change: impl FnOnce(&mut Gateway)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mesh = folder.path().join("mesh.yaml");
        std::fs::write(&mesh, "services: []\n").expect("written");
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, gateway_yaml(ip, "")).expect("written");
        let (mut config, _) = config::load(Some(&file), &[]).expect("a good configuration");
        config.workers = Some(1);
        change(&mut config);
        Self {
            pki: Pki::new(),
            roles: config
                .listeners
                .iter()
                .map(|listener| listener.role)
                .collect(),
            app: App::start(config).await.expect("the gateway starts"),
            folder,
        }
    }

    /// The gateway's data path.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        self.app.proxy()
    }

    /// Publishes these services and gateways, and waits until the routes follow.
    pub async fn publish(&self, services: Vec<Service>, networks: &[(&str, Vec<model::Gateway>)]) {
        self.publish_all(services, networks, &[]).await;
    }

    /// Publishes what differs from what is in force, and waits until the routes follow.
    pub async fn publish_all(
        &self,
        services: Vec<Service>,
        networks: &[(&str, Vec<model::Gateway>)],
        passthrough: &[PassthroughRoute],
    ) {
        let before = self.proxy().snapshot_version();
        self.write(&mesh_yaml(&services, networks, passthrough));
        until("the change is in force", || {
            self.proxy().snapshot_version() > before
        })
        .await;
    }

    /// Replaces the mesh file as a whole.
    ///
    /// # Panics
    /// When the folder is gone.
    pub fn write(&self, text: &str) {
        let next = self.folder.path().join("mesh.yaml.next");
        std::fs::write(&next, text).expect("written");
        std::fs::rename(&next, self.file()).expect("renamed");
    }

    /// The lines of the access log so far.
    ///
    /// # Panics
    /// When one is no JSON.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("access.log"));
        let text = text.expect("the access log is there");
        // The last line may still be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// The mesh file that the gateway follows.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("mesh.yaml")
    }

    /// Where the listener of this role is.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self, role: Role) -> SocketAddr {
        let at = self.roles.iter().position(|known| *known == role);
        self.app.addresses().listeners[at.expect("a listener of that role")]
    }

    /// A client of the listener of this role, as a sidecar.
    #[must_use]
    pub fn client(&self, role: Role) -> Client {
        Client::new(&self.pki, self.address(role))
    }

    /// How many connections have ended for this reason.
    #[must_use]
    pub fn count(&self, reason: Reason) -> u64 {
        let closes = self.proxy().totals().closes;
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

    /// Stops the gateway.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}

/// A `gateway.yaml` beside its `mesh.yaml`: cluster us, network n2, us-west/a, all roles on free ports of `ip`; `more` are
/// further lines. The HTTP servers are on loopback whatever `ip` is.
#[must_use]
pub fn gateway_yaml(ip: IpAddr, more: &str) -> String {
    let listen = SocketAddr::new(ip, 0);
    let local = if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)
    } else {
        listen
    };
    format!(
        r#"cluster: us
network: n2
locality: us-west/a
listeners:
  - {{address: "{listen}", role: inbound}}
  - {{address: "{listen}", role: outbound}}
  - {{address: "{listen}", role: passthrough}}
admin: {{address: "{local}"}}
stats: {{address: "{local}"}}
ready: {{address: "{local}"}}
source: {{file: mesh.yaml}}
accessLog: {{path: access.log}}
{more}"#
    )
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
