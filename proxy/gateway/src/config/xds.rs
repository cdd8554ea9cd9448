//! The xDS server's settings. It must not start anything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ::xds::resource::{MeshTls, SecretSource};
use ::xds::server;
use ::xds::view::Settings;
use model::Viewpoint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Gateway;

/// Serves what is known to Envoy and gRPC clients over xDS (ADS, state-of-the-world and delta); without `address` it is off.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Xds {
    /// Where it listens, usually `[::]:18000`.
    pub address: Option<SocketAddr>,
    /// Certificates of the server, and who signs those of its clients. Needed unless `address` is a loopback one or
    /// `plaintext` is set.
    pub tls: Option<XdsTls>,
    /// Serves everybody who can reach `address`, without encryption; `false` by default.
    pub plaintext: bool,
    /// The certificates that Envoys use for the mesh's mutual TLS.
    pub mesh_tls: XdsMeshTls,
}

/// PEM files, relative to the file that names them; they are read again when they change.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct XdsTls {
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificates that sign those of clients; a client without one is refused.
    pub client_ca: PathBuf,
}

/// The certificates that Envoys use for the mesh's mutual TLS, as they find them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct XdsMeshTls {
    /// `secrets` (default): `certificate` and `ca` name secrets; `files`: `certificate`, `key` and `ca` are paths on the
    /// client's machine; `off`: clients speak plaintext to every endpoint, and can go through no gateway.
    pub mode: XdsMeshTlsMode,
    /// The client's certificate; the secret `default` by default.
    pub certificate: String,
    /// Its key, with `files`.
    pub key: String,
    /// What servers are verified with; the secret `ROOTCA` by default. Any certificate that it signs is taken.
    pub ca: String,
    /// The cluster of the client's bootstrap whose SDS server has the secrets; without it they stand in the bootstrap.
    pub sds_cluster: String,
}

/// Where certificates are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum XdsMeshTlsMode {
    /// In secrets.
    #[default]
    Secrets,
    /// In files.
    Files,
    /// Nowhere.
    Off,
}

impl Default for XdsMeshTls {
    fn default() -> Self {
        Self {
            mode: XdsMeshTlsMode::Secrets,
            certificate: "default".into(),
            key: String::new(),
            ca: "ROOTCA".into(),
            sds_cluster: String::new(),
        }
    }
}

impl Xds {
    /// Paths relative to a folder.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(tls) = &mut self.tls {
            for path in [&mut tls.certificate, &mut tls.key, &mut tls.client_ca] {
                *path = folder.join(&*path);
            }
        }
    }

    /// What is wrong: the key, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let Some(address) = self.address else {
            return Ok(());
        };
        if self.tls.is_none() && !self.plaintext && !address.ip().is_loopback() {
            return Err((
                "xds.address",
                "it is not a loopback address, and there is no xds.tls: give certificates, or say 'plaintext: true'",
            ));
        }
        if self.tls.is_some() && self.plaintext {
            return Err((
                "xds.plaintext",
                "there is xds.tls too: take one of them away",
            ));
        }
        let mesh = &self.mesh_tls;
        let files = mesh.mode == XdsMeshTlsMode::Files;
        if files
            && [&mesh.certificate, &mesh.key, &mesh.ca]
                .iter()
                .any(|path| !path.contains('/'))
        {
            return Err((
                "xds.meshTls",
                "with 'mode: files', certificate, key and ca are paths on the client's machine, like /etc/certs/key.pem",
            ));
        }
        Ok(())
    }
}

impl Gateway {
    /// What the xDS server is told, if there is one; `own` is where the gateway stands.
    #[must_use]
    pub fn to_xds_server(&self, own: Viewpoint, allow_loopback: bool) -> Option<server::Config> {
        let xds = &self.xds;
        let mesh = &xds.mesh_tls;
        let (certificate, key, ca) = (mesh.certificate.clone(), mesh.key.clone(), mesh.ca.clone());
        let mesh_tls = match mesh.mode {
            XdsMeshTlsMode::Off => MeshTls::Off,
            XdsMeshTlsMode::Files => MeshTls::Files {
                certificate,
                key,
                ca,
            },
            XdsMeshTlsMode::Secrets => MeshTls::Secrets {
                certificate,
                ca,
                source: match mesh.sds_cluster.is_empty() {
                    true => SecretSource::Bootstrap,
                    false => SecretSource::Cluster(mesh.sds_cluster.clone()),
                },
            },
        };
        Some(server::Config {
            address: xds.address?,
            tls: xds.tls.as_ref().map(|tls| server::TlsFiles {
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
                client_ca: tls.client_ca.clone(),
            }),
            settings: Settings {
                own,
                mesh_tls,
                connect_timeout: self.timeouts.connect.0,
                allow_loopback,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const BASE: &str = "source: {file: mesh.yaml}\n";

    fn read(xds: &str) -> Result<Gateway, String> {
        parse("gateway.yaml", &format!("{BASE}xds: {xds}\n")).map_err(|fault| fault.to_string())
    }

    fn served(xds: &str) -> Option<server::Config> {
        let gateway = read(xds).expect("a good file");
        gateway.to_xds_server(Viewpoint::default(), true)
    }

    #[test]
    fn without_an_address_it_is_off() {
        assert!(served("{}").is_none());
    }

    #[test]
    fn plaintext_is_for_loopback_or_whoever_says_so() {
        assert!(served("{address: '127.0.0.1:18000'}").is_some());
        assert!(served("{address: '[::1]:18000'}").is_some());
        assert!(served("{address: '0.0.0.0:18000', plaintext: true}").is_some());
        let tls = "tls: {certificate: a, key: b, clientCa: c}";
        let both = served(&format!("{{address: '0.0.0.0:18000', {tls}}}")).and_then(|it| it.tls);
        assert_eq!(both.map(|tls| tls.client_ca), Some("c".into()));
        for (wrong, key) in [
            ("{address: '0.0.0.0:18000'}".to_owned(), "xds.address"),
            (
                format!("{{address: '0.0.0.0:18000', plaintext: true, {tls}}}"),
                "xds.plaintext",
            ),
        ] {
            let fault = read(&wrong).expect_err("refused");
            assert!(fault.contains(key), "{fault}");
        }
    }

    #[test]
    fn certificates_are_secrets_files_or_none() {
        let of = |mesh: &str| {
            let served = served(&format!("{{address: '127.0.0.1:0', meshTls: {mesh}}}"));
            served.expect("it is on").settings.mesh_tls
        };
        let secrets = |source| MeshTls::Secrets {
            certificate: "default".into(),
            ca: "ROOTCA".into(),
            source,
        };
        assert_eq!(of("{}"), secrets(SecretSource::Bootstrap));
        let agent = SecretSource::Cluster("sds-grpc".into());
        assert_eq!(of("{sdsCluster: sds-grpc}"), secrets(agent));
        assert_eq!(of("{mode: off}"), MeshTls::Off);
        let files = of("{mode: files, certificate: /c, key: /k, ca: /r}");
        assert!(matches!(files, MeshTls::Files { .. }));
        let half = "{address: '127.0.0.1:0', meshTls: {mode: files, certificate: /c}}";
        let fault = read(half).expect_err("refused");
        assert!(fault.contains("xds.meshTls"), "{fault}");
    }
}
