//! Every address that is or was lately in use, once. It is owned by the control task; slots and connections hold references
//! out of it.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::EndpointKey;

use super::{Host, HostRef};
use crate::clock::Millis;

/// The registry of addresses. Keys stand in the hosts themselves, so that an entry costs one pointer.
#[derive(Debug)]
pub struct Hosts {
    table: HashTable<HostRef>,
    hasher: RandomState,
    /// Sweep when it grows to this: twice of what was in use at the last sweep.
    sweep_at: usize,
    /// Endpoints that have gone since it was last asked whether half of the addresses have, without those that came in their place.
    out: usize,
    /// When to ask that.
    look_at: Option<Millis>,
}

/// A registry this small is not worth a sweep.
const SMALL: usize = 1024;

/// How long addresses that have gone are still in use: workers have the balancers at hand that they picked from for up to 5 s.
const LET_GO: Duration = Duration::from_secs(10);

impl Hosts {
    pub(crate) fn new() -> Self {
        Self {
            table: HashTable::new(),
            hasher: RandomState::default(),
            sweep_at: SMALL,
            out: 0,
            look_at: None,
        }
    }

    /// The host of this address, and whether it is new.
    pub(crate) fn of(&mut self, key: EndpointKey) -> (HostRef, bool) {
        let hash = self.hasher.hash_one(key);
        if let Some(host) = self.table.find(hash, |host| host.key() == key) {
            return (host.clone(), false);
        }
        let host = HostRef::new(Host::new(key));
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, host.clone(), |host| hasher.hash_one(host.key()));
        (host, true)
    }

    /// The host of this address, if there is one.
    #[must_use]
    pub fn find(&self, key: EndpointKey) -> Option<&HostRef> {
        self.table
            .find(self.hasher.hash_one(key), |host| host.key() == key)
    }

    /// How many addresses are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// So many endpoints have gone.
    pub(crate) fn count_out(&mut self, endpoints: usize, now: Millis) {
        self.out += endpoints;
        let many = self.table.len() > SMALL && self.out > self.table.len() / 2;
        if many && self.look_at.is_none() {
            self.look_at = Some(now.after(LET_GO));
        }
    }

    /// When [`Hosts::forget_due`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.look_at
    }

    /// Forgets addresses that nobody uses where they are more than those in use, some time after as many endpoints have gone.
    pub(crate) fn forget_due(&mut self, now: Millis) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        (self.look_at, self.out) = (None, 0);
        let unused = self.table.iter().filter(|host| is_unused(host)).count();
        if unused > self.table.len() / 2 {
            self.forget();
            let hasher = &self.hasher;
            self.table
                .shrink_to(SMALL, |host| hasher.hash_one(host.key()));
        }
    }

    /// Forgets addresses that nobody uses once they may be as many as those in use. Until then an endpoint that vanishes for
    /// a while finds its state again; an ejected one is kept until its ejection has ended.
    pub(crate) fn sweep(&mut self) {
        if self.table.len() >= self.sweep_at {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.table.retain(|host| !is_unused(host));
        self.sweep_at = (self.table.len() * 2).max(SMALL);
    }
}

fn is_unused(host: &HostRef) -> bool {
    host.references() <= 1 && !host.is_out()
}
