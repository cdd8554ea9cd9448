//! `create-remote-secret`: an account that may only read what discovery needs, and a Secret by which other clusters find this
//! one, in the form that `istioctl create-remote-secret` gives it. It must not be able to read Secrets.

mod manifests;
mod reach;
mod token;

use std::fmt;
use std::time::Duration;

use super::api::{Api, Fault};
use super::client::Home;
use super::kubeconfig::{self, Allow, Refusal};
use super::{expiry, identity};

pub use self::manifests::manifests;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The cluster's id; by default the UID of its namespace `kube-system`.
    pub name: Option<String>,
    /// The namespace of the account and of the Secret.
    pub namespace: String,
    /// The account.
    pub service_account: String,
    /// The address under which other clusters reach the API; by default the one that is used now.
    pub server: Option<String>,
    /// How long the token is to hold; without it, for ever.
    pub duration: Option<Duration>,
}

/// What was made.
pub struct Made {
    /// The Secret, as YAML. It holds a credential.
    pub yaml: String,
    /// When the token ends, in the server's words; `None`: never.
    pub expires: Option<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// Why there is no Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteSecretError {
    /// A name that Kubernetes would not take.
    #[error(
        "{what} '{name}' is not a name: 1 to 63 small letters, digits and '-', with no '-' at either end"
    )]
    Name {
        /// What is called so.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The API server.
    #[error("{what}: {fault}")]
    Api {
        /// What was asked of it.
        what: String,
        /// What it said.
        fault: Fault,
    },
    /// The server does not fill the Secret of the account's token.
    #[error(
        "Secret {0} got no token within 10 s: does a controller manager run in the cluster? --duration asks for a token that ends"
    )]
    NoToken(String),
    /// The certificates that the server's chain must end in are not known.
    #[error(
        "the certificate authority of the API server is not known: it is in neither the token's Secret nor the kubeconfig"
    )]
    NoAuthority,
    /// The result would be refused by every gateway.
    #[error("no gateway would take the result: {0}")]
    Refused(#[from] Refusal),
}

impl Request {
    /// Whether Kubernetes would take its names.
    ///
    /// # Errors
    /// Which it would not.
    pub fn check(&self) -> Result<(), RemoteSecretError> {
        for (what, name) in [
            ("the namespace", Some(&self.namespace)),
            ("the service account", Some(&self.service_account)),
            ("the cluster's name", self.name.as_ref()),
        ] {
            if let Some(name) = name.filter(|name| !is_label(name)) {
                let name = name.clone();
                return Err(RemoteSecretError::Name { what, name });
            }
        }
        Ok(())
    }
}

/// Applies the account, its role and the binding to the cluster, and makes a Secret for the others.
///
/// # Errors
/// Why there is none; what was applied stays.
pub async fn create(home: &Home, request: &Request) -> Result<Made, RemoteSecretError> {
    let Request {
        namespace,
        service_account,
        ..
    } = request;
    request.check()?;
    for manifest in manifests(request) {
        manifest.apply(&home.api).await?;
    }
    let name = match &request.name {
        Some(name) => name.clone(),
        None => uid(&home.api).await?,
    };
    let token = match request.duration {
        Some(duration) => token::request(&home.api, namespace, service_account, duration).await?,
        None => token::lasting(&home.api, namespace, service_account).await?,
    };
    let authority = token.authority.or_else(|| home.authority.clone());
    let authority = authority.ok_or(RemoteSecretError::NoAuthority)?;
    let server = request.server.as_ref().unwrap_or(&home.server);
    let server = server.trim_end_matches('/');
    let config = kubeconfig_of(&name, server, &authority, token.token.reveal());
    kubeconfig::check(config.as_bytes(), Allow::default())?;
    let mut warnings = Vec::new();
    if request.server.is_none() {
        warnings.extend(reach::warning(server));
    }
    if token.expires.is_none() && expiry::of_token(token.token.reveal()).is_none() {
        warnings.push(
            "the token holds until its Secret is deleted; --duration gives one that ends".into(),
        );
    }
    Ok(Made {
        yaml: secret_of(&name, namespace, &config),
        expires: token.expires,
        warnings,
    })
}

async fn uid(api: &Api) -> Result<String, RemoteSecretError> {
    let uid = identity::uid(api).await;
    uid.map_err(failed(
        "namespace kube-system, whose UID names the cluster, cannot be read",
    ))
}

fn failed(what: impl Into<String>) -> impl FnOnce(Fault) -> RemoteSecretError {
    let what = what.into();
    move |fault| RemoteSecretError::Api { what, fault }
}

/// RFC 1123 labels, as namespaces and most names are.
fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| inner(b) || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Cluster, context and user all have the cluster's name, as with istioctl.
fn kubeconfig_of(name: &str, server: &str, authority: &str, token: &str) -> String {
    format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: {server}
  name: {name}
contexts:
- context:
    cluster: {name}
    user: {name}
  name: {name}
current-context: {name}
kind: Config
preferences: {{}}
users:
- name: {name}
  user:
    token: {token}
"
    )
}

fn secret_of(name: &str, namespace: &str, config: &str) -> String {
    let indented: String = config.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "# This file is autogenerated, do not edit.
apiVersion: v1
kind: Secret
metadata:
  annotations:
    networking.istio.io/cluster: {name}
  labels:
    istio/multiCluster: \"true\"
  name: istio-remote-secret-{name}
  namespace: {namespace}
stringData:
  {name}: |
{indented}---
"
    )
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made")
            .field("expires", &self.expires)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
