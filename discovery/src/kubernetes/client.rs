//! Connections to API servers: our own cluster's as the user set it up, remote ones from checked kubeconfigs alone. It must
//! not send a request.

mod credential;

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster,
    NamedContext,
};
use kube::{Client, Config};
use secrecy::SecretString;
use tokio::sync::watch;

pub use self::credential::Credential;
use super::api::Api;
use super::expiry;
use super::kubeconfig::Access;
use super::secret::Secret;

/// For a TCP connection and its TLS handshake; the answer has a limit of its own.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no connection. What libraries say of it is left out where it could quote a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A part of a remote kubeconfig that passed as text, but is no certificate or key.
    #[error("its {0} cannot be used: it is not what it should be, or of a kind that is not known")]
    Unusable(&'static str),
    /// The own cluster's kubeconfig.
    #[error("the kubeconfig {path}{} cannot be used: {why}", of_context(.context))]
    Local {
        /// The file.
        path: String,
        /// The context that was asked for; empty for the current one.
        context: String,
        /// What is wrong.
        why: String,
    },
    /// There is no way to our own cluster.
    #[error(
        "no API server is known: {0}, and no kubeconfig is named: set source.kubernetes.kubeconfig (on the command line --kubeconfig), or the variable KUBECONFIG"
    )]
    NoCluster(String),
}

fn of_context(context: &str) -> String {
    if context.is_empty() {
        String::new()
    } else {
        format!(" (context '{context}')")
    }
}

/// How our own cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// A kubeconfig of the user's, which may use what it likes; without it the service account of the pod, else the files
    /// that KUBECONFIG names.
    pub kubeconfig: Option<PathBuf>,
    /// A context of that file other than its current one.
    pub context: Option<String>,
}

/// A connection to our own cluster.
#[derive(Clone)]
pub struct Home {
    /// The connection.
    pub api: Api,
    /// The namespace that it is set up for.
    pub namespace: String,
    /// Where the API is.
    pub server: String,
    /// The certificates that its chain must end in, PEM in base64, where the configuration says.
    pub authority: Option<String>,
    /// When its credential ends.
    pub credential: Credential,
}

/// Connects to our own cluster, without asking it anything.
///
/// # Errors
/// Which file cannot be used and why, or that there is none.
pub async fn local(local: &Local) -> Result<Home, ClientError> {
    let variable = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&variable)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let context = local.context.as_deref();
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let config = match &local.kubeconfig {
        Some(path) => from_files(std::slice::from_ref(path), context).await?,
        None if in_pod && context.is_none() => Config::incluster().map_err(|fault| {
            ClientError::NoCluster(format!("the pod's account cannot be used ({fault})"))
        })?,
        None if !listed.is_empty() => from_files(&listed, context).await?,
        None => {
            let why = match context {
                Some(context) => format!("context '{context}' must be one of a kubeconfig"),
                None => "this is no pod (KUBERNETES_SERVICE_HOST is not set)".to_owned(),
            };
            return Err(ClientError::NoCluster(why));
        }
    };
    let namespace = config.default_namespace.clone();
    let server = config.cluster_url.to_string();
    let authority = config.root_cert.as_deref().and_then(expiry::to_pem);
    let credential = Credential::of(&config.auth_info);
    let client = build(config).map_err(|_| ClientError::Local {
        path: String::from("of the own cluster"),
        context: local.context.clone().unwrap_or_default(),
        why: "its certificates, key or address are not what they should be".into(),
    })?;
    Ok(Home {
        api: Api::new(client, None),
        namespace,
        server,
        authority,
        credential,
    })
}

/// Several files are one, as kubectl reads the list in KUBECONFIG: of two things of one name the first counts, and files that are
/// not there are passed over where another one is.
async fn from_files(paths: &[PathBuf], context: Option<&str>) -> Result<Config, ClientError> {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let wrong = |path: &str, why: String| ClientError::Local {
        path: path.to_owned(),
        context: context.unwrap_or_default().to_owned(),
        why,
    };
    let mut merged: Option<Kubeconfig> = None;
    let mut missing = None;
    for (path, name) in paths.iter().zip(&names) {
        if let Err(fault) = std::fs::metadata(path) {
            missing = Some(wrong(name, fault.to_string()));
            continue;
        }
        let no_kubeconfig = |_| wrong(name, "it is not a kubeconfig".into());
        let file = Kubeconfig::read_from(path).map_err(no_kubeconfig)?;
        merged = Some(match merged {
            Some(before) => before.merge(file).map_err(no_kubeconfig)?,
            None => file,
        });
    }
    let all = names.join(":");
    let file = match (merged, missing) {
        (Some(file), _) => file,
        (None, missing) => return Err(missing.unwrap_or_else(|| wrong(&all, "it is empty".into()))),
    };
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file, &options).await;
    config.map_err(|fault| wrong(&all, fault.to_string()))
}

/// A connection to a remote cluster, and where its token can be changed. Nothing but what was checked goes into it: neither
/// files nor the environment are looked at.
///
/// # Errors
/// Which part cannot be used.
pub fn remote(access: &Access) -> Result<(Api, watch::Sender<Secret>), ClientError> {
    let name = String::from("remote");
    let certificate = access.certificate.as_ref();
    let file = Kubeconfig {
        clusters: vec![NamedCluster {
            name: name.clone(),
            cluster: Some(Cluster {
                server: Some(access.server.clone()),
                insecure_skip_tls_verify: Some(access.insecure),
                certificate_authority_data: access.authority.clone(),
                tls_server_name: access.tls_server_name.clone(),
                ..Cluster::default()
            }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: name.clone(),
            auth_info: Some(AuthInfo {
                client_certificate_data: certificate.map(|both| both.chain.clone()),
                client_key_data: certificate.map(|both| SecretString::from(both.key.reveal())),
                ..AuthInfo::default()
            }),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: name.clone(),
            context: Some(Context {
                cluster: name.clone(),
                user: Some(name.clone()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some(name),
        ..Kubeconfig::default()
    };
    let mut config = Config::try_from(file)
        .map_err(|_| ClientError::Unusable("certificate-authority-data or server"))?;
    if access.authority.is_some() && config.root_cert.as_ref().is_none_or(Vec::is_empty) {
        return Err(ClientError::Unusable("certificate-authority-data"));
    }
    let proxy = access.proxy.as_ref().map(|url| url.parse()).transpose();
    // The variable HTTPS_PROXY is the gateway's own business; whoever writes a Secret says here how the cluster is reached.
    config.proxy_url = proxy.map_err(|_| ClientError::Unusable("proxy-url"))?;
    let client =
        build(config).map_err(|_| ClientError::Unusable("client certificate, key or proxy-url"))?;
    let (sender, token) = watch::channel(access.token.clone().unwrap_or_default());
    let token = access.token.is_some().then_some(token);
    Ok((Api::new(client, token), sender))
}

fn build(mut config: Config) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(CONNECT);
    // Waiting and trying again is ours, where the reason is told too.
    config.default_retry = false;
    Client::try_from(config)
}

#[cfg(test)]
mod tests;
