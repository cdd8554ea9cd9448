//! What a Pod's labels say of its endpoints; worked out once for all Pods that are alike.

use std::sync::Arc;

use model::{Labels, Locality, NetworkId, Workload};

use super::pool::Pool;
use crate::kubernetes::facts::PodFact;

/// What a Pod is to its endpoints. Shared by the Pods of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Traits {
    /// Its labels.
    pub(super) labels: Arc<Labels>,
    /// For metrics.
    pub(super) workload: Workload,
    /// Label `security.istio.io/tlsMode: istio`.
    pub(super) mutual_tls: bool,
    /// Label `istio.io/draining`: no new connections.
    pub(super) draining: bool,
    /// Label `topology.istio.io/network`; empty: none.
    pub(super) network: NetworkId,
    /// Label `topology.istio.io/locality` or `istio-locality`.
    pub(super) locality: Option<Locality>,
}

/// Works out what a Pod is.
pub(super) fn traits(pod: &PodFact, pool: &mut Pool) -> Arc<Traits> {
    let labels = pool.label_map(&pod.labels);
    let traits = of_labels(labels, &pod.key.namespace, &pod.workload);
    pool.traits.share(Arc::new(traits))
}

/// The same for anything with labels, such as a ServiceEntry's endpoint.
pub(super) fn of_labels(labels: Arc<Labels>, namespace: &Arc<str>, workload: &Arc<str>) -> Traits {
    let first = |names: &[&str]| {
        let mut values = names.iter().filter_map(|name| labels.get(*name));
        values.find(|value| !value.is_empty()).cloned()
    };
    // Istio's order (`IstioCanonicalServiceLabelName` and what it falls back to).
    let canonical_name = first(&[
        "service.istio.io/canonical-name",
        "app.kubernetes.io/name",
        "app",
    ]);
    let canonical_revision = first(&[
        "service.istio.io/canonical-revision",
        "app.kubernetes.io/version",
        "version",
    ]);
    let locality = first(&["topology.istio.io/locality", "istio-locality"]);
    Traits {
        workload: Workload {
            namespace: namespace.clone(),
            name: workload.clone(),
            canonical_name: canonical_name.unwrap_or_else(|| workload.clone()),
            canonical_revision: canonical_revision.unwrap_or_else(|| "latest".into()),
        },
        mutual_tls: first(&["security.istio.io/tlsMode"]).as_deref() == Some("istio"),
        draining: first(&["istio.io/draining"]).is_some(),
        network: first(&["topology.istio.io/network"])
            .map_or_else(NetworkId::default, |name| NetworkId::from(&*name)),
        locality: locality.map(|text| written(&text)),
        labels,
    }
}

/// A label's value cannot hold a slash, so a dot stands for it where there is none (Istio's `GetLocalityLabel`).
fn written(label: &str) -> Locality {
    if label.contains('/') {
        label.into()
    } else {
        label.replace('.', "/").into()
    }
}
