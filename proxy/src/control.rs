//! The control task: compiles snapshots into routes, asks the gateways of other networks whether they are there, and decides
//! when an address that is out comes back. It must never be waited for by a connection.

mod compile;
mod ejections;
mod networks;
mod probes;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::{EndpointKey, Network, NetworkId, OutlierDetection, Snapshot};
use tokio::sync::{mpsc, watch};

use self::compile::Routes;
use self::ejections::Ejections;
use self::networks::Networks;
pub use self::networks::{NetworkHealth, NetworkState};
pub use self::probes::ProbeState;
use self::probes::{Change, Probes};
pub use self::progress::{GatewayHealth, Progress};
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::host::{Hosts, State};
use crate::limits::{file_limit, probes_at_once};
use crate::probe::Outcome;
use crate::table::{Route, Tables};

/// Descriptors that our own connects to ejected addresses may have at once.
pub(crate) const CONNECTS_AT_ONCE: usize = ejections::AT_ONCE;

/// Routes are not compiled again sooner than this after the last time, because of what was found out about gateways: many of
/// them fall and rise together, and each may stand in every route. What is out is not picked in the meantime.
const GATHER: Duration = Duration::from_millis(100);

/// Something that workers found out and the compiled routes must follow.
#[derive(Debug)]
pub enum Event {
    /// An address was ejected.
    Ejected {
        /// Which.
        key: EndpointKey,
        /// When a connect of our own decides about it.
        until: Millis,
        /// The numbers that ejected it; the next ejection follows them too.
        rule: OutlierDetection,
    },
    /// A route still picks from an address that was ejected.
    Dirty(Arc<Route>),
}

/// The compiler of routes and keeper of what is known of addresses.
#[derive(Debug)]
pub struct Control {
    hosts: Hosts,
    routes: Routes,
    ejections: Ejections,
    probes: Probes,
    networks: Networks,
    /// The networks whose gateways are probed.
    followed: Arc<BTreeMap<NetworkId, Network>>,
    /// Gateways of which something was found out that routes do not show yet.
    stale: BTreeSet<EndpointKey>,
    recompiled: Millis,
    events: mpsc::UnboundedReceiver<Event>,
    clock: Clock,
    progress: Arc<Progress>,
}

impl Control {
    /// A control for these listeners (`own`: as they were bound), with empty tables.
    #[must_use]
    pub fn new(config: &Config, own: Vec<SocketAddr>, clock: Clock) -> (Self, Arc<Tables>) {
        let (sender, events) = mpsc::unbounded_channel();
        let tables = Arc::new(Tables::default());
        let control = Self {
            hosts: Hosts::new(),
            routes: Routes::new(config, own, tables.clone(), sender),
            ejections: Ejections::default(),
            probes: Probes::new(config.probes, probes_at_once(file_limit())),
            networks: Networks::default(),
            followed: Arc::default(),
            stale: BTreeSet::new(),
            recompiled: Millis::default(),
            events,
            clock,
            progress: Arc::default(),
        };
        (control, tables)
    }

    /// What it has done so far.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Follows the snapshots until their sender is gone.
    pub async fn run(mut self, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
        let first = snapshots.borrow_and_update().clone();
        self.apply(&first, self.clock.now());
        loop {
            let wait = self.next_due().map(|due| due.since(self.clock.now()));
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let snapshot = snapshots.borrow_and_update().clone();
                    self.apply(&snapshot, self.clock.now());
                }
                Some(event) = self.events.recv() => self.on_event(event, self.clock.now()),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                Some((key, outcome)) = self.ejections.probed() => {
                    self.on_ejection_over(key, outcome, self.clock.now());
                }
                told = self.probes.told() => {
                    // Else there is room for another one.
                    if let Some((key, outcome)) = told {
                        let now = self.clock.now();
                        self.on_probe(key, outcome, now, now);
                    }
                }
            }
            self.do_what_is_due(self.clock.now());
        }
    }

    /// Brings a snapshot into force. Costs what has changed since the one before.
    pub fn apply(&mut self, snapshot: &Arc<Snapshot>, now: Millis) {
        self.routes.apply(snapshot, &mut self.hosts, now);
        if !Arc::ptr_eq(&self.followed, &snapshot.networks) {
            self.followed = snapshot.networks.clone();
            self.follow_gateways(now);
        }
        self.hosts.sweep();
        self.progress.snapshot.store(snapshot.version, Relaxed);
    }

    /// What is known of an address, for tests that make it fail.
    #[cfg(test)]
    pub(crate) fn host(&mut self, key: EndpointKey) -> crate::host::HostRef {
        self.hosts.of(key).0
    }

    /// The gateways of other networks may be others than before.
    fn follow_gateways(&mut self, now: Millis) {
        for key in self.probes.follow(self.routes.gateways(), now) {
            // Nobody asks it any more, so nobody would find it alive.
            if let Some(host) = self.hosts.find(key) {
                host.set_last_resort(false);
                if matches!(host.state(), State::Dead(_)) {
                    host.forget();
                }
            }
            self.progress.gateways.lock().remove(&key.0);
        }
        for (key, _) in self.probes.targets() {
            self.show(key);
        }
        self.judge_networks(now);
    }

    /// Follows what a worker found out.
    pub fn on_event(&mut self, event: Event, now: Millis) {
        match event {
            Event::Ejected { key, until, rule } => {
                tracing::info!(address = %key.0, "ejected: {} dials in a row failed", rule.consecutive_failures);
                self.progress.ejections.fetch_add(1, Relaxed);
                self.ejections.add(key, until, rule);
                if self.probes.target(key).is_some() {
                    self.judge_networks(now);
                }
            }
            Event::Dirty(route) => self.routes.recompile(&route, &mut self.hosts, now),
        }
        self.count_ejected();
    }

    fn next_due(&self) -> Option<Millis> {
        let stale = (!self.stale.is_empty()).then(|| self.recompiled.after(GATHER));
        let due = [
            self.ejections.next_due(),
            self.probes.next_due(),
            self.hosts.next_due(),
            stale,
        ];
        due.into_iter().flatten().min()
    }

    fn do_what_is_due(&mut self, now: Millis) {
        let Self {
            ejections,
            probes,
            routes,
            ..
        } = self;
        ejections.probe_due(now, |key| probes.name(key, routes, now));
        for key in self.probes.due(now) {
            let served = self.hosts.find(key).and_then(|host| host.last_served());
            match served.filter(|served| self.probes.is_served(key, *served, now)) {
                Some(served) => self.on_probe(key, Outcome::Traffic, served, now),
                None => self.probes.ask(key, &self.routes, now),
            }
        }
        if !self.stale.is_empty() && now >= self.recompiled.after(GATHER) {
            self.recompile_stale(now);
        }
        self.hosts.forget_due(now);
    }

    /// Has the routes follow what was found out about gateways.
    pub fn recompile_stale(&mut self, now: Millis) {
        let stale = std::mem::take(&mut self.stale);
        self.routes.recompile_through(&stale, &mut self.hosts, now);
        self.recompiled = now;
    }

    /// This was found at a gateway, at that moment. Routes show it with the next [`Self::recompile_stale`].
    pub fn on_probe(&mut self, key: EndpointKey, outcome: Outcome, at: Millis, now: Millis) {
        self.progress.probes[outcome as usize].fetch_add(1, Relaxed);
        let change = self.probes.note(key, outcome, at);
        let (host, _) = self.hosts.of(key);
        match change {
            Some(Change::Fell) => {
                tracing::warn!(address = %key.0, "a gateway is out: probes have found it dead ({})", outcome.as_str());
                host.found_dead(now);
                self.ejections.forget(key);
            }
            Some(Change::Rose) => {
                tracing::info!(address = %key.0, "a gateway is back: it answers again");
                host.readmit(now);
            }
            None => {}
        }
        self.show(key);
        if change.is_some() {
            self.stale.insert(key);
            self.judge_networks(now);
            self.count_ejected();
        }
    }

    /// What an address that was ejected answers at the end decides: back on a ramp, or out for twice as long.
    fn on_ejection_over(&mut self, key: EndpointKey, outcome: Outcome, now: Millis) {
        let Some(host) = self.hosts.find(key).cloned() else {
            self.ejections.forget(key);
            self.count_ejected();
            return;
        };
        if !matches!(host.state(), State::Ejected(_)) {
            // Probes have found it dead since, and decide.
            self.ejections.forget(key);
        } else if outcome == Outcome::Unable {
            self.ejections.ask_later(key, now);
        } else if outcome.is_life() {
            tracing::info!(address = %key.0, "back from ejection: it answered us");
            host.readmit(now);
            self.ejections.forget(key);
            self.routes.recompile_excluding(key, &mut self.hosts, now);
            self.judge_networks(now);
        } else if host.references() <= 2 {
            // Only the registry and this function still know it: whoever gets the address next begins anew.
            host.forget();
            self.ejections.forget(key);
        } else {
            self.progress.ejections.fetch_add(1, Relaxed);
            self.ejections
                .again(key, |rule| host.eject_again(rule, now));
        }
        self.count_ejected();
    }

    /// Follows gateways that have gone out, or come back, to what that means for their networks.
    fn judge_networks(&mut self, now: Millis) {
        let mut counts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for (key, target) in self.probes.targets() {
            let is_out = self.hosts.find(key).is_some_and(|host| host.is_out());
            for (network, _) in &target.leads_to {
                let (gateways, out) = counts.entry(network.clone()).or_default();
                *gateways += 1;
                *out += usize::from(is_out);
            }
        }
        let changed = self.networks.judge(counts, now);
        for network in &changed {
            let Some(health) = self.networks.known().get(network) else {
                continue;
            };
            say(network, health);
            for (key, target) in self.probes.targets() {
                if target.leads_to.iter().any(|(id, _)| id == network)
                    && let Some(host) = self.hosts.find(key)
                {
                    host.set_last_resort(health.state == NetworkState::LastResort);
                }
            }
        }
        *self.progress.networks.lock() = self.networks.known().clone();
    }

    /// Shows what is thought of a gateway.
    fn show(&self, key: EndpointKey) {
        let Some(target) = self.probes.target(key) else {
            return;
        };
        let networks = target.leads_to.iter();
        let health = GatewayHealth {
            networks: networks.map(|(network, _)| network.clone()).collect(),
            state: target.verdict.state(),
            since: target.verdict.since(),
            last: target.verdict.last(),
        };
        self.progress.gateways.lock().insert(key.0, health);
    }

    fn count_ejected(&self) {
        self.progress.ejected.store(self.ejections.count(), Relaxed);
    }
}

/// Says what has become of a network.
fn say(network: &NetworkId, health: &NetworkHealth) {
    let count = health.gateways;
    match health.state {
        NetworkState::Usable => {
            tracing::info!(%network, "a network is back: it can be entered again")
        }
        NetworkState::Dead => tracing::warn!(
            %network,
            "a network has left: none of its {count} gateways answers; its endpoints are not picked"
        ),
        NetworkState::LastResort => tracing::warn!(
            %network,
            "the gateways of every other network went out within seconds of each other, so the fault is more likely ours: look at this \
             gateway's own way out; this network's {count} are tried only when nothing else is left"
        ),
    }
}

#[cfg(test)]
mod tests;
