//! A Pod's metadata -> what is kept of it. Its address and readiness are the slices' business.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use model::Labels;
use serde::{Deserialize, Serialize};

use super::Key;

/// What is kept of a Pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodFact {
    /// Which one.
    pub key: Key,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// The name of its workload: of the Deployment, CronJob or other owner, or the Pod's own.
    pub workload: Arc<str>,
}

/// The label whose value a Deployment appends to its ReplicaSet's name.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The label that OpenShift's DeploymentConfig puts on its Pods.
const DEPLOYMENT_CONFIG: &str = "openshift.io/deployment-config.name";

pub(super) fn read(metadata: &ObjectMeta) -> PodFact {
    let key = Key::of(metadata);
    PodFact {
        labels: Arc::new(labels(metadata)),
        workload: workload(metadata).map_or_else(|| key.name.clone(), Arc::from),
        key,
    }
}

/// The labels of an object.
pub(super) fn labels(metadata: &ObjectMeta) -> Labels {
    let labels = metadata.labels.iter().flatten();
    labels
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect()
}

/// The name that people know: a ReplicaSet's Deployment, a Job's CronJob (Istio's `GetDeployMetaFromPod`).
fn workload(metadata: &ObjectMeta) -> Option<&str> {
    let label = |name| metadata.labels.as_ref().and_then(|all| all.get(name));
    let owners: &[OwnerReference] = metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let name = owner.name.as_str();
    let shorter = match owner.kind.as_str() {
        "ReplicaSet" => label(TEMPLATE_HASH)
            .and_then(|hash| name.strip_suffix(hash.as_str()))
            .and_then(|name| name.strip_suffix('-')),
        "ReplicationController" => label(DEPLOYMENT_CONFIG).map(String::as_str),
        "Job" => name.rsplit_once('-').and_then(|(cron, time)| {
            let is_time =
                (8..=10).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit());
            is_time.then_some(cron)
        }),
        _ => None,
    };
    Some(shorter.filter(|name| !name.is_empty()).unwrap_or(name))
}
