//! The gateways of other networks, each address of them asked in turn: when, with which name, and what is thought of it. It
//! must not change what is picked: that is the control task's business.

mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{ClusterId, EndpointKey, NetworkId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::verdict::ProbeState;
pub(super) use self::verdict::{Change, Verdict};
use super::compile::Routes;
use crate::clock::Millis;
use crate::config;
use crate::probe::{self, Outcome};
use crate::table::Route;

/// How soon an address is asked again while it is being found out whether it is dead, or back.
const AGAIN: Duration = Duration::from_millis(250);

/// How long nothing is tried where we ourselves could not connect.
const LATER: Duration = Duration::from_secs(1);

/// Most names that are kept for an address, so that a service whose name fails there alone does not decide about it.
const NAMES: usize = 5;

/// How long it is not looked for names again where there were none: that goes through every route.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The addresses that are probed.
#[derive(Debug)]
pub(super) struct Probes {
    settings: config::Probes,
    /// How many may be asked at the same time.
    at_once: usize,
    targets: BTreeMap<EndpointKey, Target>,
    tasks: JoinSet<()>,
    teller: mpsc::UnboundedSender<(EndpointKey, Outcome)>,
    told: mpsc::UnboundedReceiver<(EndpointKey, Outcome)>,
}

/// A network that is entered at an address, and which of its clusters (none: all).
pub(super) type LeadsTo = (NetworkId, Vec<ClusterId>);

/// One address.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) leads_to: Vec<LeadsTo>,
    pub(super) verdict: Verdict,
    names: Names,
    /// `None` while it is being asked.
    due: Option<Millis>,
}

/// Names of services that are, or lately were, ready behind an address; the one that stands first was answered last.
#[derive(Debug, Default)]
struct Names {
    routes: Vec<Arc<Route>>,
    looked: Option<Millis>,
}

impl Probes {
    /// `at_once`: see [`crate::limits::probes_at_once`].
    pub(super) fn new(settings: config::Probes, at_once: usize) -> Self {
        let (teller, told) = mpsc::unbounded_channel();
        Self {
            settings,
            at_once,
            targets: BTreeMap::new(),
            tasks: JoinSet::new(),
            teller,
            told,
        }
    }

    /// These are the gateways of other networks from now on. A new one is asked at once; gives those that are gone.
    pub(super) fn follow(
        &mut self,
        mut gateways: BTreeMap<EndpointKey, Vec<LeadsTo>>,
        now: Millis,
    ) -> Vec<EndpointKey> {
        if !self.settings.active {
            return Vec::new();
        }
        let gone = self
            .targets
            .extract_if(.., |key, target| match gateways.remove(key) {
                Some(leads_to) => {
                    target.leads_to = leads_to;
                    false
                }
                None => true,
            });
        let gone = gone.map(|(key, _)| key).collect();
        let new = gateways.into_iter().map(|(key, leads_to)| {
            let target = Target {
                leads_to,
                verdict: Verdict::default(),
                names: Names::default(),
                due: Some(now),
            };
            (key, target)
        });
        self.targets.extend(new);
        gone
    }

    /// Every address with what is known of it.
    pub(super) fn targets(&self) -> impl Iterator<Item = (EndpointKey, &Target)> {
        self.targets.iter().map(|(key, target)| (*key, target))
    }

    /// One address, if it is probed.
    pub(super) fn target(&self, key: EndpointKey) -> Option<&Target> {
        self.targets.get(&key)
    }

    /// When the next address is due that there is room to ask.
    pub(super) fn next_due(&self) -> Option<Millis> {
        if self.tasks.len() >= self.at_once {
            return None;
        }
        self.targets.values().filter_map(|target| target.due).min()
    }

    /// The addresses that are due, those that have waited longest first: where there is not room for all, each has its turn.
    pub(super) fn due(&self, now: Millis) -> Vec<EndpointKey> {
        let due = self
            .targets()
            .filter_map(|(key, target)| Some((target.due.filter(|due| *due <= now)?, key)));
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key).collect()
    }

    /// Asks an address, if there is room.
    pub(super) fn ask(&mut self, key: EndpointKey, routes: &Routes, now: Millis) {
        if self.tasks.len() >= self.at_once {
            return;
        }
        let Some(name) = self.name(key, routes, now) else {
            return;
        };
        if let Some(target) = self.targets.get_mut(&key) {
            target.due = None;
        }
        let (teller, limit) = (self.teller.clone(), self.settings.timeout);
        self.tasks.spawn(async move {
            let (outcome, stream) = probe::ask(key.0, name.as_deref(), limit).await;
            // Nobody listens any more only when the data path is stopping.
            let _ = teller.send((key, outcome));
            if let Some(stream) = stream {
                probe::leave(stream).await;
            }
        });
    }

    /// The name to ask an address for: of a service that is ready there, if one is known. `None`: it is not probed.
    pub(super) fn name(
        &mut self,
        key: EndpointKey,
        routes: &Routes,
        now: Millis,
    ) -> Option<Option<String>> {
        let Target {
            leads_to, names, ..
        } = self.targets.get_mut(&key)?;
        names
            .routes
            .retain(|route| routes.leads_through(route, leads_to));
        let again = |looked: Millis| now.since(looked) >= LOOK_AGAIN;
        if names.routes.is_empty() && names.looked.is_none_or(again) {
            names.looked = Some(now);
            names.routes = routes.some_through(leads_to, NAMES);
        }
        Some(names.routes.first().map(|route| route.name()))
    }

    /// Traffic counts as an answer while it is younger than the interval, and than the last answer.
    pub(super) fn is_served(&self, key: EndpointKey, served: Millis, now: Millis) -> bool {
        let is_news = |target: &Target| {
            let last = target.verdict.last();
            last.is_none_or(|(_, asked)| served > asked)
        };
        now < served.after(self.settings.interval) && self.target(key).is_some_and(is_news)
    }

    /// What was found at an address; whether that changes what is thought of it. `at`: when, which decides when it is asked
    /// again.
    pub(super) fn note(
        &mut self,
        key: EndpointKey,
        outcome: Outcome,
        at: Millis,
    ) -> Option<Change> {
        let settings = self.settings;
        let target = self.targets.get_mut(&key)?;
        if outcome.is_of_name() && !target.names.routes.is_empty() {
            target.names.routes.rotate_left(1);
        }
        let names = u32::try_from(target.names.routes.len()).unwrap_or(u32::MAX);
        let change = target.verdict.note(outcome, names, &settings, at);
        let again = AGAIN.min(settings.interval);
        let is_dead = target.verdict.state() == ProbeState::Dead;
        let wait = match outcome {
            Outcome::Unable => LATER,
            _ if outcome.is_life() != is_dead => jittered(settings.interval),
            // It has had its time.
            Outcome::TimedOut => Duration::ZERO,
            _ => again,
        };
        target.due = Some(at.after(wait));
        change
    }

    /// The next answer; `None` when there is room again. Never, while nobody is being asked.
    pub(super) async fn told(&mut self) -> Option<(EndpointKey, Outcome)> {
        tokio::select! {
            told = self.told.recv() => told,
            Some(_) = self.tasks.join_next() => None,
        }
    }
}

/// A tenth more or less, so that many gateways do not ask one at the same moment.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests;
