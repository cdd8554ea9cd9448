//! The server by itself, on the runtime that it has in the gateway, with a snapshot in which one endpoint changes when it is told
//! so. It must not look at a clock but to say what it was.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use model::{
    Chunked, Endpoint, Health, Hostname, Labels, Locality, Origin, Policy, Port, PortMap, Protocol,
    Service, Snapshot, TlsMode, Viewpoint, Workload,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use xds::resource::{MeshTls, SecretSource};
use xds::server::{Config, Server};
use xds::view::{Dead, Settings};

use super::{Plan, Said, now};

/// Serves until standard input ends; each line on it is a command, answered with a line.
///
/// # Errors
/// When it cannot listen.
pub fn serve(plan: Plan) -> Result<()> {
    // As the gateway's: one thread for the control plane.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let mut services = Services::new(plan)?;
    let (snapshots, followed) = watch::channel(Arc::new(services.snapshot()));
    let (_dead, watched) = watch::channel(Dead::default());
    let config = Config {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        tls: None,
        settings: Settings {
            own: Viewpoint {
                cluster: "us".into(),
                network: "n1".into(),
                ..Viewpoint::default()
            },
            mesh_tls: MeshTls::Secrets {
                certificate: "default".into(),
                ca: "ROOTCA".into(),
                source: SecretSource::Bootstrap,
            },
            connect_timeout: Duration::from_secs(3),
            allow_loopback: false,
        },
    };
    let server = runtime.block_on(Server::start(config, followed, watched, async {}))?;
    println!("{}", server.address());
    for line in std::io::stdin().lines() {
        let said = match line?.as_str() {
            "change" => {
                let next = Arc::new(services.change(&snapshots.borrow()));
                let said = look(&server);
                snapshots.send_replace(next);
                said
            }
            _ => look(&server),
        };
        println!("{}", serde_json::to_string(&said)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn look(server: &Server) -> Said {
    let counts = server.registry().counts();
    Said {
        at: now(),
        cpu: cpu(),
        bytes: counts.kinds.iter().map(|kind| kind.bytes).sum(),
        pushes: counts.kinds.iter().map(|kind| kind.pushes).sum(),
    }
}

fn cpu() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Every service, and the next change.
struct Services {
    all: Vec<Arc<Service>>,
    changes: usize,
}

impl Services {
    fn new(plan: Plan) -> Result<Self> {
        let origins = ["us/a", "us/b", "us/c"].map(origin);
        let ports = Arc::new(PortMap::from([("http".into(), 8080)]));
        let mut next = u32::from(Ipv4Addr::new(10, 0, 0, 0));
        let mut all = Vec::new();
        for number in 0..plan.services {
            let endpoints = (0..plan.endpoints)
                .zip(origins.iter().cycle())
                .map(|(_, origin)| {
                    next += 1;
                    Endpoint {
                        address: IpAddr::V4(Ipv4Addr::from(next)),
                        weight: 1,
                        health: Health::Healthy,
                        tls: TlsMode::Istio,
                        ports: ports.clone(),
                        labels: Arc::new(Labels::new()),
                        origin: origin.clone(),
                    }
                });
            let host = format!("service-{number:04}.namespace.svc.cluster.local");
            all.push(Arc::new(Service {
                host: Hostname::parse(&host).context("a host name")?,
                ports: vec![Port {
                    number: 80,
                    name: "http".into(),
                    protocol: Protocol::Tcp,
                }],
                subsets: BTreeMap::new(),
                policy: Arc::new(Policy::default()),
                endpoints: Chunked::from_items(endpoints.collect()),
            }));
        }
        Ok(Self { all, changes: 0 })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: 1,
            services: Chunked::from_items(self.all.clone()),
            ..Snapshot::default()
        }
    }

    /// One endpoint of the next service gets unready, or ready again. (Another weight would be no change: told weights are parts,
    /// and there is one endpoint in each zone.)
    fn change(&mut self, before: &Snapshot) -> Snapshot {
        let at = self.changes % self.all.len();
        self.changes += 1;
        let service = &mut self.all[at];
        let mut endpoints: Vec<Endpoint> = service.endpoints.iter().cloned().collect();
        if let Some(first) = endpoints.first_mut() {
            first.health = match first.health {
                Health::Healthy => Health::Unhealthy,
                _ => Health::Healthy,
            };
        }
        *service = Arc::new(Service {
            endpoints: Chunked::from_items(endpoints),
            ..Service::clone(service)
        });
        before.with_service(service.clone())
    }
}

fn origin(locality: &str) -> Arc<Origin> {
    Arc::new(Origin {
        cluster: "us".into(),
        network: "n1".into(),
        locality: Locality::from(locality),
        workload: Workload::default(),
    })
}
