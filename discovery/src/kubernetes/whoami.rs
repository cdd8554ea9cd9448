//! Who this gateway is: its cluster, network, locality, namespace, labels and workload, each with where that was found. It
//! must not guess.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use model::{Labels, Locality};
use serde::Serialize;
use serde_json::Value;

use super::api::{Api, Fault, Form};
use super::facts::Fact;
use super::identity;
use super::settings::Settings;

/// The label of Pods, Namespaces and Services that names a network.
const NETWORK: &str = "topology.istio.io/network";

/// Bytes of an answer with one object.
const OBJECT: usize = 4 << 20;

/// What the gateway takes itself for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// The id of our cluster.
    pub cluster: Known<String>,
    /// Our network.
    pub network: Known<String>,
    /// Our namespace.
    pub namespace: Known<String>,
    /// Where we stand.
    pub locality: Known<Locality>,
    /// Our labels: Gateways select by them.
    pub labels: Known<Labels>,
    /// Our workload, for metrics.
    pub workload: Known<String>,
    /// The Node we run on; empty outside a Pod.
    pub node: String,
}

/// A value, and where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Known<T> {
    /// The value; empty if it was not found.
    pub value: T,
    /// Where it was found; or, if it was not, which setting gives it.
    pub source: String,
}

/// Why the gateway does not know who it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhoAmIError {
    /// Something cannot be found, and nothing will change that but a setting.
    #[error("{what} is not known: {why}; set '{setting}' in the configuration")]
    Unknown {
        /// What is not known.
        what: &'static str,
        /// Where was looked.
        why: String,
        /// The setting that gives it.
        setting: &'static str,
    },
    /// The API of our own cluster does not answer (yet).
    #[error("our own cluster cannot be asked who we are: {0}")]
    Api(#[from] Fault),
}

/// Finds out. Only what configuration does not say is asked for.
///
/// # Errors
/// What is not known, and which setting gives it; or that the API does not answer.
pub async fn find(
    api: &Api,
    settings: &Settings,
    namespace_of_client: &str,
) -> Result<WhoAmI, WhoAmIError> {
    let namespace = namespace(settings, namespace_of_client);
    let pod = own_pod(api, settings, &namespace.value).await?;
    let node = pod
        .as_ref()
        .and_then(|pod| pod.spec.as_ref()?.node_name.clone())
        .unwrap_or_default();
    Ok(WhoAmI {
        cluster: cluster(api, settings).await?,
        network: network(api, settings, pod.as_ref()).await?,
        locality: locality(api, settings, &node).await?,
        labels: labels(settings, pod.as_ref())?,
        workload: workload(settings, pod.as_ref()),
        namespace,
        node,
    })
}

fn known<T>(value: T, source: impl Into<String>) -> Known<T> {
    Known {
        value,
        source: source.into(),
    }
}

fn namespace(settings: &Settings, of_client: &str) -> Known<String> {
    if !settings.me.namespace.is_empty() {
        return known(settings.me.namespace.clone(), "configuration");
    }
    if !settings.pod.namespace.is_empty() {
        return known(settings.pod.namespace.clone(), "POD_NAMESPACE");
    }
    known(of_client.to_owned(), "kubeconfig or service account")
}

/// Our Pod, where the environment names it.
async fn own_pod(
    api: &Api,
    settings: &Settings,
    namespace: &str,
) -> Result<Option<Pod>, WhoAmIError> {
    let name = &settings.pod.name;
    if name.is_empty() {
        return Ok(None);
    }
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    match api.get(&path).await {
        Ok(pod) => Ok(Some(pod)),
        Err(fault @ (Fault::Forbidden(_) | Fault::NotFound(_))) => {
            tracing::warn!(namespace, name, %fault, "our own Pod cannot be read; only configuration says who we are");
            Ok(None)
        }
        Err(fault) => Err(fault.into()),
    }
}

async fn cluster(api: &Api, settings: &Settings) -> Result<Known<String>, WhoAmIError> {
    if !settings.me.cluster.is_empty() {
        return Ok(known(settings.me.cluster.clone(), "configuration"));
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
        Err(fault @ (Fault::Forbidden(_) | Fault::NotFound(_))) => Err(WhoAmIError::Unknown {
            what: "the id of our cluster",
            why: format!(
                "Istio's injector does not name it, and namespace kube-system cannot be read: {fault}"
            ),
            setting: "cluster",
        }),
        Err(fault) => Err(fault.into()),
    }
}

fn cluster_of_injector(map: &ConfigMap) -> Option<String> {
    let values: Value = serde_json::from_str(map.data.as_ref()?.get("values")?).ok()?;
    let name = values
        .pointer("/global/multiCluster/clusterName")?
        .as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

async fn network(
    api: &Api,
    settings: &Settings,
    pod: Option<&Pod>,
) -> Result<Known<String>, WhoAmIError> {
    if !settings.me.network.is_empty() {
        return Ok(known(settings.me.network.clone(), "configuration"));
    }
    let label = |metadata: &ObjectMeta| {
        let value = metadata.labels.as_ref()?.get(NETWORK)?;
        (!value.is_empty()).then(|| value.clone())
    };
    if let Some(network) = pod.and_then(|pod| label(&pod.metadata)) {
        return Ok(known(network, format!("label {NETWORK} of our Pod")));
    }
    let namespace = &settings.rules.system_namespace;
    let metadata = metadata(api, &format!("/api/v1/namespaces/{namespace}")).await?;
    if let Some(network) = metadata.as_ref().and_then(label) {
        let source = format!("label {NETWORK} of namespace {namespace}");
        return Ok(known(network, source));
    }
    Err(WhoAmIError::Unknown {
        what: "our network",
        why: format!("neither our Pod nor namespace {namespace} has the label {NETWORK}"),
        setting: "network",
    })
}

/// Without a locality every endpoint of our network is as close as any other, so it is told, but is no reason not to start.
async fn locality(
    api: &Api,
    settings: &Settings,
    node: &str,
) -> Result<Known<Locality>, WhoAmIError> {
    if !settings.me.locality.is_empty() {
        let locality = settings.me.locality.as_str().into();
        return Ok(known(locality, "configuration"));
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

fn labels(settings: &Settings, pod: Option<&Pod>) -> Result<Known<Labels>, WhoAmIError> {
    let given = &settings.me.labels;
    let of_pod = pod.and_then(|pod| pod.metadata.labels.as_ref());
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in of_pod.into_iter().flatten().chain(given) {
        labels.insert(key, value);
    }
    let source = match (given.is_empty(), of_pod.is_some()) {
        (true, true) => "our Pod",
        (false, true) => "configuration, then our Pod",
        (false, false) => "configuration",
        (true, false) => {
            let why = if pod.is_some() {
                "our Pod has none"
            } else {
                "our Pod is not known (the variables POD_NAMESPACE and POD_NAME name it)"
            };
            return Err(WhoAmIError::Unknown {
                what: "our labels, by which Gateways select us,",
                why: why.into(),
                setting: "labels",
            });
        }
    };
    let shared = labels
        .into_iter()
        .map(|(key, value)| (Arc::from(key), Arc::from(value)));
    Ok(known(shared.collect(), source))
}

fn workload(settings: &Settings, pod: Option<&Pod>) -> Known<String> {
    if !settings.me.workload.is_empty() {
        return known(settings.me.workload.clone(), "configuration");
    }
    match pod.map(|pod| Fact::pod(&pod.metadata)) {
        Some(Ok(Fact::Pod(fact))) => known(fact.workload.to_string(), "our Pod"),
        _ => known(
            String::new(),
            "not known, as our Pod is not; set 'workload'",
        ),
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

#[cfg(test)]
mod tests;
