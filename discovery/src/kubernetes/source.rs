//! Kubernetes as a source: started once, followed for ever.

use std::sync::Arc;
use std::time::Duration;

use model::Snapshot;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::client::{self, ClientError, Home};
use super::cluster::Connect;
use super::follow::Backoff;
use super::hub::Hub;
use super::settings::Settings;
use super::status::Status;
use super::whoami::{self, WhoAmI, WhoAmIError};

/// How long our own API is asked who we are before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Clusters that are followed; dropping it ends that.
#[derive(Debug)]
pub struct Source {
    /// What they say, as one.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How it goes.
    pub status: watch::Receiver<Status>,
    /// Who we are.
    pub me: WhoAmI,
    task: JoinHandle<()>,
}

/// Why discovery does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// There is no way to our own cluster.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is not known who we are.
    #[error(transparent)]
    WhoAmI(#[from] WhoAmIError),
}

/// Finds out who we are, and follows our own cluster and those that Secrets name. Needs a tokio runtime.
///
/// # Errors
/// When our own cluster cannot be reached for two minutes, or something is not known that only a setting can say.
pub async fn start(settings: Settings) -> Result<Source, StartError> {
    let home = client::local(&settings.local).await?;
    let connect: Connect = Arc::new(client::remote);
    start_with(home, settings, connect).await
}

/// The same with connections of the caller's.
pub(super) async fn start_with(
    home: Home,
    settings: Settings,
    connect: Connect,
) -> Result<Source, StartError> {
    let me = ask(&home, &settings).await?;
    let (hub, (snapshots, status)) = Hub::new(home, me.clone(), settings, connect);
    Ok(Source {
        snapshots,
        status,
        me,
        task: tokio::spawn(hub.run()),
    })
}

async fn ask(home: &Home, settings: &Settings) -> Result<WhoAmI, WhoAmIError> {
    let begun = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        match whoami::find(&home.api, settings, &home.namespace).await {
            Err(WhoAmIError::Api(fault)) if begun.elapsed() < PATIENCE => {
                tracing::warn!(server = home.server, %fault, "our own cluster does not say who we are; it is asked again");
                sleep(backoff.next(None)).await;
            }
            found => return found,
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}
