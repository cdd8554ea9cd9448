//! Everything joined: one task owns the world, hears every cluster and every Secret, and publishes. It must hold no rule of
//! meaning.

mod ready;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{ClusterId, Hostname, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::ready::Ready;
use super::api::Api;
use super::client::Home;
use super::cluster::{Cluster, Command, Connect, Ear, Message};
use super::facts::Change;
use super::follow::Event;
use super::gather::Gather;
use super::kubeconfig;
use super::meaning::{Me, Wants, World};
use super::owners::{Action, Owners, RemoteSecret};
use super::secrets;
use super::settings::Settings;
use super::status::Status;
use super::whoami::WhoAmI;
use crate::resolve::Resolver;

/// How often what is costly to say is said again: findings, readiness by time.
const LOOK: Duration = Duration::from_secs(1);

/// Messages that may wait; a cluster that is faster than the hub waits too.
const WAITING: usize = 1024;

/// The hub.
pub(super) struct Hub {
    settings: Settings,
    connect: Connect,
    home: Api,
    own: ClusterId,
    world: World,
    owners: Owners,
    clusters: BTreeMap<ClusterId, Cluster>,
    wanted: BTreeMap<ClusterId, Wants>,
    lives: u64,
    resolver: Resolver,
    gather: Gather,
    ready: Ready,
    status: Status,
    /// Whether findings may have changed.
    changed: bool,
    ear: mpsc::Sender<(ClusterId, u64, Message)>,
    heard: mpsc::Receiver<(ClusterId, u64, Message)>,
    told: mpsc::Receiver<secrets::Told>,
    absences: JoinSet<(Arc<str>, bool)>,
    _secrets: JoinSet<()>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    statuses: watch::Sender<Status>,
}

/// What the hub publishes.
pub(super) type Published = (watch::Receiver<Arc<Snapshot>>, watch::Receiver<Status>);

impl Hub {
    /// Begins to follow our own cluster and the Secrets of others. Needs a tokio runtime.
    pub(super) fn new(
        home: Home,
        me: WhoAmI,
        settings: Settings,
        connect: Connect,
    ) -> (Self, Published) {
        let own = ClusterId::from(me.cluster.value.as_str());
        let world = World::new(
            Me {
                cluster: own.clone(),
                network: me.network.value.as_str().into(),
                labels: me.labels.value.clone(),
                namespace: me.namespace.value.as_str().into(),
                node: me.node.as_str().into(),
            },
            settings.rules.clone(),
        );
        let namespaces = settings.namespaces(&me.namespace.value);
        let mut tasks = JoinSet::new();
        let told = secrets::follow(&home.api, &namespaces, &mut tasks);
        let (ear, heard) = mpsc::channel(WAITING);
        let status = Status {
            me,
            secrets: namespaces
                .iter()
                .map(|namespace| (namespace.to_string(), Default::default()))
                .collect(),
            ..Status::default()
        };
        let (snapshots, snapshots_seen) = watch::channel(Arc::default());
        let (statuses, statuses_seen) = watch::channel(status.clone());
        let mut hub = Self {
            owners: Owners::new(own.clone()),
            home: home.api.clone(),
            connect,
            own: own.clone(),
            world,
            clusters: BTreeMap::new(),
            wanted: BTreeMap::new(),
            lives: 0,
            resolver: Resolver::default(),
            gather: Gather::default(),
            ready: Ready::new(Instant::now()),
            status,
            changed: false,
            ear,
            heard,
            told,
            absences: JoinSet::new(),
            _secrets: tasks,
            snapshots,
            statuses,
            settings,
        };
        let ear = hub.new_ear(&own);
        let cluster = Cluster::own(home.api, home.server, hub.settings.ceilings, ear);
        hub.wanted.insert(
            own.clone(),
            Wants {
                pods: true,
                whole_nodes: false,
            },
        );
        hub.clusters.insert(own, cluster);
        (hub, (snapshots_seen, statuses_seen))
    }

    /// Follows everything until dropped.
    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resolve_at = Instant::now() + Resolver::pause();
        loop {
            let due = self.gather.due();
            tokio::select! {
                // Publishing comes first, or a stream of changes would put it off.
                biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.publish(),
                Some((cluster, life, message)) = self.heard.recv() => self.hear(&cluster, life, message),
                Some((namespace, event)) = self.told.recv() => self.hear_secrets(&namespace, event),
                Some(Ok((namespace, absent))) = self.absences.join_next() => {
                    self.note_absence(&namespace, absent);
                }
                true = self.resolver.answer() => self.take_answers(),
                () = sleep_until(resolve_at) => {
                    let names = self.world.names_to_resolve();
                    self.resolver.ask_all(&names);
                    self.take_answers();
                    resolve_at = Instant::now() + Resolver::pause();
                }
                _ = looks.tick() => self.look(),
            }
        }
    }

    fn hear(&mut self, cluster: &ClusterId, life: u64, message: Message) {
        let known = self.clusters.get(cluster);
        if known.is_none_or(|known| known.life != life) {
            return;
        }
        match message {
            Message::Changes(changes) => self.apply(cluster, changes),
            Message::Status(status) => {
                self.status.clusters.insert(cluster.clone(), *status);
                self.want();
                self.tell();
            }
        }
    }

    fn apply(&mut self, cluster: &ClusterId, changes: Vec<Change>) {
        for change in changes {
            self.world.apply(cluster, change);
        }
        self.gather.change(Instant::now());
    }

    fn publish(&mut self) {
        self.gather.publish(Instant::now());
        self.changed = true;
        if let Some(snapshot) = self.world.publish() {
            self.snapshots.send_replace(snapshot);
        }
        let names: Vec<Hostname> = self.world.names_to_resolve();
        self.resolver.ask_new(&names);
        self.want();
    }

    /// Tells clusters what is to be read of them, where that has changed. Of a remote one of which nothing is known yet it
    /// cannot be said.
    fn want(&mut self) {
        for (id, cluster) in &self.clusters {
            let synced = self.status.clusters.get(id);
            if synced.is_none_or(|status| status.synced_at.is_none()) {
                continue;
            }
            let wants = self.world.wants(id);
            if self.wanted.insert(id.clone(), wants) != Some(wants) {
                cluster.tell(Command::Want(wants));
            }
        }
    }

    fn take_answers(&mut self) {
        for name in self.world.names_to_resolve() {
            let addresses = self.resolver.addresses(&name).to_vec();
            self.world.resolved(&name, addresses);
        }
        self.gather.change(Instant::now());
    }

    fn hear_secrets(&mut self, namespace: &Arc<str>, event: Event<RemoteSecret>) {
        let status = self
            .status
            .secrets
            .entry(namespace.to_string())
            .or_default();
        let actions = match event {
            Event::Reset(secrets, counts) => {
                status.read = true;
                status.count = counts.objects;
                status.last_error = None;
                self.owners.replace(namespace, secrets)
            }
            Event::Apply(secret, counts) => {
                status.count = counts.objects;
                status.last_error = None;
                self.owners.apply(secret)
            }
            Event::Delete(name, counts) => {
                status.count = counts.objects;
                self.owners.remove(&super::owners::SecretName {
                    namespace: name.namespace.into(),
                    name: name.name.into(),
                })
            }
            Event::Alive => {
                // A list of nothing can be that of no namespace; it may come, or go, later.
                if status.count == 0 {
                    let absence = secrets::is_absent(self.home.clone(), namespace.clone());
                    self.absences.spawn(absence);
                } else {
                    status.last_error = None;
                }
                Vec::new()
            }
            Event::Fault(fault) => {
                let message = fault.to_string();
                if status.last_error.as_ref() != Some(&message) {
                    tracing::warn!(%namespace, %fault, "remote Secrets cannot be read; what they said is kept");
                }
                status.last_error = Some(message);
                Vec::new()
            }
            Event::Stranger => {
                status.last_error = Some("the API server is another cluster's than before".into());
                Vec::new()
            }
        };
        for action in actions {
            self.act(action);
        }
        self.status.shadowed = self.owners.shadowed();
        self.tell();
    }

    fn note_absence(&mut self, namespace: &Arc<str>, absent: bool) {
        let Some(status) = self.status.secrets.get_mut(&**namespace) else {
            return;
        };
        if status.count > 0 {
            return;
        }
        let why = "there is no such namespace (discovery.secretNamespaces)".to_owned();
        let error = absent.then_some(why);
        if absent && status.last_error != error {
            tracing::warn!(%namespace, "there is no such namespace, so no remote Secrets in it");
        }
        status.last_error = error;
        self.tell();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Remove { id } => {
                tracing::info!(cluster = %id, "no Secret names it any more");
                self.clusters.remove(&id);
                self.wanted.remove(&id);
                self.status.clusters.remove(&id);
                self.ready.forget(&id);
                self.world.remove(&id);
                self.gather.change(Instant::now());
            }
            Action::Configure { id, owner, raw } => {
                if !self.clusters.contains_key(&id) {
                    tracing::info!(cluster = %id, secret = %owner, "a new cluster");
                    let ear = self.new_ear(&id);
                    let cluster =
                        Cluster::remote(self.connect.clone(), self.settings.ceilings, ear);
                    self.clusters.insert(id.clone(), cluster);
                }
                let command = match kubeconfig::check(&raw.0, self.settings.allow) {
                    Ok(access) => Command::Use(Box::new(access), owner),
                    Err(refusal) => Command::Refuse(refusal, owner),
                };
                if let Some(cluster) = self.clusters.get(&id) {
                    cluster.tell(command);
                }
            }
        }
    }

    fn new_ear(&mut self, cluster: &ClusterId) -> Ear {
        self.lives += 1;
        self.ready.expect(cluster, Instant::now());
        self.status
            .clusters
            .insert(cluster.clone(), Default::default());
        Ear {
            cluster: cluster.clone(),
            life: self.lives,
            hub: self.ear.clone(),
        }
    }

    fn look(&mut self) {
        if self.changed {
            self.changed = false;
            self.status.findings = self.world.findings();
        }
        self.tell();
    }

    fn tell(&mut self) {
        self.status.ready = self.ready.look(&self.own, &self.status, Instant::now());
        self.statuses.send_if_modified(|known| {
            let differs = *known != self.status;
            if differs {
                known.clone_from(&self.status);
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests;
