//! Where snapshots come from: a file or Kubernetes. It must not look into them.

use std::sync::Arc;

use anyhow::Context;
use discovery::{file, kubernetes};
use model::Snapshot;
use serde_json::Value;
use tokio::sync::watch;

use crate::config::Gateway;
use crate::metrics::Myself;
use crate::ready::Ready;

/// A source that is followed; dropping it ends that.
pub(crate) enum Source {
    /// A mesh file.
    File(file::Source),
    /// Our own cluster and others.
    Kubernetes(Box<kubernetes::Source>),
}

impl Source {
    /// Starts the source that is configured; readiness waits for it.
    pub(crate) async fn start(config: &Gateway, ready: &Ready) -> anyhow::Result<Self> {
        if let Some(kubernetes) = &config.source.kubernetes {
            let settings = config.to_discovery(kubernetes);
            let source = kubernetes::start(settings).await?;
            let waiting = ready.wait_for("clusters");
            let mut status = source.status.clone();
            tokio::spawn(async move {
                // Ends when there is enough, or with the source.
                let _ = status.wait_for(|status| status.ready).await;
                drop(waiting);
            });
            return Ok(Self::Kubernetes(Box::new(source)));
        }
        let path = config.source.file.clone();
        let source = file::start(path.context("no source is configured")?).await?;
        Ok(Self::File(source))
    }

    /// What is known.
    pub(crate) fn snapshots(&self) -> &watch::Receiver<Arc<Snapshot>> {
        match self {
            Self::File(source) => &source.snapshots,
            Self::Kubernetes(source) => &source.snapshots,
        }
    }

    /// How it goes, for people.
    pub(crate) fn status(&self) -> Value {
        let status = match self {
            Self::File(source) => serde_json::to_value(&*source.status.borrow()),
            Self::Kubernetes(source) => serde_json::to_value(&*source.status.borrow()),
        };
        status.unwrap_or_default()
    }

    /// Who the gateway is in metrics. Labels name it as they name a workload for Istio.
    pub(crate) fn myself(&self, config: &Gateway) -> Myself {
        let (cluster, namespace, workload, labels) = match self {
            Self::File(_) => {
                let labels = config.labels.iter();
                let labels =
                    labels.map(|(key, value)| (key.as_str().into(), value.as_str().into()));
                let (cluster, namespace) = (&config.cluster, &config.namespace);
                (cluster, namespace, &config.workload, labels.collect())
            }
            Self::Kubernetes(source) => {
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
        match self {
            Self::File(_) => configured,
            Self::Kubernetes(source) => model::Viewpoint {
                cluster: source.me.cluster.value.as_str().into(),
                network: source.me.network.value.as_str().into(),
                locality: source.me.locality.value.clone(),
                labels: source.me.labels.value.clone(),
                ..configured
            },
        }
    }
}
