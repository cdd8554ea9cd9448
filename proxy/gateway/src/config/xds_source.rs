//! An xDS server as the source: its address, and who the gateway is to it. It must not reach out to anything but the
//! downward API's file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xds::client;

use super::Gateway;

/// An xDS server to follow, as Istio's own gateways follow istiod. The paths are those of Istio's Pods.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct XdsSource {
    /// Host and port, like `istiod.istio-system.svc:15012`.
    pub address: String,
    /// Speaks without TLS and sends no token (istiod's port 15010); `false` by default.
    pub plaintext: bool,
    /// The certificates that the server's own must descend from; `/var/run/secrets/istio/root-cert.pem` by default. Read
    /// for every stream.
    pub root_certificates: PathBuf,
    /// The name in the server's certificate; by default the host of its address.
    pub server_name: Option<String>,
    /// A file with the token that says who the gateway is; `/var/run/secrets/tokens/istio-token` by default, `null` for
    /// none. Read for every stream.
    pub token: Option<PathBuf>,
    /// `delta` (default), in which only changes are sent, or `sotw`; a server that does not know the former is spoken to in
    /// the latter.
    pub protocol: Protocol,
    /// Networks whose endpoints are wanted (Istio's `REQUESTED_NETWORK_VIEW`); by default the variable
    /// `ISTIO_META_REQUESTED_NETWORK_VIEW`, else the gateway's own network. `[]` wants all: those of other networks then
    /// come as their gateways.
    pub network_view: Option<Vec<String>>,
    /// The gateway's Pod; the variable `POD_NAME` by default, else `HOSTNAME`.
    pub pod_name: String,
    /// Its address; the variable `POD_IP` by default, else `INSTANCE_IP`.
    pub pod_ip: String,
    /// Its account; the variable `SERVICE_ACCOUNT` by default.
    pub service_account: String,
    /// The Pod's labels, as the downward API writes them; `/etc/istio/pod/labels` by default. `labels` come before them.
    pub labels_file: PathBuf,
    /// The cluster's DNS domain; `cluster.local` by default.
    pub domain: String,
    /// The folder where what the server says is kept for the next start, relative to the file that names it; without one
    /// `/var/lib/causeway` where that is a folder. Empty: it is not kept.
    pub snapshot: Option<PathBuf>,
    /// Further metadata of the node (Istio's `ISTIO_META_<KEY>`, which are taken from the environment, too).
    pub metadata: BTreeMap<String, String>,
}

/// Which xDS protocol is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Changes alone.
    #[default]
    Delta,
    /// State of the world.
    Sotw,
}

impl Default for XdsSource {
    fn default() -> Self {
        Self {
            address: String::new(),
            plaintext: false,
            root_certificates: "/var/run/secrets/istio/root-cert.pem".into(),
            server_name: None,
            token: Some("/var/run/secrets/tokens/istio-token".into()),
            protocol: Protocol::Delta,
            network_view: None,
            pod_name: String::new(),
            pod_ip: String::new(),
            service_account: String::new(),
            labels_file: "/etc/istio/pod/labels".into(),
            domain: "cluster.local".into(),
            snapshot: None,
            metadata: BTreeMap::new(),
        }
    }
}

impl XdsSource {
    /// What is wrong with it: the key, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, why: &str| Err((format!("source.xds.{key}"), why.to_owned()));
        let port = self.address.rsplit_once(':').map(|(_, port)| port);
        let port = port.and_then(|port| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return wrong(
                "address",
                "it is not a host and a port, like 'istiod.istio-system.svc:15012'",
            );
        }
        Ok(())
    }

    /// Paths that are relative to the configuration's folder.
    pub(super) fn resolve(&mut self, folder: &Path) {
        let token = self.token.iter_mut();
        for path in token.chain([&mut self.root_certificates, &mut self.labels_file]) {
            *path = folder.join(&*path);
        }
        // An empty one means something.
        let snapshot = self.snapshot.iter_mut();
        for path in snapshot.filter(|path| !path.as_os_str().is_empty()) {
            *path = folder.join(&*path);
        }
    }

    /// Where what the server says is kept, if it is.
    pub(crate) fn snapshot_folder(&self) -> Option<PathBuf> {
        super::kubernetes::folder(self.snapshot.as_deref())
    }
}

impl Gateway {
    /// What the client is told. What configuration does not say comes from the environment, as Istio's injector sets it, and
    /// from the Pod's labels.
    #[must_use]
    pub fn to_xds(&self, xds: &XdsSource) -> client::Settings {
        let labels = std::fs::read_to_string(&xds.labels_file).unwrap_or_default();
        self.to_xds_with(
            xds,
            &labels,
            |name| std::env::var(name).unwrap_or_default(),
            std::env::vars(),
        )
    }

    fn to_xds_with(
        &self,
        xds: &XdsSource,
        labels: &str,
        variable: impl Fn(&str) -> String,
        variables: impl Iterator<Item = (String, String)>,
    ) -> client::Settings {
        let first = |given: &str, names: &[&str]| {
            let found = names.iter().map(|name| variable(name));
            let mut all = std::iter::once(given.to_owned()).chain(found);
            all.find(|value| !value.is_empty()).unwrap_or_default()
        };
        let mut of_pod = downward(labels);
        of_pod.extend(self.labels.clone());
        let network = first(&self.network, &["ISTIO_META_NETWORK"]);
        let network = match of_pod.get("topology.istio.io/network") {
            Some(label) if network.is_empty() => label.clone(),
            _ => network,
        };
        let list = |text: &str| {
            let parts = text.split(',').map(str::trim);
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let view = variable("ISTIO_META_REQUESTED_NETWORK_VIEW");
        let network_view = match &xds.network_view {
            Some(view) => view.clone(),
            None if view.is_empty() => list(&network),
            None => list(&view),
        };
        let named = ["CLUSTER_ID", "NETWORK", "REQUESTED_NETWORK_VIEW"];
        let meta = variables.filter_map(|(name, value)| {
            let key = name.strip_prefix("ISTIO_META_")?;
            (!named.contains(&key)).then(|| (key.to_owned(), value))
        });
        let mut metadata: BTreeMap<String, String> = meta.collect();
        metadata.extend(xds.metadata.clone());
        let cluster = first(&self.cluster, &["ISTIO_META_CLUSTER_ID"]);
        let name = first(&xds.pod_name, &["POD_NAME", "HOSTNAME"]);
        client::Settings {
            server: client::Server {
                address: xds.address.clone(),
                tls: (!xds.plaintext).then(|| client::Tls {
                    roots: xds.root_certificates.clone(),
                    name: xds.server_name.clone(),
                }),
                token: xds.token.clone(),
                cluster: cluster.clone(),
            },
            node: client::Node {
                ip: first(&xds.pod_ip, &["POD_IP", "INSTANCE_IP"]),
                workload: first(&self.workload, &["ISTIO_META_WORKLOAD_NAME"]),
                name,
                namespace: first(&self.namespace, &["POD_NAMESPACE"]),
                domain: xds.domain.clone(),
                cluster,
                network,
                network_view,
                labels: of_pod,
                service_account: first(&xds.service_account, &["SERVICE_ACCOUNT"]),
                locality: self.locality.as_str().into(),
                metadata,
            },
            mode: match xds.protocol {
                Protocol::Delta => client::Mode::Delta,
                Protocol::Sotw => client::Mode::Sotw,
            },
            ceilings: self.discovery.ceilings.of_xds(),
        }
    }
}

/// Labels as the downward API writes them: `key="value"`, one a line, the value quoted as in Go.
fn downward(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| {
            // A label's value has nothing that would be escaped.
            (
                key.trim().to_owned(),
                value.trim().trim_matches('"').to_owned(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &str =
        "app=\"gw\"\nistio=\"eastwestgateway\"\ntopology.istio.io/network=\"network2\"\n";

    fn settings(
        gateway: &Gateway,
        xds: &XdsSource,
        variables: &[(&str, &str)],
    ) -> client::Settings {
        let find = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .unwrap_or_default()
        };
        let all = variables
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        gateway.to_xds_with(xds, LABELS, find, all)
    }

    #[test]
    fn a_pod_of_istios_chart_needs_no_configuration() {
        let variables = [
            ("POD_NAME", "gw-0"),
            ("POD_NAMESPACE", "istio-system"),
            ("INSTANCE_IP", "10.2.0.20"),
            ("SERVICE_ACCOUNT", "gw"),
            ("ISTIO_META_CLUSTER_ID", "us"),
            ("ISTIO_META_WORKLOAD_NAME", "gw"),
            ("ISTIO_META_MESH_ID", "mesh1"),
            ("HOME", "/"),
        ];
        let found = settings(&Gateway::default(), &XdsSource::default(), &variables);
        let node = found.node;
        assert_eq!(
            node.id(),
            "router~10.2.0.20~gw-0.istio-system~istio-system.svc.cluster.local"
        );
        assert_eq!((&*node.cluster, &*node.network), ("us", "network2"));
        assert_eq!(node.network_view, ["network2"]);
        assert_eq!(node.labels["istio"], "eastwestgateway");
        assert_eq!((&*node.workload, &*node.service_account), ("gw", "gw"));
        let further: Vec<_> = node.metadata.iter().collect();
        let (mesh, workload) = (("MESH_ID", "mesh1"), ("WORKLOAD_NAME", "gw"));
        let expected = [mesh, workload].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            further,
            expected
                .iter()
                .map(|(key, value)| (key, value))
                .collect::<Vec<_>>()
        );
        let tls = found.server.tls.expect("TLS");
        assert_eq!(tls.roots, Path::new("/var/run/secrets/istio/root-cert.pem"));
    }

    #[test]
    fn configuration_comes_first() {
        let gateway = Gateway {
            network: "network9".into(),
            cluster: "eu".into(),
            labels: [("istio".into(), "other".into())].into(),
            ..Gateway::default()
        };
        let mut xds = XdsSource {
            plaintext: true,
            protocol: Protocol::Sotw,
            ..XdsSource::default()
        };
        let variables = [
            ("ISTIO_META_CLUSTER_ID", "us"),
            ("ISTIO_META_NETWORK", "network3"),
            ("ISTIO_META_REQUESTED_NETWORK_VIEW", "network3, network4"),
        ];
        let found = settings(&gateway, &xds, &variables);
        assert_eq!(
            (&*found.node.cluster, &*found.node.network),
            ("eu", "network9")
        );
        assert_eq!(found.node.network_view, ["network3", "network4"]);
        assert_eq!(found.node.labels["istio"], "other");
        assert_eq!(found.node.metadata, BTreeMap::new());
        assert_eq!((found.server.tls, found.mode), (None, client::Mode::Sotw));
        xds.network_view = Some(Vec::new());
        assert_eq!(
            settings(&gateway, &xds, &variables).node.network_view,
            [""; 0]
        );
    }

    #[test]
    fn an_address_has_a_port() {
        for (address, good) in [
            ("istiod:15012", true),
            ("[::1]:1", true),
            ("istiod", false),
            ("a:0", false),
            ("", false),
        ] {
            let xds = XdsSource {
                address: address.into(),
                ..XdsSource::default()
            };
            assert_eq!(xds.check().is_ok(), good, "{address}");
        }
    }
}
