//! The three regions: endpoints, gateways, and what each gateway is told. It must not tell them who is dead.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use model::{
    Chunked, Endpoint, Gateway, Health, Hostname, Network, NetworkId, Origin, Port, Protocol,
    Service, Snapshot, TlsMode, Viewpoint, Workload,
};
use proxy::Proxy;
use proxy::config::{Config, Listener, Role};
use sidecar::{Backend, Behaviour, Client, Pki, fresh_loopback};
use tokio::sync::watch;

/// One region of the mesh: a cluster and a network of its own.
pub(super) struct Region {
    /// Its name, which is its cluster's too.
    pub(super) name: &'static str,
    /// Where its gateway says it stands. The one of us knows no zone: its zones share the load, the loss of one is felt,
    /// and a part spills to the next region. The others prefer their zone a.
    locality: &'static str,
    /// The order in which it turns to the others.
    next: [&'static str; 3],
}

/// The regions, as rows and columns show them.
pub(super) const REGIONS: [Region; 3] = [
    Region {
        name: "eu",
        locality: "eu/eu-a",
        next: ["eu", "us", "ap"],
    },
    Region {
        name: "us",
        locality: "us",
        next: ["us", "eu", "ap"],
    },
    Region {
        name: "ap",
        locality: "ap/ap-a",
        next: ["ap", "us", "eu"],
    },
];

/// The zones of each region.
pub(super) const ZONES: [&str; 2] = ["a", "b"];

/// Endpoints of each zone: an even number, so that half of it refuses and half swallows.
pub(super) const PER_ZONE: usize = 4;

/// A gateway that answers nobody within this is broken; its table is compiled in milliseconds.
const SERVING: Duration = Duration::from_secs(10);

/// Everything that runs, but for the clients.
pub(super) struct Mesh {
    pki: Pki,
    sites: Vec<Site>,
}

struct Site {
    config: Config,
    gateway: Option<Proxy>,
    inbound: SocketAddr,
    outbound: SocketAddr,
    snapshots: watch::Sender<Arc<Snapshot>>,
    /// By zone.
    endpoints: Vec<Vec<Backend>>,
}

impl Mesh {
    /// Starts it all. The gateways are bound before anybody can know their ports, so they start with nothing and are told
    /// afterwards.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let pki = Pki::new();
        let mut sites = Vec::new();
        for region in &REGIONS {
            sites.push(Site::start(&pki, region).await?);
        }
        let snapshot = Arc::new(snapshot(&sites)?);
        for site in &sites {
            site.snapshots.send_replace(Arc::clone(&snapshot));
        }
        Ok(Self { pki, sites })
    }

    /// A client of this region: it knows its own gateway and nothing else.
    pub(super) fn client(&self, region: usize) -> Client {
        Client::new(&self.pki, self.sites[region].outbound)
    }

    /// Waits until the region's gateway has read what it was told. The only requests that are made twice, and counted
    /// nowhere.
    pub(super) async fn until_serving(&self, region: usize) -> anyhow::Result<()> {
        let client = self.client(region);
        let asking = async {
            while client.ask().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SERVING, asking)
            .await
            .with_context(|| {
                let name = REGIONS[region].name;
                format!("the gateway of {name} answers nobody after {SERVING:?}: it has read no snapshot")
            })
    }

    pub(super) async fn kill_zone(&mut self, region: usize, zone: usize) -> anyhow::Result<()> {
        let endpoints = &self.sites[region].endpoints[zone];
        for (index, endpoint) in endpoints.iter().enumerate() {
            let behaviour = match index % 2 {
                0 => Behaviour::Refuse,
                _ => Behaviour::Swallow,
            };
            endpoint
                .set(behaviour)
                .await
                .with_context(|| format!("cannot kill {}", endpoint.who()))?;
            endpoint.cut().await;
        }
        Ok(())
    }

    pub(super) async fn revive_zone(&mut self, region: usize, zone: usize) -> anyhow::Result<()> {
        for endpoint in &self.sites[region].endpoints[zone] {
            endpoint
                .revive()
                .await
                .with_context(|| format!("cannot revive {}", endpoint.who()))?;
        }
        Ok(())
    }

    pub(super) async fn kill_region(&mut self, region: usize) -> anyhow::Result<()> {
        let site = &mut self.sites[region];
        if let Some(gateway) = site.gateway.take() {
            gateway.stop().await;
        }
        for endpoint in site.endpoints.iter().flatten() {
            endpoint
                .die()
                .await
                .with_context(|| format!("cannot kill {}", endpoint.who()))?;
        }
        Ok(())
    }

    pub(super) async fn revive_region(&mut self, region: usize) -> anyhow::Result<()> {
        for zone in 0..ZONES.len() {
            self.revive_zone(region, zone).await?;
        }
        let site = &mut self.sites[region];
        let again = Proxy::start(site.config.clone(), site.snapshots.subscribe());
        site.gateway = Some(again.with_context(|| {
            let name = REGIONS[region].name;
            format!("the gateway of {name} cannot come back on {}", site.inbound)
        })?);
        Ok(())
    }

    /// Ends the gateways; the endpoints end with this.
    pub(super) async fn stop(mut self) {
        for site in &mut self.sites {
            if let Some(gateway) = site.gateway.take() {
                gateway.stop().await;
            }
        }
    }
}

impl Site {
    async fn start(pki: &Pki, region: &Region) -> anyhow::Result<Self> {
        let mut endpoints = Vec::new();
        for zone in ZONES {
            let mut of_zone = Vec::new();
            for n in 1..=PER_ZONE {
                let who = format!("{0}/{0}-{zone}/hello-{n}", region.name);
                let backend = Backend::start(pki, &who, fresh_loopback())
                    .await
                    .with_context(|| format!("cannot start the endpoint {who}"))?;
                of_zone.push(backend);
            }
            endpoints.push(of_zone);
        }
        let ip = fresh_loopback();
        let mut config = config(region, [SocketAddr::new(ip, 0); 2]);
        let (snapshots, receiver) = watch::channel(Arc::default());
        let gateway = Proxy::start(config.clone(), receiver)
            .with_context(|| format!("cannot start the gateway of {}", region.name))?;
        let bound = |role| {
            let found = gateway.bound().iter().find(|bound| bound.role == role);
            found.map(|bound| bound.address)
        };
        let inbound = bound(Role::Inbound).context("no inbound listener was bound")?;
        let outbound = bound(Role::Outbound).context("no outbound listener was bound")?;
        // Where it is bound now it comes back after its death.
        config.listeners = listeners([inbound, outbound]);
        Ok(Self {
            config,
            gateway: Some(gateway),
            inbound,
            outbound,
            snapshots,
            endpoints,
        })
    }
}

fn network(region: &str) -> NetworkId {
    format!("network-{region}").into()
}

fn listeners([inbound, outbound]: [SocketAddr; 2]) -> Vec<Listener> {
    vec![
        Listener::new(inbound, Role::Inbound),
        Listener::new(outbound, Role::Outbound),
    ]
}

/// What `causeway run` would make of the region's file.
fn config(region: &Region, addresses: [SocketAddr; 2]) -> Config {
    Config {
        listeners: listeners(addresses),
        viewpoint: Viewpoint {
            cluster: region.name.into(),
            network: network(region.name),
            locality: region.locality.into(),
            labels: BTreeMap::new(),
            regions: region.next.map(Arc::from).to_vec(),
        },
        allow_loopback: true,
        ..Config::default()
    }
}

/// What is told to every gateway, once: all endpoints are healthy, and stay so.
fn snapshot(sites: &[Site]) -> anyhow::Result<Snapshot> {
    let mut endpoints = Vec::new();
    let mut networks = BTreeMap::new();
    for (region, site) in REGIONS.iter().zip(sites) {
        let gateway = Gateway {
            address: site.inbound,
            name: None,
            clusters: vec![region.name.into()],
        };
        networks.insert(
            network(region.name),
            Network {
                gateways: vec![gateway],
            },
        );
        for (zone, of_zone) in ZONES.iter().zip(&site.endpoints) {
            let origin = Arc::new(origin(region.name, zone));
            let of_zone = of_zone.iter();
            endpoints.extend(of_zone.map(|backend| endpoint(backend.address(), &origin)));
        }
    }
    let service = Service {
        host: Hostname::parse("hello.default.svc.cluster.local")?,
        ports: vec![Port {
            number: 5000,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::default(),
        endpoints: Chunked::from_items(endpoints),
    };
    Ok(Snapshot {
        version: 1,
        networks: Arc::new(networks),
        services: Chunked::from_items(vec![Arc::new(service)]),
        passthrough: Arc::default(),
    })
}

fn origin(region: &str, zone: &str) -> Origin {
    Origin {
        cluster: region.into(),
        network: network(region),
        locality: format!("{region}/{region}-{zone}").into(),
        workload: Workload {
            namespace: "default".into(),
            name: "hello".into(),
            canonical_name: "hello".into(),
            canonical_revision: "v1".into(),
        },
    }
}

fn endpoint(address: SocketAddr, origin: &Arc<Origin>) -> Endpoint {
    Endpoint {
        address: address.ip(),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: Arc::new(BTreeMap::from([("http".into(), address.port())])),
        labels: Arc::default(),
        origin: Arc::clone(origin),
    }
}
