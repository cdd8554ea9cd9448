//! What discovery is told by configuration. It must not read it from anywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::client::Local;
use super::kubeconfig::Allow;
use super::meaning::Rules;

/// Everything that discovery is told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How our own cluster is reached.
    pub local: Local,
    /// Who we are, as far as configuration says.
    pub me: Given,
    /// Our Pod, as the Downward API names it.
    pub pod: OwnPod,
    /// Namespaces beside our own whose Secrets name remote clusters.
    pub secret_namespaces: Vec<String>,
    /// What remote kubeconfigs may ask for.
    pub allow: Allow,
    /// Limits of each cluster.
    pub ceilings: Ceilings,
    /// The folder where what is known is kept for the next start; `None`: it is not kept.
    pub disk: Option<PathBuf>,
    /// The settings of meaning.
    pub rules: Rules,
}

/// Who we are, as far as configuration says; what is empty is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `cluster`.
    pub cluster: String,
    /// `network`.
    pub network: String,
    /// `locality`.
    pub locality: String,
    /// `namespace`.
    pub namespace: String,
    /// `labels`; each comes before the Pod's of the same name.
    pub labels: BTreeMap<String, String>,
    /// `workload`.
    pub workload: String,
}

/// Our Pod, by the variables `POD_NAMESPACE`, `POD_NAME` and `POD_IP`; empty where they are not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPod {
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `POD_NAME`.
    pub name: String,
    /// `POD_IP`.
    pub ip: String,
}

/// What one cluster may bring before it is frozen, so that one that has gone mad harms no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// Objects of all kinds together.
    pub objects: usize,
    /// Endpoints in all slices.
    pub endpoints: usize,
    /// Bytes of the list of one kind.
    pub list_bytes: usize,
}

impl Default for Ceilings {
    /// Ten times the 20,000 endpoints of a large cluster, and as many objects.
    fn default() -> Self {
        Self {
            objects: 200_000,
            endpoints: 200_000,
            list_bytes: 512 << 20,
        }
    }
}

impl OwnPod {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self {
            namespace: variable("POD_NAMESPACE"),
            name: variable("POD_NAME"),
            ip: variable("POD_IP"),
        }
    }
}

impl Settings {
    /// The namespaces whose Secrets are read: our own first, each once.
    #[must_use]
    pub fn namespaces(&self, own: &str) -> Vec<Arc<str>> {
        let mut namespaces: Vec<Arc<str>> = Vec::new();
        let others = self.secret_namespaces.iter().map(String::as_str);
        for namespace in [own].into_iter().chain(others) {
            if !namespace.is_empty() && !namespaces.iter().any(|known| **known == *namespace) {
                namespaces.push(namespace.into());
            }
        }
        namespaces
    }
}
