//! Our own API server is asked about ourselves: our Pod, our Node, Istio's namespace. What follows from the answers is not
//! decided here.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use model::Locality;
use serde_json::Value;

use super::{Answers, Known, NETWORK, OurPod, known};
use crate::kubernetes::api::{Api, Fault, Form};
use crate::kubernetes::facts::Fact;
use crate::kubernetes::identity;
use crate::kubernetes::settings::Settings;

/// Bytes of an answer with one object.
const OBJECT: usize = 4 << 20;

/// Asks for everything that configuration does not say.
pub(super) async fn ask(api: &Api, settings: &Settings, namespace: &str) -> Result<Answers, Fault> {
    let pod = own_pod(api, settings, namespace).await?;
    let node = pod.as_ref().map_or("", |pod| &pod.node);
    Ok(Answers {
        cluster: cluster(api, settings).await?,
        network: network(api, settings, pod.as_ref()).await?,
        locality: locality(api, settings, node).await?,
        pod,
    })
}

/// Of what configuration says.
fn not_asked<T: Default>() -> Known<T> {
    known(T::default(), "not asked for, as configuration said it")
}

/// Our Pod, where the environment names it.
async fn own_pod(api: &Api, settings: &Settings, namespace: &str) -> Result<Option<OurPod>, Fault> {
    let name = &settings.pod.name;
    if name.is_empty() {
        return Ok(None);
    }
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let pod: Pod = match api.get(&path).await {
        Err(fault @ (Fault::Forbidden(_) | Fault::NotFound(_))) => {
            tracing::warn!(namespace, name, %fault, "our own Pod cannot be read; only configuration says who we are");
            return Ok(None);
        }
        pod => pod?,
    };
    let workload = match Fact::pod(&pod.metadata) {
        Ok(Fact::Pod(fact)) => Some(fact.workload.to_string()),
        _ => None,
    };
    let labels = pod.metadata.labels.map(|labels| {
        let shared = labels.into_iter();
        shared
            .map(|(key, value)| (Arc::from(key), Arc::from(value)))
            .collect()
    });
    Ok(Some(OurPod {
        labels,
        workload,
        node: pod.spec.and_then(|spec| spec.node_name).unwrap_or_default(),
    }))
}

async fn cluster(api: &Api, settings: &Settings) -> Result<Known<String>, Fault> {
    if !settings.me.cluster.is_empty() {
        return Ok(not_asked());
    }
    let namespace = &settings.rules.system_namespace;
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/istio-sidecar-injector");
    let map: Option<ConfigMap> = optional(api.get(&path).await)?;
    if let Some(name) = map.as_ref().and_then(cluster_of_injector) {
        let source = format!(
            "global.multiCluster.clusterName of ConfigMap {namespace}/istio-sidecar-injector"
        );
        return Ok(known(name, source));
    }
    match identity::uid(api).await {
        Ok(uid) => Ok(known(uid, "UID of namespace kube-system")),
        Err(fault @ (Fault::Forbidden(_) | Fault::NotFound(_))) => Ok(known(
            String::new(),
            format!(
                "Istio's injector does not name it, and namespace kube-system cannot be read: {fault}"
            ),
        )),
        Err(fault) => Err(fault),
    }
}

fn cluster_of_injector(map: &ConfigMap) -> Option<String> {
    let values: Value = serde_json::from_str(map.data.as_ref()?.get("values")?).ok()?;
    let name = values
        .pointer("/global/multiCluster/clusterName")?
        .as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The label of Istio's namespace; our Pod's comes first.
async fn network(
    api: &Api,
    settings: &Settings,
    pod: Option<&OurPod>,
) -> Result<Known<String>, Fault> {
    let labels = pod.and_then(|pod| pod.labels.as_ref());
    let of_pod = labels.and_then(|labels| labels.get(NETWORK));
    if !settings.me.network.is_empty() || of_pod.is_some_and(|network| !network.is_empty()) {
        return Ok(not_asked());
    }
    let namespace = &settings.rules.system_namespace;
    let metadata = metadata(api, &format!("/api/v1/namespaces/{namespace}")).await?;
    let network = metadata.and_then(|metadata| metadata.labels?.remove(NETWORK));
    let source = format!("label {NETWORK} of namespace {namespace}");
    Ok(known(network.unwrap_or_default(), source))
}

async fn locality(api: &Api, settings: &Settings, node: &str) -> Result<Known<Locality>, Fault> {
    if !settings.me.locality.is_empty() {
        return Ok(not_asked());
    }
    let unknown = |why: &str| {
        known(
            Locality::default(),
            format!("not known, as {why}; set 'locality'"),
        )
    };
    if node.is_empty() {
        return Ok(unknown("our Pod is not"));
    }
    let Some(metadata) = metadata(api, &format!("/api/v1/nodes/{node}")).await? else {
        return Ok(unknown("our Node cannot be read"));
    };
    match Fact::node(&metadata) {
        Ok(Fact::Node(fact)) if !fact.locality.region.is_empty() => {
            Ok(known(fact.locality, format!("labels of Node {node}")))
        }
        _ => Ok(unknown(
            "our Node has no label topology.kubernetes.io/region",
        )),
    }
}

/// The metadata of an object that may be absent or forbidden.
async fn metadata(api: &Api, path: &str) -> Result<Option<ObjectMeta>, Fault> {
    let object = api.fetch(path, Form::MetadataEvents, OBJECT).await;
    let object: Option<(PartialObjectMeta<Pod>, usize)> = optional(object)?;
    Ok(object.map(|(object, _)| object.metadata))
}

fn optional<T>(answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match answer {
        Err(Fault::Forbidden(_) | Fault::NotFound(_)) => Ok(None),
        answer => answer.map(Some),
    }
}
