//! Where snapshots come from: a file or Kubernetes. It must not look into them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use discovery::{file, kubernetes};
use model::Snapshot;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

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
}

impl Source {
    /// Starts the source that is configured.
    pub(crate) async fn start(config: &Gateway) -> anyhow::Result<Self> {
        let kind = match &config.source.kubernetes {
            Some(kubernetes) => {
                let settings = config.to_discovery(kubernetes);
                Kind::Kubernetes(Box::new(kubernetes::start(settings).await?))
            }
            None => {
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
        let Kind::Kubernetes(source) = &self.kind else {
            // A file is read before anything else starts.
            return;
        };
        let (mut status, snapshots) = (source.status.clone(), source.snapshots.clone());
        tokio::spawn(async move {
            loop {
                let known = status.borrow_and_update().clone();
                waiting.say(known.waiting_for);
                if known.ready {
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
        });
    }

    /// Keeps for the next start what is not kept yet.
    pub(crate) async fn save(&self) {
        if let Kind::Kubernetes(source) = &self.kind {
            source.save().await;
        }
    }

    /// How it goes, for people.
    pub(crate) fn status(&self) -> Value {
        let status = match &self.kind {
            Kind::File(source) => serde_json::to_value(&*source.status.borrow()),
            Kind::Kubernetes(source) => serde_json::to_value(&*source.status.borrow()),
        };
        status.unwrap_or_default()
    }

    /// Who the gateway is in metrics. Labels name it as they name a workload for Istio.
    pub(crate) fn myself(&self, config: &Gateway) -> Myself {
        let (cluster, namespace, workload, labels) = match &self.kind {
            Kind::File(_) => {
                let labels = config.labels.iter();
                let labels =
                    labels.map(|(key, value)| (key.as_str().into(), value.as_str().into()));
                let (cluster, namespace) = (&config.cluster, &config.namespace);
                (cluster, namespace, &config.workload, labels.collect())
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
