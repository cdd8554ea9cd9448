//! Who this gateway is: its cluster, network, locality, namespace, labels and workload, each with where that was found. It
//! must not guess.

mod ask;

use model::{Labels, Locality};
use serde::{Deserialize, Serialize};

use super::api::{Api, Fault};
use super::settings::Settings;

/// The label of Pods, Namespaces and Services that names a network.
const NETWORK: &str = "topology.istio.io/network";

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What our own API server says of us. Of what configuration gives it was not asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    pod: Option<OurPod>,
    /// Without a value: why there is none.
    cluster: Known<String>,
    /// As Istio's namespace names it; without a value there is none.
    network: Known<String>,
    /// Without a value: why there is none.
    locality: Known<Locality>,
}

/// What our Pod says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OurPod {
    labels: Option<Labels>,
    workload: Option<String>,
    node: String,
}

/// Finds out. Only what configuration does not say is asked for.
///
/// # Errors
/// What is not known, and which setting gives it; or that the API does not answer.
pub async fn find(
    api: &Api,
    settings: &Settings,
    namespace_of_client: &str,
) -> Result<(WhoAmI, Answers), WhoAmIError> {
    let namespace = namespace(settings, namespace_of_client);
    let answers = ask::ask(api, settings, &namespace.value).await?;
    let me = answers.decide(settings, namespace_of_client)?;
    Ok((me, answers))
}

impl Answers {
    /// What the gateway takes itself for by these answers and the present configuration.
    ///
    /// # Errors
    /// What is not known, and which setting gives it.
    pub fn decide(
        &self,
        settings: &Settings,
        namespace_of_client: &str,
    ) -> Result<WhoAmI, WhoAmIError> {
        let pod = self.pod.as_ref();
        Ok(WhoAmI {
            cluster: self.cluster(settings)?,
            network: self.network(settings)?,
            locality: self.locality(settings),
            labels: labels(settings, pod)?,
            workload: workload(settings, pod),
            namespace: namespace(settings, namespace_of_client),
            node: pod.map(|pod| pod.node.clone()).unwrap_or_default(),
        })
    }

    /// The same for another Pod of the same gateway: on which Node it runs, and so in which zone, is another matter. A
    /// cluster stands in one region, as a rule.
    #[must_use]
    pub fn of_another_pod(mut self) -> Self {
        if let Some(pod) = &mut self.pod {
            pod.node = String::new();
        }
        self.locality.value = Locality {
            region: self.locality.value.region,
            ..Locality::default()
        };
        self
    }

    fn cluster(&self, settings: &Settings) -> Result<Known<String>, WhoAmIError> {
        if !settings.me.cluster.is_empty() {
            return Ok(known(settings.me.cluster.clone(), "configuration"));
        }
        if self.cluster.value.is_empty() {
            return Err(WhoAmIError::Unknown {
                what: "the id of our cluster",
                why: self.cluster.source.clone(),
                setting: "cluster",
            });
        }
        Ok(self.cluster.clone())
    }

    fn network(&self, settings: &Settings) -> Result<Known<String>, WhoAmIError> {
        if !settings.me.network.is_empty() {
            return Ok(known(settings.me.network.clone(), "configuration"));
        }
        let labels = self.pod.as_ref().and_then(|pod| pod.labels.as_ref());
        if let Some(network) = labels.and_then(|labels| labels.get(NETWORK))
            && !network.is_empty()
        {
            let source = format!("label {NETWORK} of our Pod");
            return Ok(known(network.to_string(), source));
        }
        if self.network.value.is_empty() {
            let namespace = &settings.rules.system_namespace;
            return Err(WhoAmIError::Unknown {
                what: "our network",
                why: format!("neither our Pod nor namespace {namespace} has the label {NETWORK}"),
                setting: "network",
            });
        }
        Ok(self.network.clone())
    }

    /// Without a locality every endpoint of our network is as close as any other, so it is told, but is no reason not to
    /// start.
    fn locality(&self, settings: &Settings) -> Known<Locality> {
        if settings.me.locality.is_empty() {
            return self.locality.clone();
        }
        known(settings.me.locality.as_str().into(), "configuration")
    }
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

fn labels(settings: &Settings, pod: Option<&OurPod>) -> Result<Known<Labels>, WhoAmIError> {
    let given = &settings.me.labels;
    let of_pod = pod.and_then(|pod| pod.labels.as_ref());
    let mut labels = of_pod.cloned().unwrap_or_default();
    for (key, value) in given {
        labels.insert(key.as_str().into(), value.as_str().into());
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
    Ok(known(labels, source))
}

fn workload(settings: &Settings, pod: Option<&OurPod>) -> Known<String> {
    if !settings.me.workload.is_empty() {
        return known(settings.me.workload.clone(), "configuration");
    }
    match pod.and_then(|pod| pod.workload.clone()) {
        Some(workload) => known(workload, "our Pod"),
        None => known(
            String::new(),
            "not known, as our Pod is not; set 'workload'",
        ),
    }
}

#[cfg(test)]
mod tests;
