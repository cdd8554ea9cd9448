//! Every address that is or was lately in use, once. It is owned by the control task; slots and connections hold references
//! out of it.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::EndpointKey;

use super::{Host, HostRef};

/// The registry of addresses. Keys stand in the hosts themselves, so that an entry costs one pointer.
#[derive(Debug)]
pub struct Hosts {
    table: HashTable<HostRef>,
    hasher: RandomState,
    /// Sweep when it grows to this: twice of what was in use at the last sweep.
    sweep_at: usize,
    /// Endpoints that have gone since the last sweep, without those that came in their place.
    out: usize,
}

/// A registry this small is not worth a sweep.
const SMALL: usize = 1024;

impl Hosts {
    pub(crate) fn new() -> Self {
        Self {
            table: HashTable::new(),
            hasher: RandomState::default(),
            sweep_at: SMALL,
            out: 0,
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
    pub(crate) fn count_out(&mut self, endpoints: usize) {
        self.out += endpoints;
    }

    /// Forgets addresses that nobody uses once they are about as many as those in use. Until then an endpoint that vanishes for
    /// a while finds its state again; an ejected one is kept until its ejection has ended.
    pub(crate) fn sweep(&mut self) {
        let half_gone = self.table.len() > SMALL && self.out > self.table.len() / 2;
        if self.table.len() < self.sweep_at && !half_gone {
            return;
        }
        self.table
            .retain(|host| host.references() > 1 || host.is_out());
        if half_gone {
            let hasher = &self.hasher;
            self.table
                .shrink_to(SMALL, |host| hasher.hash_one(host.key()));
        }
        self.sweep_at = (self.table.len() * 2).max(SMALL);
        self.out = 0;
    }
}
