//! One remote cluster, or our own: a task that keeps one connection in force, tries newer ones beside it, and passes on what
//! the one in force tells. It must not know what the objects mean, nor of other clusters.

mod link;
mod loaded;
mod report;
mod run;
mod trial;

use std::sync::Arc;

use model::ClusterId;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

pub use self::loaded::Loaded;
use super::api::Api;
use super::client::{ClientError, Home};
use super::facts::Change;
use super::kubeconfig::{Access, Refusal};
use super::meaning::Wants;
use super::owners::SecretName;
use super::secret::Secret;
use super::settings::Ceilings;
use super::status::ClusterStatus;

/// How a checked kubeconfig becomes a connection; the tests have another way.
pub type Connect =
    Arc<dyn Fn(&Access) -> Result<(Api, watch::Sender<Secret>), ClientError> + Send + Sync>;

/// What a cluster is told.
#[derive(Debug)]
pub enum Command {
    /// It is reached so from now on.
    Use(Box<Access>, SecretName),
    /// The Secret that says how it is reached is not used.
    Refuse(Refusal, SecretName),
    /// This is to be read of it.
    Want(Wants),
}

/// What a cluster tells.
#[derive(Debug)]
pub enum Message {
    /// This happened, in one step.
    Changes(Vec<Change>),
    /// This is how it goes.
    Status(Box<ClusterStatus>),
}

/// Who hears of a cluster. The number tells one life of it from the next, should it be removed and come back.
#[derive(Clone, Debug)]
pub struct Ear {
    /// The cluster.
    pub cluster: ClusterId,
    /// Which life of it.
    pub life: u64,
    /// The hub.
    pub hub: mpsc::Sender<(ClusterId, u64, Message)>,
}

/// A cluster that is followed; dropping it ends that.
#[derive(Debug)]
pub struct Cluster {
    /// Which life of it this is.
    pub life: u64,
    commands: mpsc::UnboundedSender<Command>,
    task: AbortHandle,
}

impl Cluster {
    /// Follows our own cluster, whose connection takes care of its credential itself.
    #[must_use]
    pub fn own(home: &Home, ceilings: Ceilings, ear: Ear, loaded: Option<Loaded>) -> Self {
        let connect: Connect = Arc::new(|_| Err(ClientError::Unusable("kubeconfig")));
        let life = ear.life;
        let (commands, orders) = mpsc::unbounded_channel();
        let mut cluster = run::Task::new(connect, ceilings, ear, orders, loaded);
        cluster.begin_own(home);
        let task = tokio::spawn(cluster.run()).abort_handle();
        Self {
            life,
            commands,
            task,
        }
    }

    /// Follows a remote cluster, once it is told how it is reached.
    #[must_use]
    pub fn remote(connect: Connect, ceilings: Ceilings, ear: Ear, loaded: Option<Loaded>) -> Self {
        let life = ear.life;
        let (commands, orders) = mpsc::unbounded_channel();
        let cluster = run::Task::new(connect, ceilings, ear, orders, loaded);
        let task = tokio::spawn(cluster.run()).abort_handle();
        Self {
            life,
            commands,
            task,
        }
    }

    /// Tells it something.
    pub fn tell(&self, command: Command) {
        // A task that has ended hears nothing; it ends only with this.
        let _ = self.commands.send(command);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
