//! Where snapshots come from: a file, Kubernetes or an xDS server. It must not look into them.

mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use discovery::kubernetes::status::DiskStatus;
use discovery::{file, kubernetes};
use model::Snapshot;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;
use xds::client;

use self::kept::Keeper;
use crate::config::Gateway;
use crate::metrics::Myself;
use crate::ready::Task;

/// How often it is looked whether the data path has the snapshot that made us ready.
const LOOK: Duration = Duration::from_millis(5);

/// A source that is followed; dropping it ends that.
pub(crate) struct Source {
    pub(crate) kind: Kind,
    published: Arc<Mutex<Instant>>,
}

/// Where snapshots come from.
pub(crate) enum Kind {
    /// A mesh file.
    File(file::Source),
    /// Our own cluster and others.
    Kubernetes(Box<kubernetes::Source>),
    /// An xDS server.
    Xds(Box<Xds>),
}

/// An xDS server that is followed.
pub(crate) struct Xds {
    pub(crate) source: client::Source,
    /// Who we are to it.
    node: client::Node,
    /// What keeps what it says for the next start.
    pub(crate) keeper: Option<Keeper>,
}

impl Source {
    /// Starts the source that is configured.
    pub(crate) async fn start(config: &Gateway) -> anyhow::Result<Self> {
        let kind = match (&config.source.kubernetes, &config.source.xds) {
            (Some(kubernetes), _) => {
                let settings = config.to_discovery(kubernetes);
                Kind::Kubernetes(Box::new(kubernetes::start(settings).await?))
            }
            (None, Some(xds)) => {
                let settings = config.to_xds(xds);
                let limit = config.discovery.ceilings.list_bytes;
                let folder = xds.snapshot_folder();
                let keeper = folder.map(|folder| Keeper::new(folder, &settings, limit));
                let kept = match &keeper {
                    Some(keeper) => keeper.load().await,
                    None => None,
                };
                let node = settings.node.clone();
                let source = client::start(settings, kept);
                if let Some(keeper) = &keeper {
                    keeper.follow(&source).await;
                }
                Kind::Xds(Box::new(Xds {
                    source,
                    node,
                    keeper,
                }))
            }
            (None, None) => {
                let path = config.source.file.clone();
                let source = file::start(path.context("no source is configured")?).await?;
                Kind::File(source)
            }
        };
        let published = Arc::new(Mutex::new(Instant::now()));
        let source = Self { kind, published };
        let (mut snapshots, published) = (source.snapshots().clone(), source.published.clone());
        tokio::spawn(async move {
            // Ends with the source.
            while snapshots.changed().await.is_ok() {
                *published.lock() = Instant::now();
            }
        });
        Ok(source)
    }

    /// What is known.
    pub(crate) fn snapshots(&self) -> &watch::Receiver<Arc<Snapshot>> {
        match &self.kind {
            Kind::File(source) => &source.snapshots,
            Kind::Kubernetes(source) => &source.snapshots,
            Kind::Xds(xds) => &xds.source.snapshots,
        }
    }

    /// How long ago the latest snapshot was published.
    pub(crate) fn age(&self) -> Duration {
        self.published.lock().elapsed()
    }

    /// Waits, as `waiting`, until enough is known to serve, and the data path has it.
    pub(crate) fn follow_readiness(
        &self,
        waiting: Task,
        version: impl Fn() -> u64 + Send + 'static,
    ) {
        match &self.kind {
            // A file is read before anything else starts.
            Kind::File(_) => {}
            Kind::Kubernetes(source) => {
                let known = |status: &kubernetes::status::Status| {
                    (status.ready, status.waiting_for.clone())
                };
                let (status, snapshots) = (source.status.clone(), source.snapshots.clone());
                tokio::spawn(until_ready(status, known, snapshots, waiting, version));
            }
            Kind::Xds(xds) => {
                let known = |status: &client::Status| (status.ready, vec![status.waits_for()]);
                let source = &xds.source;
                let (status, snapshots) = (source.status.clone(), source.snapshots.clone());
                tokio::spawn(until_ready(status, known, snapshots, waiting, version));
            }
        }
    }

    /// Keeps for the next start what is not kept yet.
    pub(crate) async fn save(&self) {
        match &self.kind {
            Kind::File(_) => {}
            Kind::Kubernetes(source) => source.save().await,
            Kind::Xds(xds) => {
                if let Some(keeper) = &xds.keeper {
                    keeper.save(&xds.source).await;
                }
            }
        }
    }

    /// How following an xDS server goes, where one is followed.
    pub(crate) fn client(&self) -> Value {
        match &self.kind {
            Kind::Xds(_) => self.status(),
            Kind::File(_) | Kind::Kubernetes(_) => Value::Null,
        }
    }

    /// How it goes, for people.
    pub(crate) fn status(&self) -> Value {
        let status = match &self.kind {
            Kind::File(source) => serde_json::to_value(&*source.status.borrow()),
            Kind::Kubernetes(source) => serde_json::to_value(&*source.status.borrow()),
            Kind::Xds(xds) => serde_json::to_value(xds.status()),
        };
        status.unwrap_or_default()
    }

    /// Who the gateway is in metrics. Labels name it as they name a workload for Istio.
    pub(crate) fn myself(&self, config: &Gateway) -> Myself {
        let (cluster, namespace, workload, labels) = match &self.kind {
            Kind::File(_) => {
                let (cluster, namespace) = (&config.cluster, &config.namespace);
                let labels = shared(&config.labels);
                (cluster, namespace, &config.workload, labels)
            }
            Kind::Xds(xds) => {
                let me = &xds.node;
                (&me.cluster, &me.namespace, &me.workload, shared(&me.labels))
            }
            Kind::Kubernetes(source) => {
                let me = &source.me;
                let (cluster, namespace) = (&me.cluster.value, &me.namespace.value);
                (
                    cluster,
                    namespace,
                    &me.workload.value,
                    me.labels.value.clone(),
                )
            }
        };
        Myself::new(cluster, namespace, workload, &labels)
    }

    /// Who the gateway is, where that was found out; what configuration says is the same or comes first.
    pub(crate) fn viewpoint(&self, configured: model::Viewpoint) -> model::Viewpoint {
        match &self.kind {
            Kind::File(_) => configured,
            Kind::Xds(xds) => model::Viewpoint {
                cluster: xds.node.cluster.as_str().into(),
                network: xds.node.network.as_str().into(),
                labels: shared(&xds.node.labels),
                ..configured
            },
            Kind::Kubernetes(source) => model::Viewpoint {
                cluster: source.me.cluster.value.as_str().into(),
                network: source.me.network.value.as_str().into(),
                locality: source.me.locality.value.clone(),
                labels: source.me.labels.value.clone(),
                ..configured
            },
        }
    }
}

impl Xds {
    /// How it goes, with what is on disk.
    fn status(&self) -> XdsStatus {
        XdsStatus {
            client: self.source.status.borrow().clone(),
            disk: self.keeper.as_ref().map(Keeper::status),
        }
    }
}

#[derive(Serialize)]
struct XdsStatus {
    #[serde(flatten)]
    client: client::Status,
    disk: Option<DiskStatus>,
}

/// Waits until the status says that enough is known, and then until the data path has it.
async fn until_ready<S>(
    mut status: watch::Receiver<S>,
    known: impl Fn(&S) -> (bool, Vec<String>),
    snapshots: watch::Receiver<Arc<Snapshot>>,
    waiting: Task,
    version: impl Fn() -> u64,
) {
    loop {
        let (ready, waits_for) = known(&status.borrow_and_update());
        waiting.say(waits_for);
        if ready {
            break;
        }
        if status.changed().await.is_err() {
            // The source has ended, and so has the gateway.
            return;
        }
    }
    let enough = snapshots.borrow().version;
    while version() < enough {
        waiting.say(vec!["the routes of what is known".into()]);
        sleep(LOOK).await;
    }
}

fn shared(labels: &BTreeMap<String, String>) -> model::Labels {
    let labels = labels.iter();
    labels
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect()
}
