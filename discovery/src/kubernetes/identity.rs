//! Which cluster an API server is: the UID of its namespace `kube-system`, which is made once in a cluster's life. It must not
//! decide what follows from another one.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::api::{Api, Fault};

/// What was found out of one cluster; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Identity(Arc<Mutex<Option<String>>>);

/// A comparison with what was found out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The same cluster, or the first answer.
    Same,
    /// Another one.
    Another,
    /// The credential may not ask.
    Unknown,
}

#[derive(Deserialize)]
struct Namespace {
    metadata: ObjectMeta,
}

impl Identity {
    /// A cluster whose UID is known from before.
    #[must_use]
    pub fn of(uid: Option<String>) -> Self {
        Self(Arc::new(Mutex::new(uid)))
    }

    /// The UID, once it is known.
    #[must_use]
    pub fn uid(&self) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Asks the server who it is. The first answer is kept.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn compare(&self, api: &Api) -> Result<Known, Fault> {
        let uid = match uid(api).await {
            Err(Fault::Forbidden(_) | Fault::NotFound(_)) => return Ok(Known::Unknown),
            uid => uid?,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *known.get_or_insert_with(|| uid.clone()) == uid {
            Ok(Known::Same)
        } else {
            Ok(Known::Another)
        }
    }
}

/// The UID of the server's cluster.
///
/// # Errors
/// When there is no answer, or none with a UID.
pub async fn uid(api: &Api) -> Result<String, Fault> {
    let namespace: Namespace = api.get("/api/v1/namespaces/kube-system").await?;
    let uid = namespace.metadata.uid.filter(|uid| !uid.is_empty());
    uid.ok_or(Fault::Nonsense("a namespace without a UID"))
}
