//! A new token, tried with one request before it replaces one that works. It must not replace it.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::kubernetes::api::{Api, Fault};
use crate::kubernetes::follow::Backoff;
use crate::kubernetes::identity;
use crate::kubernetes::kubeconfig::Access;
use crate::kubernetes::secret::Secret;

/// A token that is tried.
pub(super) struct Trial {
    /// The way to the cluster with it.
    pub(super) access: Access,
    /// Whether the server has said that it does not accept it.
    pub(super) refused: bool,
    /// Whether it has failed at all, so that nothing is lost by trying another one instead.
    pub(super) failed: bool,
    api: Api,
    backoff: Backoff,
    task: JoinSet<Result<(), Fault>>,
}

impl Trial {
    /// Tries the token of `access` on a connection that has another one.
    pub(super) fn start(api: &Api, access: Access) -> Self {
        let api = api.with_token(token(&access));
        let mut trial = Self {
            access,
            refused: false,
            failed: false,
            api,
            backoff: Backoff::default(),
            task: JoinSet::new(),
        };
        trial.again_after(Duration::ZERO);
        trial
    }

    /// Tries once more, later.
    pub(super) fn again(&mut self) {
        let pause = self.backoff.next(None);
        self.again_after(pause);
    }

    fn again_after(&mut self, pause: Duration) {
        let api = self.api.clone();
        self.task.spawn(async move {
            sleep(pause).await;
            match identity::uid(&api).await {
                // A server that says what a credential may not do has accepted it.
                Ok(_) | Err(Fault::Forbidden(_) | Fault::NotFound(_)) => Ok(()),
                Err(fault) => Err(fault),
            }
        });
    }
}

/// The token of a way to a cluster.
pub(super) fn token(access: &Access) -> Secret {
    access.token.clone().unwrap_or_default()
}

/// How the trial went; for ever, without one.
pub(super) async fn outcome(trial: &mut Option<Trial>) -> Result<(), Fault> {
    let Some(trial) = trial else {
        return std::future::pending().await;
    };
    match trial.task.join_next().await {
        Some(Ok(outcome)) => outcome,
        Some(Err(_)) => Err(Fault::Nonsense("the trial broke off")),
        None => std::future::pending().await,
    }
}
