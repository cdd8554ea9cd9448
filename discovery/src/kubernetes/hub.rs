//! Everything joined: one task owns the world, hears every cluster and every Secret, and publishes. It must hold no rule of
//! meaning.

mod keeper;
mod ready;
pub(super) mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{ClusterId, Hostname, Snapshot};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::keeper::Keeper;
use self::ready::{Ready, Undone};
use self::start::FromDisk;
use super::api::Api;
use super::client::Home;
use super::cluster::{Cluster, Command, Connect, Ear, Loaded, Message};
use super::disk::Kept;
use super::facts::Change;
use super::follow::Event;
use super::gather::Gather;
use super::kubeconfig;
use super::meaning::{Me, Wants, World};
use super::owners::{Action, Owners, RemoteSecret, SecretName};
use super::secrets;
use super::settings::Settings;
use super::status::{State, Status};
use super::whoami::WhoAmI;
use crate::resolve::Resolver;

/// How often what is costly to say is said again: findings, readiness by time.
const LOOK: Duration = Duration::from_secs(1);

/// Said of who we are until our own cluster has been asked.
const NOT_ASKED: &str =
    "our own cluster does not answer; who we are was read from disk, as it said before";

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
    keeper: Keeper,
    /// Clusters that only the disk names, until the Secrets have been read.
    unclaimed: BTreeSet<ClusterId>,
    /// Finds out whether we are who the disk says; and what it found.
    doubts: JoinSet<Option<String>>,
    saves: mpsc::Receiver<oneshot::Sender<()>>,
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

/// What the hub publishes, and where it is asked to write to disk what is not there yet: the answer is that the sender is
/// gone.
pub(super) struct Published {
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) save: mpsc::Sender<oneshot::Sender<()>>,
}

impl Hub {
    /// Begins to follow our own cluster and the Secrets of others. Needs a tokio runtime.
    pub(super) fn new(
        home: Home,
        me: WhoAmI,
        settings: Settings,
        connect: Connect,
        mut from_disk: FromDisk,
        doubts: JoinSet<Option<String>>,
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
        from_disk.choose(&own, &namespaces);
        let identity = from_disk.own_identity(&home.server);
        let before = match identity.uid() {
            Some(_) => from_disk.secrets(),
            None => BTreeSet::new(),
        };
        let told = secrets::follow(&home.api, &namespaces, &identity, &before, &mut tasks);
        let (ear, heard) = mpsc::channel(WAITING);
        let status = Status {
            me_unsure: (!doubts.is_empty()).then(|| NOT_ASKED.to_owned()),
            me,
            secrets: namespaces
                .iter()
                .map(|namespace| (namespace.to_string(), Default::default()))
                .collect(),
            ..Status::default()
        };
        let (snapshots, snapshots_seen) = watch::channel(Arc::default());
        let (statuses, statuses_seen) = watch::channel(status.clone());
        let (save, saves) = mpsc::channel(1);
        let mut hub = Self {
            owners: Owners::new(own.clone()),
            home: home.api.clone(),
            connect,
            own: own.clone(),
            world,
            clusters: BTreeMap::new(),
            wanted: BTreeMap::new(),
            lives: 0,
            resolver: Resolver::with(from_disk.names.clone()),
            gather: Gather::default(),
            ready: Ready::new(Instant::now()),
            keeper: Keeper::new(from_disk.disk.clone(), from_disk.ignored, from_disk.names),
            unclaimed: BTreeSet::new(),
            doubts,
            saves,
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
        let mut own_loaded = None;
        for kept in from_disk.clusters {
            let id = kept.cluster.clone();
            let loaded = Loaded::of(&kept, &from_disk.disk);
            if kept.own {
                own_loaded = Some(loaded);
            } else {
                hub.unclaimed.insert(id.clone());
                hub.add_remote(&id, Some(loaded));
            }
            hub.apply(&id, start::changes(kept.facts));
        }
        // Gateways that have a name are where they were, before any name server answers.
        hub.take_answers();
        let ear = hub.new_ear(&own);
        let loaded_status = own_loaded.as_ref().map(Loaded::status).unwrap_or_default();
        hub.status.clusters.insert(own.clone(), loaded_status);
        let cluster = Cluster::own(&home, hub.settings.ceilings, ear, own_loaded);
        hub.wanted.insert(
            own.clone(),
            Wants {
                pods: true,
                whole_nodes: false,
            },
        );
        hub.clusters.insert(own, cluster);
        hub.want();
        let published = Published {
            snapshots: snapshots_seen,
            status: statuses_seen,
            save,
        };
        (hub, published)
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
                Some(waiter) = self.saves.recv() => {
                    self.keeper.hurry(waiter);
                    self.save();
                }
                true = self.keeper.done() => self.save(),
                Some(Ok(found)) = self.doubts.join_next() => self.status.me_unsure = found,
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
            Message::Changes(changes) => {
                self.keeper.touch(cluster);
                self.apply(cluster, changes);
            }
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
        if !self.status.ready {
            self.tell();
        }
        let names: Vec<Hostname> = self.world.names_to_resolve();
        self.resolver.ask_new(&names);
        self.want();
    }

    /// Tells clusters what is to be read of them, where that has changed. Of a remote one of which nothing is known yet it
    /// cannot be said.
    fn want(&mut self) {
        for (id, cluster) in &self.clusters {
            let status = self.status.clusters.get(id);
            if !status.is_some_and(|status| status.synced_at.is_some() || status.loaded) {
                continue;
            }
            let wants = self.world.wants(id);
            if self.wanted.insert(id.clone(), wants) != Some(wants) {
                cluster.tell(Command::Want(wants));
            }
        }
    }

    fn take_answers(&mut self) {
        let mut known = BTreeMap::new();
        for name in self.world.names_to_resolve() {
            let addresses = self.resolver.addresses(&name).to_vec();
            if !addresses.is_empty() {
                known.insert(name.clone(), addresses.clone());
            }
            self.world.resolved(&name, addresses);
        }
        self.keeper.know(known);
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
        self.drop_unclaimed();
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
            Action::Remove { id } => self.remove(&id),
            Action::Configure { id, owner, raw } => {
                self.unclaimed.remove(&id);
                if !self.clusters.contains_key(&id) {
                    tracing::info!(cluster = %id, secret = %owner, "a new cluster");
                    self.add_remote(&id, None);
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

    fn add_remote(&mut self, id: &ClusterId, loaded: Option<Loaded>) {
        let ear = self.new_ear(id);
        if let Some(loaded) = &loaded {
            self.status.clusters.insert(id.clone(), loaded.status());
        }
        let ceilings = self.settings.ceilings;
        let cluster = Cluster::remote(self.connect.clone(), ceilings, ear, loaded);
        self.clusters.insert(id.clone(), cluster);
    }

    fn remove(&mut self, id: &ClusterId) {
        tracing::info!(cluster = %id, "no Secret names it any more");
        self.clusters.remove(id);
        self.wanted.remove(id);
        self.status.clusters.remove(id);
        self.ready.forget(id);
        self.keeper.forget(id);
        self.world.remove(id);
        self.gather.change(Instant::now());
    }

    /// Removes the clusters that only the disk names, once every namespace has been read that can be, and that of their own
    /// Secret for certain.
    fn drop_unclaimed(&mut self) {
        let namespaces = &self.status.secrets;
        let mut all = namespaces.values();
        if self.unclaimed.is_empty() || !all.all(|one| one.read || one.last_error.is_some()) {
            return;
        }
        let clusters = &self.status.clusters;
        let is_read = |secret: &SecretName| {
            let namespace = namespaces.get(&*secret.namespace);
            namespace.is_some_and(|namespace| namespace.read)
        };
        let gone = self.unclaimed.extract_if(.., |id| {
            let secret = clusters.get(id).and_then(|status| status.secret.as_ref());
            secret.is_some_and(is_read)
        });
        let gone: Vec<ClusterId> = gone.collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// Gives one cluster to the disk, if one is due.
    fn save(&mut self) {
        let clusters = &self.status.clusters;
        let read = clusters
            .iter()
            .filter(|(_, cluster)| cluster.synced_at.is_some())
            .map(|(id, cluster)| (id, cluster.state == State::Synced));
        let Some(id) = self.keeper.due(read) else {
            return;
        };
        let status = &clusters[id];
        let kept = Kept {
            cluster: id.clone(),
            own: status.own,
            secret: status.secret.clone(),
            server: status.server.clone(),
            uid: status.uid.clone(),
            heard_at: status.heard_at.unwrap_or_default(),
            facts: self.world.facts(id),
        };
        self.keeper.write(kept);
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
        self.save();
        self.tell();
    }

    fn tell(&mut self) {
        if !self.status.ready {
            let mut names = self.world.names_to_resolve().into_iter();
            let undone = Undone {
                unpublished: self.gather.due().is_some(),
                unresolved: names.any(|name| self.resolver.addresses(&name).is_empty()),
            };
            let now = Instant::now();
            self.status.waiting_for = self.ready.look(&self.own, &self.status, undone, now);
            self.status.ready = self.status.waiting_for.is_empty();
        }
        self.status.disk.clone_from(&self.keeper.status);
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
