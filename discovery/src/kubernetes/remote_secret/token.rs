//! Tokens of a service account: one that lasts, from a Secret that the server fills, or one that ends, from a TokenRequest. It
//! must not show them.

use std::time::Duration;

use http::Method;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::manifests::Manifest;
use super::{Api, RemoteSecretError, failed};
use crate::kubernetes::expiry;
use crate::kubernetes::secret::Secret;

/// How long the server may take to fill a Secret.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// A token, and what came with it.
pub(super) struct Token {
    pub(super) token: Secret,
    /// Certificates that the server's chain must end in, PEM in base64.
    pub(super) authority: Option<String>,
    /// When it ends, in the server's words.
    pub(super) expires: Option<String>,
}

#[derive(Deserialize)]
struct TokenRequest {
    status: TokenStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenStatus {
    token: String,
    expiration_timestamp: String,
}

/// A token for this long, as far as the server agrees.
pub(super) async fn request(
    api: &Api,
    namespace: &str,
    account: &str,
    duration: Duration,
) -> Result<Token, RemoteSecretError> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": duration.as_secs()},
    });
    let body = body.to_string().into_bytes();
    let answer = api.change(Method::POST, &path, "application/json", body);
    let answer: TokenRequest = answer.await.map_err(failed(format!(
        "no token for service account {namespace}/{account}"
    )))?;
    Ok(Token {
        token: Secret::new(answer.status.token),
        authority: None,
        expires: Some(answer.status.expiration_timestamp),
    })
}

/// A token that holds as long as its Secret; the name is the one that istioctl gives it.
pub(super) async fn lasting(
    api: &Api,
    namespace: &str,
    account: &str,
) -> Result<Token, RemoteSecretError> {
    let name = format!("{account}-istio-remote-secret-token");
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let yaml = format!(
        "apiVersion: v1
kind: Secret
metadata:
  name: {name}
  namespace: {namespace}
  annotations:
    kubernetes.io/service-account.name: {account}
type: kubernetes.io/service-account-token
"
    );
    Manifest::new(path.clone(), yaml).apply(api).await?;
    let begun = Instant::now();
    loop {
        let secret: SecretObject = api
            .get(&path)
            .await
            .map_err(failed(format!("Secret {namespace}/{name} cannot be read")))?;
        let mut data = secret.data.unwrap_or_default();
        let token = data.remove("token").and_then(text);
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            let authority = data.remove("ca.crt").filter(|pem| !pem.0.is_empty());
            return Ok(Token {
                token: Secret::new(token),
                authority: authority.and_then(|pem| expiry::encoded(&pem.0)),
                expires: None,
            });
        }
        if begun.elapsed() >= PATIENCE {
            return Err(RemoteSecretError::NoToken(format!("{namespace}/{name}")));
        }
        sleep(LOOK).await;
    }
}

fn text(bytes: ByteString) -> Option<String> {
    String::from_utf8(bytes.0).ok()
}
