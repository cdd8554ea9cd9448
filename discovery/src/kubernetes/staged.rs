//! What a new connection has told so far. It is nothing to anybody until all kinds are there; then it takes the place of what
//! was known, in one step. It must not know connections.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Change, Key, Kind};
use super::follow::{Event, Name};
use super::session::Read;

/// Kinds and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Staged {
    kinds: BTreeMap<Kind, BTreeMap<Key, Read>>,
    /// Kinds that cannot be had, and are done without.
    without: BTreeSet<Kind>,
}

impl Staged {
    /// Takes note of an event.
    pub(super) fn apply(&mut self, kind: Kind, event: Event<Read>) {
        match event {
            Event::Reset(reads, _) => {
                self.without.remove(&kind);
                let keyed = reads.into_iter().map(|read| (key_of(&read), read));
                self.kinds.insert(kind, keyed.collect());
            }
            Event::Apply(read, _) => {
                if let Some(known) = self.kinds.get_mut(&kind) {
                    known.insert(key_of(&read), read);
                }
            }
            Event::Delete(name, _) => {
                if let Some(known) = self.kinds.get_mut(&kind) {
                    known.remove(&key(&name));
                }
            }
            Event::Alive | Event::Fault(_) | Event::Stranger => {}
        }
    }

    /// There is nothing of this kind.
    pub(super) fn none_of(&mut self, kind: Kind) {
        self.kinds.insert(kind, BTreeMap::new());
    }

    /// It goes without this kind, until something is told of it.
    pub(super) fn do_without(&mut self, kind: Kind) {
        if !self.kinds.contains_key(&kind) {
            self.without.insert(kind);
        }
    }

    /// Whether something is known of a kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains_key(&kind) || self.without.contains(&kind)
    }

    /// All of it, as changes.
    pub(super) fn into_changes(self) -> Vec<Change> {
        let kinds = self.kinds.into_iter();
        kinds
            .map(|(kind, reads)| Change::Reset(kind, reads.into_values().collect()))
            .collect()
    }
}

/// The change that an event is; `None` if it changes nothing.
pub(super) fn change(kind: Kind, event: Event<Read>) -> Option<Change> {
    match event {
        Event::Reset(reads, _) => Some(Change::Reset(kind, reads)),
        Event::Apply(read, _) => Some(Change::put(read)),
        Event::Delete(name, _) => Some(Change::Delete(kind, key(&name))),
        Event::Alive | Event::Fault(_) | Event::Stranger => None,
    }
}

fn key(name: &Name) -> Key {
    Key::new(&name.namespace, &name.name)
}

fn key_of(read: &Read) -> Key {
    match read {
        Ok(fact) => fact.key().clone(),
        Err(unreadable) => unreadable.key.clone(),
    }
}
