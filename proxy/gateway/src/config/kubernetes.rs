//! Kubernetes as a source, and the settings of discovery. It must not reach out to anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use discovery::kubernetes::client::Local;
use discovery::kubernetes::kubeconfig::Allow;
use discovery::kubernetes::meaning::{self, ClusterRule, Rules};
use discovery::kubernetes::settings::{Given, OwnPod, Settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Gateway;

/// Our own cluster, and those that its remote Secrets name.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubernetes {
    /// A kubeconfig for our own cluster, relative to the file that names it; without one the Pod's service account is used,
    /// else the file that the variable KUBECONFIG names.
    pub kubeconfig: Option<PathBuf>,
    /// A context of that kubeconfig; by default its current one.
    pub context: Option<String>,
    /// The folder where what is known of each cluster is kept for the next start, relative to the file that names it;
    /// without one `/var/lib/causeway` where that is a folder. Empty: it is not kept.
    pub snapshot: Option<PathBuf>,
}

/// Where what is known is kept, if somebody has made this folder: a volume of the Pod, say.
const FOLDER: &str = "/var/lib/causeway";

/// How other clusters are found, and what is believed of them. Only of use with `source.kubernetes`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Discovery {
    /// Namespaces beside the gateway's own whose Secrets with label `istio/multiCluster: "true"` name remote clusters;
    /// `[istio-system]` by default.
    pub secret_namespaces: Vec<String>,
    /// Istio's namespace: its label `topology.istio.io/network` names a cluster's network, and its DestinationRules hold for
    /// all; `istio-system` by default.
    pub istio_namespace: String,
    /// The clusters' DNS domain; `cluster.local` by default.
    pub domain: String,
    /// Which endpoints of our own network speak the mesh's mutual TLS: those whose Pod bears the label
    /// `security.istio.io/tlsMode: istio` (`label`, default), or `all`.
    pub mtls: Mtls,
    /// Clusters that may claim addresses in our network, and gateways of networks not their own; none by default.
    pub same_network: BTreeSet<String>,
    /// Takes remote clusters that do not say their network for part of ours, as Istio does; `false` by default.
    pub assume_flat: bool,
    /// What holds of a cluster, by its id, where it says nothing itself.
    pub clusters: BTreeMap<String, OneCluster>,
    /// Allows `insecure-skip-tls-verify` in remote kubeconfigs; `false` by default.
    pub allow_insecure_tls: bool,
    /// Allows `proxy-url` in remote kubeconfigs; `false` by default.
    pub allow_proxy: bool,
    /// What one cluster may bring; one that brings more is frozen and reported, and harms no other.
    pub ceilings: Ceilings,
}

/// Which endpoints of our own network speak the mesh's mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mtls {
    /// Those whose Pod says so by its label.
    #[default]
    Label,
    /// All.
    All,
}

/// What holds of a cluster where it says nothing itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneCluster {
    /// The locality of endpoints whose Pod and Node say none: `region/zone/subzone`.
    pub locality: String,
    /// The network of endpoints whose Pod and system namespace say none.
    pub network: String,
}

/// What one cluster may bring; an xDS server, which may know many, ten times as many of the first two.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ceilings {
    /// Objects of all kinds together; 200000 by default.
    pub objects: usize,
    /// Endpoints; 200000 by default.
    pub endpoints: usize,
    /// Bytes of the list of one kind, or of one xDS response; 536870912 (512 MiB) by default.
    pub list_bytes: usize,
}

impl Default for Discovery {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            secret_namespaces: vec![rules.system_namespace.to_string()],
            istio_namespace: rules.system_namespace.to_string(),
            domain: rules.domain.to_string(),
            mtls: Mtls::Label,
            same_network: BTreeSet::new(),
            assume_flat: false,
            clusters: BTreeMap::new(),
            allow_insecure_tls: false,
            allow_proxy: false,
            ceilings: Ceilings::default(),
        }
    }
}

impl Default for Ceilings {
    fn default() -> Self {
        let usual = discovery::kubernetes::settings::Ceilings::default();
        Self {
            objects: usual.objects,
            endpoints: usual.endpoints,
            list_bytes: usual.list_bytes,
        }
    }
}

impl Ceilings {
    /// For a server that may know many clusters, and names the endpoints of every port and subset: ten times that of one.
    pub(super) fn of_xds(&self) -> ::xds::client::Ceilings {
        ::xds::client::Ceilings {
            resources: self.objects.saturating_mul(10),
            endpoints: self.endpoints.saturating_mul(10),
            response: self.list_bytes,
        }
    }
}

impl Gateway {
    /// What discovery is told; our Pod is named by the environment.
    #[must_use]
    pub fn to_discovery(&self, kubernetes: &Kubernetes) -> Settings {
        let discovery = &self.discovery;
        let clusters = discovery.clusters.iter().map(|(id, one)| {
            let rule = ClusterRule {
                locality: one.locality.as_str().into(),
                network: one.network.as_str().into(),
            };
            (id.as_str().into(), rule)
        });
        Settings {
            local: Local {
                kubeconfig: kubernetes.kubeconfig.clone(),
                context: kubernetes.context.clone(),
            },
            me: Given {
                cluster: self.cluster.clone(),
                network: self.network.clone(),
                locality: self.locality.clone(),
                namespace: self.namespace.clone(),
                labels: self.labels.clone(),
                workload: self.workload.clone(),
            },
            pod: OwnPod::from_environment(),
            secret_namespaces: discovery.secret_namespaces.clone(),
            allow: Allow {
                insecure_tls: discovery.allow_insecure_tls,
                proxy: discovery.allow_proxy,
            },
            ceilings: discovery::kubernetes::settings::Ceilings {
                objects: discovery.ceilings.objects,
                endpoints: discovery.ceilings.endpoints,
                list_bytes: discovery.ceilings.list_bytes,
            },
            disk: folder(kubernetes.snapshot.as_deref()),
            rules: Rules {
                mtls: match discovery.mtls {
                    Mtls::Label => meaning::Mtls::Label,
                    Mtls::All => meaning::Mtls::All,
                },
                same_network: discovery
                    .same_network
                    .iter()
                    .map(|id| id.as_str().into())
                    .collect(),
                assume_flat: discovery.assume_flat,
                clusters: clusters.collect(),
                system_namespace: discovery.istio_namespace.as_str().into(),
                domain: discovery.domain.as_str().into(),
            },
        }
    }
}

/// Where what is known is kept, if it is: the folder that is configured, else the usual one where there is such a folder.
pub(super) fn folder(configured: Option<&Path>) -> Option<PathBuf> {
    match configured {
        Some(path) => (!path.as_os_str().is_empty()).then(|| path.to_owned()),
        None => Some(PathBuf::from(FOLDER)).filter(|path| path.is_dir()),
    }
}
