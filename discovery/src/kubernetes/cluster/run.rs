//! The task of one cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::link::{Candidate, Link, next_of_candidate, next_of_force};
use super::loaded::Loaded;
use super::trial::{self, Trial};
use super::{Command, Connect, Ear, Message};
use crate::kubernetes::api::Fault;
use crate::kubernetes::client::Home;
use crate::kubernetes::facts::{Change, Kind};
use crate::kubernetes::follow::{Ceiling, Event, Memory};
use crate::kubernetes::identity::{Identity, Known};
use crate::kubernetes::kubeconfig::Access;
use crate::kubernetes::meaning::Wants;
use crate::kubernetes::owners::SecretName;
use crate::kubernetes::session::{Read, Scope, Session, Told};
use crate::kubernetes::settings::Ceilings;
use crate::kubernetes::staged::{self, Staged};
use crate::kubernetes::status::{ClusterStatus, ErrorStatus, now};

/// How often counts and ages are told.
const LOOK: Duration = Duration::from_secs(5);

/// Until a cluster that brought too much is tried again, the first time; doubled each time.
const THAW: Duration = Duration::from_secs(60);

/// At most.
const LONGEST_THAW: Duration = Duration::from_secs(600);

/// One cluster.
pub(super) struct Task {
    connect: Connect,
    ceilings: Ceilings,
    ear: Ear,
    orders: mpsc::UnboundedReceiver<Command>,
    pub(super) own: bool,
    /// The way to our own cluster.
    pub(super) home: Option<Home>,
    /// What was read from disk; until everything has been read from the API.
    pub(super) loaded: Option<Loaded>,
    wants: Wants,
    pub(super) force: Option<Link>,
    /// What was known when nothing came to be in force any more.
    before: BTreeMap<Kind, Memory>,
    pub(super) candidate: Option<Candidate>,
    trial: Option<Trial>,
    /// The newest way to the cluster that could be used, in force or not, and which cluster it was found to be.
    newest: Option<Access>,
    pub(super) identity: Identity,
    pub(super) secret: Option<SecretName>,
    pub(super) server: String,
    /// When the credential for our own cluster ends.
    pub(super) own_ends_at: Option<i64>,
    pub(super) generation: u64,
    pub(super) synced_at: Option<i64>,
    /// What went wrong, by what it is about.
    pub(super) faults: BTreeMap<&'static str, ErrorStatus>,
    /// Kinds whose lists are not believed.
    doubted: BTreeSet<Kind>,
    pub(super) frozen: Option<ErrorStatus>,
    pub(super) pending: Option<String>,
    again_at: Option<Instant>,
    thaw: Duration,
    changes: Vec<Change>,
    told: ClusterStatus,
}

impl Task {
    pub(super) fn new(
        connect: Connect,
        ceilings: Ceilings,
        ear: Ear,
        orders: mpsc::UnboundedReceiver<Command>,
        loaded: Option<Loaded>,
    ) -> Self {
        let of_loaded = loaded.as_ref();
        Self {
            identity: Identity::of(of_loaded.and_then(|loaded| loaded.uid.clone())),
            secret: of_loaded.and_then(|loaded| loaded.secret.clone()),
            server: of_loaded.map_or_else(String::new, |loaded| loaded.server.clone()),
            loaded,
            connect,
            ceilings,
            ear,
            orders,
            own: false,
            home: None,
            // Whether Pods of a remote cluster matter is seen from its network, which is not known yet.
            wants: Wants {
                pods: false,
                whole_nodes: false,
            },
            force: None,
            before: BTreeMap::new(),
            candidate: None,
            trial: None,
            newest: None,
            own_ends_at: None,
            generation: 0,
            synced_at: None,
            faults: BTreeMap::new(),
            doubted: BTreeSet::new(),
            frozen: None,
            pending: None,
            again_at: None,
            thaw: THAW,
            changes: Vec::new(),
            told: ClusterStatus::default(),
        }
    }

    pub(super) fn begin_own(&mut self, home: &Home) {
        self.own = true;
        self.wants.pods = true;
        self.move_to(&home.server);
        self.server.clone_from(&home.server);
        self.home = Some(home.clone());
        self.look_at_credential();
        self.try_again();
    }

    /// A Pod's token is renewed on disk, without a word.
    fn look_at_credential(&mut self) {
        let home = self.home.as_ref();
        self.own_ends_at = home.and_then(|home| home.credential.ends_at());
    }

    /// It is reached at this address from now on. At another one than before it may be another cluster, and be right.
    fn move_to(&mut self, server: &str) {
        let known = self.newest.as_ref().map(|newest| &newest.server);
        let known = known.or_else(|| self.loaded.as_ref().map(|loaded| &loaded.server));
        if known.is_some_and(|known| known != server) {
            self.identity = Identity::default();
            if let Some(loaded) = &mut self.loaded {
                loaded.before.clear();
            }
        }
    }

    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again_at = self.again_at;
            let look = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => {
                        self.order(order);
                        false
                    }
                    None => return,
                },
                told = next_of_force(&mut self.force) => {
                    self.hear(told);
                    false
                }
                told = next_of_candidate(&mut self.candidate) => {
                    self.hear_candidate(told);
                    false
                }
                outcome = trial::outcome(&mut self.trial) => {
                    self.judge_token(outcome);
                    false
                }
                () = sleep_until(again_at.unwrap_or_else(Instant::now)), if again_at.is_some() => {
                    self.again_at = None;
                    self.follow_newest();
                    false
                }
                _ = looks.tick() => {
                    self.look_at_credential();
                    true
                }
            };
            if self.tell(look).await.is_err() {
                return;
            }
        }
    }

    /// Tells the hub what has changed; counts and ages only at each look.
    async fn tell(&mut self, look: bool) -> Result<(), ()> {
        let changes = std::mem::take(&mut self.changes);
        let status = self.status();
        let at_once = ClusterStatus {
            heard_at: self.told.heard_at,
            objects: self.told.objects.clone(),
            endpoints: self.told.endpoints,
            ..status.clone()
        };
        let mut messages = Vec::new();
        if !changes.is_empty() {
            messages.push(Message::Changes(changes));
        }
        if at_once != self.told || (look && status != self.told) {
            self.told = status.clone();
            messages.push(Message::Status(Box::new(status)));
        }
        for message in messages {
            let message = (self.ear.cluster.clone(), self.ear.life, message);
            self.ear.hub.send(message).await.map_err(|_| ())?;
        }
        Ok(())
    }

    pub(super) fn doubted(&self) -> bool {
        !self.doubted.is_empty()
    }

    fn order(&mut self, order: Command) {
        match order {
            Command::Use(access, secret) => {
                self.secret = Some(secret);
                self.reach(*access);
            }
            Command::Refuse(refusal, secret) => {
                tracing::warn!(cluster = %self.ear.cluster, %secret, %refusal, "a kubeconfig is not used");
                self.pending = Some(format!(
                    "the kubeconfig of Secret {secret} is refused: {refusal}"
                ));
                self.secret.get_or_insert(secret);
            }
            Command::Want(wants) => {
                self.wants = wants;
                if let Some(force) = &mut self.force {
                    for kind in force.session.set_wants(wants) {
                        force.forget(kind);
                        self.faults.remove(kind.as_str());
                        self.changes.push(Change::Reset(kind, Vec::new()));
                    }
                }
                if let Some(candidate) = &mut self.candidate {
                    for kind in candidate.link.session.set_wants(wants) {
                        candidate.link.forget(kind);
                        candidate.staged.none_of(kind);
                    }
                    self.swap_if_complete();
                }
            }
        }
    }

    /// The cluster is reached so from now on: at once where nothing is in force yet, else beside what is.
    fn reach(&mut self, access: Access) {
        self.pending = None;
        self.again_at = None;
        self.move_to(&access.server);
        self.newest = Some(access);
        self.follow_newest();
    }

    /// Does the least that brings the newest way to the cluster into force: nothing, a new token, or a connection. What is
    /// tried already has its time, and whatever is newest then follows.
    fn follow_newest(&mut self) {
        let Some(access) = self.newest.clone() else {
            return self.try_again();
        };
        if let Some(force) = &self.force
            && let Some(known) = &force.access
        {
            if *known == access {
                (self.candidate, self.trial) = (None, None);
                // A wrong address in between may have had it forgotten who is there.
                self.identity = force.session.identity().clone();
                return;
            }
            if known.differs_in_token_only(&access) {
                self.candidate = None;
                if self.trial.as_ref().is_none_or(|trial| trial.failed) {
                    self.trial = Some(Trial::start(force.session.api(), access));
                }
                return;
            }
        }
        self.trial = None;
        if let Some(candidate) = &mut self.candidate
            && let Some(known) = &mut candidate.link.access
        {
            if *known == access && !candidate.failed {
                return;
            }
            if let Some(token) = &candidate.link.token
                && known.differs_in_token_only(&access)
            {
                token.send_replace(trial::token(&access));
                *known = access;
                return;
            }
            if let Some(end) = candidate.heard_until() {
                self.again_at = Some(end);
                return;
            }
        }
        self.try_again();
    }

    /// Begins to try the newest way to the cluster.
    fn try_again(&mut self) {
        self.again_at = None;
        let (api, token, access) = match (&self.home, &self.newest) {
            (Some(home), _) => (home.api.clone(), None, None),
            (None, Some(access)) => match (self.connect)(access) {
                Ok((api, token)) => (api, Some(token), Some(access.clone())),
                Err(fault) => {
                    tracing::warn!(cluster = %self.ear.cluster, %fault, "a kubeconfig is not used");
                    self.pending = Some(format!("its kubeconfig cannot be used: {fault}"));
                    return;
                }
            },
            (None, None) => return,
        };
        let scope = Scope {
            istio: self.own,
            wants: self.wants,
            ceiling: Ceiling {
                objects: self.ceilings.objects,
                bytes: self.ceilings.list_bytes,
            },
        };
        // Whatever it lists first takes away what is known no sooner than a later list would.
        let before = match (&self.force, &self.loaded) {
            (Some(force), _) => force.session.memories(),
            (None, Some(loaded)) => loaded.before.clone(),
            (None, None) => self.before.clone(),
        };
        self.candidate = Some(Candidate {
            link: Link {
                session: Session::start(api, scope, self.identity.clone(), before),
                access,
                token,
                counts: BTreeMap::new(),
                heard: BTreeMap::new(),
            },
            staged: Staged::default(),
            known: None,
            istio: !self.own,
            begun: Instant::now(),
            failed: false,
        });
    }

    fn hear(&mut self, told: Told) {
        let Some(force) = &mut self.force else {
            return;
        };
        match told {
            Told::Kind(kind, event) => {
                force.hear(kind, &event);
                if let Some(excess) = force.excess(self.ceilings) {
                    self.freeze(excess);
                    return;
                }
                self.note(kind, &event);
                self.changes.extend(staged::change(kind, event));
            }
            Told::Istio(Ok(found)) => {
                self.faults.remove("API discovery");
                for kind in force.session.set_istio(&found) {
                    if force.counts.contains_key(&kind) {
                        force.forget(kind);
                        self.changes.push(Change::Reset(kind, Vec::new()));
                    }
                }
            }
            Told::Istio(Err(fault)) => self.blame("API discovery", &fault),
            Told::Identity(_) => {}
        }
    }

    fn hear_candidate(&mut self, told: Told) {
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        match told {
            Told::Kind(kind, event) => {
                candidate.link.hear(kind, &event);
                let excess = candidate.link.excess(self.ceilings);
                let optional = matches!(kind, Kind::Node | Kind::Pod) && self.force.is_none();
                if optional && matches!(event, Event::Fault(Fault::Forbidden(_))) {
                    candidate.staged.do_without(kind);
                } else if matches!(event, Event::Fault(_)) {
                    candidate.failed = true;
                    // While one is tried, only a newer one that waits for it sets a time.
                    self.again_at = self.again_at.map(|_| Instant::now());
                }
                if self.force.is_none() {
                    self.note(kind, &event);
                } else if let Event::Fault(fault) = &event {
                    self.pending = Some(format!(
                        "the newer kubeconfig does not work, the older one stays in force: {kind}: {fault}"
                    ));
                }
                if let Some(excess) = excess {
                    self.freeze(excess);
                    return;
                }
                if let Some(candidate) = &mut self.candidate {
                    candidate.staged.apply(kind, event);
                }
            }
            Told::Istio(Ok(found)) => {
                for kind in candidate.link.session.set_istio(&found) {
                    candidate.staged.none_of(kind);
                }
                candidate.istio = candidate.link.session.has_settled();
                self.faults.remove("API discovery");
            }
            Told::Istio(Err(fault)) => self.blame("API discovery", &fault),
            Told::Identity(Known::Another) => {
                let remedy = self.loaded.as_ref().map_or_else(String::new, |loaded| {
                    format!(
                        "; if that is meant, remove {} and start the gateway anew",
                        loaded.file
                    )
                });
                self.freeze(format!(
                    "its API server is another cluster's than before (the UID of namespace kube-system){remedy}"
                ));
                return;
            }
            Told::Identity(known) => candidate.known = Some(known),
        }
        self.swap_if_complete();
    }

    /// Puts the candidate in force once all of it is there.
    fn swap_if_complete(&mut self) {
        let Some(candidate) = self.candidate.take_if(|candidate| candidate.is_complete()) else {
            return;
        };
        let before = self.force.take();
        let link = candidate.link;
        let loaded = self.loaded.take();
        let of_loaded = loaded
            .iter()
            .flat_map(|loaded| loaded.counts.keys().copied());
        let in_force = before.iter().flat_map(|before| before.session.kinds());
        for kind in in_force.chain(of_loaded) {
            if !link.session.kinds().any(|known| known == kind) {
                self.changes.push(Change::Reset(kind, Vec::new()));
            }
        }
        self.changes.extend(candidate.staged.into_changes());
        self.generation += 1;
        self.synced_at.get_or_insert_with(now);
        self.pending = None;
        self.frozen = None;
        self.doubted.clear();
        self.thaw = THAW;
        if before.is_some() {
            self.faults.clear();
        }
        self.force = Some(link);
        tracing::info!(cluster = %self.ear.cluster, generation = self.generation, "in sync");
    }

    fn judge_token(&mut self, outcome: Result<(), Fault>) {
        match outcome {
            Ok(()) => {
                if let Some(trial) = self.trial.take() {
                    self.take_token(trial.access);
                }
                self.follow_newest();
            }
            Err(fault) => {
                self.pending = Some(format!(
                    "the newer token does not work, the older one stays in force: {fault}"
                ));
                if let Some(trial) = &mut self.trial {
                    trial.refused |= fault == Fault::Unauthorized;
                    trial.failed = true;
                    match self.newest.as_ref() == Some(&trial.access) {
                        true => trial.again(),
                        false => self.follow_newest(),
                    }
                }
            }
        }
    }

    /// This way to the cluster, another in its token alone, replaces the one in force.
    fn take_token(&mut self, access: Access) {
        if let Some(force) = &mut self.force
            && let Some(token) = &force.token
        {
            token.send_replace(trial::token(&access));
            force.access = Some(access);
            self.generation += 1;
            self.pending = None;
            tracing::info!(cluster = %self.ear.cluster, generation = self.generation, "a newer token is in force");
        }
    }

    /// Takes note of what went wrong with a kind, or right again.
    fn note(&mut self, kind: Kind, event: &Event<Read>) {
        match event {
            Event::Fault(fault) => {
                if matches!(fault, Fault::TooLarge(_) | Fault::TooMany(_)) {
                    self.doubted.insert(kind);
                }
                // What is in force no longer works, so there is nothing to lose by the one that is tried, unless that is
                // known to be no better.
                let untried = self.trial.as_ref().is_some_and(|trial| !trial.refused);
                if *fault == Fault::Unauthorized
                    && untried
                    && let Some(newest) = self.newest.clone()
                {
                    self.trial = None;
                    self.take_token(newest);
                }
                self.blame(kind.as_str(), fault);
            }
            Event::Stranger => {
                self.doubted.insert(kind);
                let message = "its API server is another cluster's than before (the UID of namespace kube-system)";
                self.blame(kind.as_str(), &Fault::Nonsense(message));
            }
            Event::Reset(..) | Event::Apply(..) | Event::Delete(..) | Event::Alive => {
                self.doubted.remove(&kind);
                self.faults.remove(kind.as_str());
            }
        }
    }

    fn blame(&mut self, what: &'static str, fault: &Fault) {
        let message = format!("{what}: {fault}");
        let known = self.faults.get(what);
        if known.is_none_or(|known| known.message != message) {
            tracing::warn!(cluster = %self.ear.cluster, %fault, what, "what is known is kept");
        }
        let at = known.map_or_else(now, |known| known.at);
        self.faults.insert(what, ErrorStatus { message, at });
    }

    /// What is known is kept, and nothing more is read for a while.
    fn freeze(&mut self, why: String) {
        tracing::error!(cluster = %self.ear.cluster, why, "frozen: what is known of it is kept");
        let spare = self.candidate.take().is_some() && self.force.is_some();
        if spare {
            self.pending = Some(format!("the newer kubeconfig is not used: {why}"));
        } else {
            if let Some(force) = self.force.take() {
                self.before = force.session.memories();
            }
            self.trial = None;
            let at = self.frozen.as_ref().map_or_else(now, |before| before.at);
            self.frozen = Some(ErrorStatus { message: why, at });
        }
        self.again_at = Some(Instant::now() + self.thaw);
        self.thaw = (2 * self.thaw).min(LONGEST_THAW);
    }
}
