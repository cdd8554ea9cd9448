//! Each service's entries, found by its name. It must not know what they are compiled from.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::Hostname;

use super::Entry;

/// The entries of all services that have any, without a copy of their names: each entry's route has it.
#[derive(Debug, Default)]
pub(super) struct Services {
    table: HashTable<Box<[Entry]>>,
    hasher: RandomState,
}

impl Services {
    /// Makes room, once, for so many services.
    pub(super) fn make_room(&mut self, services: usize) {
        let more = services.saturating_sub(self.table.len());
        let hasher = &self.hasher;
        self.table
            .reserve(more, |entries| hasher.hash_one(host(entries)));
    }

    /// The service's entries; none where it has none.
    pub(super) fn get(&self, service: &Hostname) -> &[Entry] {
        let hash = self.hasher.hash_one(Some(service));
        let found = self
            .table
            .find(hash, |entries| host(entries) == Some(service));
        found.map_or(&[], |entries| entries)
    }

    /// The same, and they are no longer here.
    pub(super) fn take(&mut self, service: &Hostname) -> Box<[Entry]> {
        let hash = self.hasher.hash_one(Some(service));
        let found = self
            .table
            .find_entry(hash, |entries| host(entries) == Some(service));
        found.map_or_else(|_| Box::default(), |found| found.remove().0)
    }

    /// Puts a service's entries here, which it has taken before.
    pub(super) fn put(&mut self, entries: Box<[Entry]>) {
        if entries.is_empty() {
            return;
        }
        let hasher = &self.hasher;
        let hash = hasher.hash_one(host(&entries));
        self.table
            .insert_unique(hash, entries, |entries| hasher.hash_one(host(entries)));
    }

    /// The entries of each service that has any.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[Entry]> {
        self.table.iter().map(|entries| &**entries)
    }

    /// Every entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter().flatten()
    }

    /// Every entry, to be compiled again.
    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.table.iter_mut().flatten()
    }
}

fn host(entries: &[Entry]) -> Option<&Hostname> {
    entries.first().map(|entry| &entry.route.service)
}
