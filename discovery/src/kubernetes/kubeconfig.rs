//! Kubeconfigs of remote clusters: hostile input until checked here. This is pure; nothing is opened, run or dialled, and no
//! credential stands in an error.

use kube::config::{AuthInfo, Cluster, Kubeconfig};

use super::expiry;
use super::secret::Secret;

/// What a kubeconfig may ask for beyond the usual, by setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// `insecure-skip-tls-verify: true`.
    pub insecure_tls: bool,
    /// `proxy-url`.
    pub proxy: bool,
}

/// How one cluster's API is reached: all that is taken from a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The address of the API, https.
    pub server: String,
    /// Certificates that the server's chain must end in, PEM in base64; without them the system's.
    pub authority: Option<String>,
    /// The name that the server's certificate must bear, where it is not the host of `server`.
    pub tls_server_name: Option<String>,
    /// Whether any certificate of the server will do.
    pub insecure: bool,
    /// A proxy on the way.
    pub proxy: Option<String>,
    /// A bearer token.
    pub token: Option<Secret>,
    /// A client certificate.
    pub certificate: Option<ClientCertificate>,
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM in base64.
    pub chain: String,
    /// PEM in base64.
    pub key: Secret,
}

impl Access {
    /// Whether the other is the same but for the token, so that a watch can go on with it.
    #[must_use]
    pub fn differs_in_token_only(&self, other: &Self) -> bool {
        let without = |access: &Self| Self {
            token: None,
            ..access.clone()
        };
        self.token.is_some() && other.token.is_some() && without(self) == without(other)
    }

    /// When its credential ends, in seconds since 1970: the sooner of token and certificate, as they say themselves.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        let token = self
            .token
            .as_ref()
            .and_then(|token| expiry::of_token(token.reveal()));
        let certificate = self.certificate.as_ref().and_then(|certificate| {
            let pem = String::from_utf8(expiry::base64(&certificate.chain)?).ok()?;
            expiry::of_certificate(&pem)
        });
        token.into_iter().chain(certificate).min()
    }
}

/// Why a kubeconfig is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not UTF-8.
    #[error("it is not text")]
    NotText,
    /// It is not YAML of the form of a kubeconfig. What the parser says is left out, for it quotes the text.
    #[error("it is not a kubeconfig: it cannot be read from line {line} on")]
    Form {
        /// The line, counted from 1; 0 if it is not known.
        line: u64,
    },
    /// No context is chosen.
    #[error("it has {contexts} contexts and no current-context: set current-context")]
    NoContext {
        /// How many there are.
        contexts: usize,
    },
    /// A name that stands for nothing.
    #[error("it names the {what} {name:?}, which is not in it")]
    Missing {
        /// Context, cluster or user.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The address is none, or not https.
    #[error("its server {what}: an address like https://host:6443 is needed")]
    Server {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A field that would run a program, read a file, or act as somebody else.
    #[error("it uses '{field}', which {why}; {instead}")]
    Forbidden {
        /// The field as it is written in a kubeconfig.
        field: &'static str,
        /// What it would do.
        why: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// A field that only a setting allows.
    #[error("it uses '{field}', which {why}; allow it with the setting {setting}")]
    NotAllowed {
        /// The field.
        field: &'static str,
        /// What it does.
        why: &'static str,
        /// The setting.
        setting: &'static str,
    },
    /// Data that is not what it should be.
    #[error("its '{field}' is not base64 of PEM")]
    Data {
        /// The field.
        field: &'static str,
    },
    /// Half a client certificate.
    #[error("it has only one of client-certificate-data and client-key-data: both are needed")]
    HalfCertificate,
    /// Nothing to log in with.
    #[error(
        "its user has neither a token nor a client certificate: make one with 'causeway create-remote-secret'"
    )]
    NoCredential,
}

/// Checks a kubeconfig of a remote cluster. Of several contexts the current one counts; a single one needs no choosing.
///
/// # Errors
/// Why it is refused; never with a credential in it.
pub fn check(bytes: &[u8], allow: Allow) -> Result<Access, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::NotText)?;
    let file = parse(text)?;
    let (cluster, user) = choose(&file)?;
    check_cluster(cluster, allow)?;
    check_user(user)?;

    let non_empty = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let authority = non_empty(&cluster.certificate_authority_data);
    if let Some(authority) = &authority {
        pem("certificate-authority-data", authority)?;
    }
    let token = user.token.as_ref().map(expose);
    let token = token.filter(|token| !token.reveal().is_empty());
    let key = user.client_key_data.as_ref().map(expose);
    let certificate = match (non_empty(&user.client_certificate_data), key) {
        (Some(chain), Some(key)) => {
            pem("client-certificate-data", &chain)?;
            pem("client-key-data", key.reveal())?;
            Some(ClientCertificate { chain, key })
        }
        (None, None) => None,
        _ => return Err(Refusal::HalfCertificate),
    };
    if token.is_none() && certificate.is_none() {
        return Err(Refusal::NoCredential);
    }
    Ok(Access {
        server: cluster.server.clone().unwrap_or_default(),
        authority,
        tls_server_name: non_empty(&cluster.tls_server_name),
        insecure: cluster.insecure_skip_tls_verify == Some(true),
        proxy: non_empty(&cluster.proxy_url),
        token,
        certificate,
    })
}

/// Tight bounds: a kubeconfig has a few hundred lines, and a Secret a megabyte.
fn parse(text: &str) -> Result<Kubeconfig, Refusal> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_aliases: 100,
            max_nodes: 100_000,
            max_events: 200_000,
            max_total_scalar_bytes: 2 << 20,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|fault| Refusal::Form {
        line: fault.location().map_or(0, |place| place.line()),
    })
}

fn choose(file: &Kubeconfig) -> Result<(&Cluster, &AuthInfo), Refusal> {
    let missing = |what, name: &str| Refusal::Missing {
        what,
        name: name.to_owned(),
    };
    let current = file.current_context.as_deref().unwrap_or_default();
    let context = match file.contexts.as_slice() {
        [only] if current.is_empty() => only,
        contexts if current.is_empty() => {
            let contexts = contexts.len();
            return Err(Refusal::NoContext { contexts });
        }
        contexts => contexts
            .iter()
            .find(|context| context.name == current)
            .ok_or_else(|| missing("context", current))?,
    };
    let context = context
        .context
        .as_ref()
        .ok_or_else(|| missing("context", &context.name))?;
    let cluster = file.clusters.iter().find(|one| one.name == context.cluster);
    let cluster = cluster
        .and_then(|one| one.cluster.as_ref())
        .ok_or_else(|| missing("cluster", &context.cluster))?;
    let user = context.user.as_deref().unwrap_or_default();
    let user = file
        .auth_infos
        .iter()
        .find(|one| one.name == user)
        .and_then(|one| one.auth_info.as_ref())
        .ok_or_else(|| missing("user", user))?;
    Ok((cluster, user))
}

fn check_cluster(cluster: &Cluster, allow: Allow) -> Result<(), Refusal> {
    let server = cluster.server.as_deref().unwrap_or_default();
    let wrong = |what| Err(Refusal::Server { what });
    if server.is_empty() {
        return wrong("is not given");
    }
    let Ok(address) = server.parse::<http::Uri>() else {
        return wrong("is not an address");
    };
    if address.scheme_str() != Some("https") {
        return wrong("is not https");
    }
    let Some(authority) = address.authority() else {
        return wrong("has no host");
    };
    if authority.as_str().contains('@') {
        return wrong("holds a user name or password");
    }
    if cluster.certificate_authority.is_some() {
        return Err(file_path(
            "certificate-authority",
            "give it inline, as certificate-authority-data",
        ));
    }
    if cluster.insecure_skip_tls_verify == Some(true) && !allow.insecure_tls {
        return Err(Refusal::NotAllowed {
            field: "insecure-skip-tls-verify",
            why: "lets anybody on the way be the API server",
            setting: "discovery.allowInsecureTls",
        });
    }
    let proxied = cluster
        .proxy_url
        .as_ref()
        .is_some_and(|url| !url.is_empty());
    if proxied && !allow.proxy {
        return Err(Refusal::NotAllowed {
            field: "proxy-url",
            why: "sends the connection elsewhere",
            setting: "discovery.allowProxy",
        });
    }
    Ok(())
}

fn check_user(user: &AuthInfo) -> Result<(), Refusal> {
    const TOKEN: &str = "use a token (causeway create-remote-secret makes one)";
    const INLINE: &str = "give its content inline";
    let forbidden = |field, why, instead| {
        Err(Refusal::Forbidden {
            field,
            why,
            instead,
        })
    };
    if user.exec.is_some() {
        return forbidden("exec", "would run a program in the gateway", TOKEN);
    }
    if user.auth_provider.is_some() {
        return forbidden("auth-provider", "would run code of a vendor", TOKEN);
    }
    if user.token_file.is_some() {
        return Err(file_path("tokenFile", INLINE));
    }
    if user.client_certificate.is_some() {
        return Err(file_path("client-certificate", INLINE));
    }
    if user.client_key.is_some() {
        return Err(file_path("client-key", INLINE));
    }
    if user.username.is_some() || user.password.is_some() {
        return forbidden(
            "username",
            "Kubernetes has not taken since version 1.19",
            TOKEN,
        );
    }
    let impersonates = user.impersonate.is_some()
        || user.impersonate_uid.is_some()
        || user.impersonate_groups.is_some()
        || user.impersonate_user_extra.is_some();
    if impersonates {
        return forbidden("as", "acts as somebody else", TOKEN);
    }
    Ok(())
}

fn file_path(field: &'static str, instead: &'static str) -> Refusal {
    Refusal::Forbidden {
        field,
        why: "would read a file of the gateway",
        instead,
    }
}

fn pem(field: &'static str, data: &str) -> Result<(), Refusal> {
    match expiry::base64(data) {
        Some(bytes) if bytes.windows(11).any(|window| window == b"-----BEGIN ") => Ok(()),
        _ => Err(Refusal::Data { field }),
    }
}

fn expose(secret: &secrecy::SecretString) -> Secret {
    use secrecy::ExposeSecret;
    Secret::new(secret.expose_secret())
}

#[cfg(test)]
mod tests;
