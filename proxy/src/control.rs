//! The control task: compiles snapshots into routes, and decides when an ejected address comes back. It must never be
//! waited for by a connection.

mod compile;
mod ejections;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::{EndpointKey, OutlierDetection, Snapshot};
use tokio::sync::{mpsc, watch};

use self::compile::Routes;
use self::ejections::{Ejections, Probed};
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::host::Hosts;
use crate::table::{Route, Tables};

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

/// What the control task has done so far; for metrics.
#[derive(Debug, Default)]
pub struct Progress {
    /// Version of the snapshot in force.
    pub snapshot: AtomicU64,
    /// Ejections so far.
    pub ejections: AtomicU64,
    /// Addresses ejected now.
    pub ejected: AtomicU64,
}

/// The compiler of routes and keeper of ejections.
#[derive(Debug)]
pub struct Control {
    hosts: Hosts,
    routes: Routes,
    ejections: Ejections,
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
            let wait = self
                .ejections
                .next_due()
                .map(|due| due.since(self.clock.now()));
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let snapshot = snapshots.borrow_and_update().clone();
                    self.apply(&snapshot, self.clock.now());
                }
                Some(event) = self.events.recv() => self.on_event(event, self.clock.now()),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    self.ejections.probe_due(self.clock.now());
                }
                Some((key, found)) = self.ejections.probed() => self.on_probe(key, found, self.clock.now()),
            }
        }
    }

    /// Brings a snapshot into force. Costs what has changed since the one before.
    pub fn apply(&mut self, snapshot: &Arc<Snapshot>, now: Millis) {
        self.routes.apply(snapshot, &mut self.hosts, now);
        self.hosts.sweep();
        self.progress.snapshot.store(snapshot.version, Relaxed);
    }

    /// What is known of an address, for tests that make it fail.
    #[cfg(test)]
    pub(crate) fn host(&mut self, key: EndpointKey) -> Arc<crate::host::Host> {
        self.hosts.of(key).0
    }

    /// Follows what a worker found out.
    pub fn on_event(&mut self, event: Event, now: Millis) {
        match event {
            Event::Ejected { key, until, rule } => {
                tracing::info!(address = %key.0, "ejected: {} dials in a row failed", rule.consecutive_failures);
                self.progress.ejections.fetch_add(1, Relaxed);
                self.ejections.add(key, until, rule);
            }
            Event::Dirty(route) => self.routes.recompile(&route, &mut self.hosts, now),
        }
        self.progress.ejected.store(self.ejections.count(), Relaxed);
    }

    /// Our own connect at the end of an ejection decides: back on a ramp, or out for twice as long.
    fn on_probe(&mut self, key: EndpointKey, found: Probed, now: Millis) {
        let Some(host) = self.hosts.find(key).cloned() else {
            self.ejections.forget(key);
            self.progress.ejected.store(self.ejections.count(), Relaxed);
            return;
        };
        if found == Probed::Unable {
            self.ejections.ask_later(key, now);
        } else if found == Probed::Alive {
            tracing::info!(address = %key.0, "back from ejection: a connect of our own succeeded");
            host.readmit(now);
            self.ejections.forget(key);
            self.routes.recompile_excluding(key, &mut self.hosts, now);
        } else if Arc::strong_count(&host) <= 2 {
            // Only the registry and this function still know it: whoever gets the address next begins anew.
            host.forget_ejection();
            self.ejections.forget(key);
        } else {
            self.progress.ejections.fetch_add(1, Relaxed);
            self.ejections
                .again(key, |rule| host.eject_again(rule, now));
        }
        self.progress.ejected.store(self.ejections.count(), Relaxed);
    }
}
