//! Remote Secrets: followed in each namespace that is to be looked at, and read into kubeconfigs by cluster. It must not look
//! into a kubeconfig, nor say which Secret counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use k8s_openapi::api::core::v1::Secret;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::api::{Api, Fault};
use super::follow::{Ceiling, Event, Follow, Memory, Name, SharedMemory, Target, Weight};
use super::identity::Identity;
use super::owners::{Raw, RemoteSecret, SecretName};

/// The label of remote Secrets, as `istioctl create-remote-secret` sets it.
pub(super) const LABEL: &str = "istio/multiCluster=true";

/// Secrets of one namespace, a hundred times as many as clusters that a gateway knows.
const CEILING: Ceiling = Ceiling {
    objects: 10_000,
    bytes: 256 << 20,
};

/// Each Secret stands for itself.
const WEIGHT: Weight = Weight { group: 0, mass: 1 };

/// What is told of the Secrets of a namespace.
pub(super) type Told = (Arc<str>, Event<RemoteSecret>);

/// Follows the Secrets of these namespaces, each by itself: one that is absent or forbidden keeps no other back. Those that
/// were known `before`, from that cluster, are taken away only as carefully as by any later list.
pub(super) fn follow(
    api: &Api,
    namespaces: &[Arc<str>],
    identity: &Identity,
    before: &BTreeSet<SecretName>,
    tasks: &mut JoinSet<()>,
) -> mpsc::Receiver<Told> {
    let (out, told) = mpsc::channel(64);
    let streaming = Arc::new(AtomicBool::new(true));
    for namespace in namespaces {
        let of_namespace = before.iter().filter(|name| name.namespace == *namespace);
        let follow = Follow {
            api: api.clone(),
            target: Target {
                path: format!("/api/v1/namespaces/{namespace}/secrets"),
                metadata: false,
                labels: Some(LABEL),
            },
            kind: namespace.clone(),
            convert: read,
            weigh: |_| WEIGHT,
            ceiling: CEILING,
            streaming: streaming.clone(),
            identity: identity.clone(),
            memory: SharedMemory::new(Memory::before(of_namespace.map(|name| {
                let name = Name {
                    namespace: name.namespace.to_string(),
                    name: name.name.to_string(),
                };
                (name, WEIGHT)
            }))),
            out: out.clone(),
        };
        tasks.spawn(follow.run());
    }
    told
}

/// Whether a namespace is there: a list of its Secrets is empty either way.
pub(super) async fn is_absent(api: Api, namespace: Arc<str>) -> (Arc<str>, bool) {
    let path = format!("/api/v1/namespaces/{namespace}");
    let found: Result<serde_json::Value, Fault> = api.get(&path).await;
    (namespace, matches!(found, Err(Fault::NotFound(_))))
}

fn read(secret: Secret) -> RemoteSecret {
    let metadata = secret.metadata;
    let name = |name: Option<String>| Arc::from(name.unwrap_or_default());
    let created = metadata.creation_timestamp;
    let clusters = secret.data.unwrap_or_default().into_iter();
    RemoteSecret {
        name: SecretName {
            namespace: name(metadata.namespace),
            name: name(metadata.name),
        },
        created: created.map_or(i64::MAX, |time| time.0.as_second()),
        clusters: clusters
            .map(|(id, kubeconfig)| (id.into(), Raw(kubeconfig.0.into())))
            .collect(),
    }
}
