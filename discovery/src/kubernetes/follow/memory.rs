//! Which objects a kind had, as little of them as is needed to count them and to see when a list takes away too much.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Name;

/// Groups that may all go at once without a second look.
const GROUPS: usize = 10;

/// How much an object counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// What it belongs to, as a hash: for a slice its service. 0: only to itself.
    pub group: u64,
    /// What would be lost with it: for a slice its endpoints.
    pub mass: usize,
}

/// How much there is of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects.
    pub objects: usize,
    /// What they hold: endpoints, of slices.
    pub mass: usize,
}

/// The objects of a kind.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    known: HashMap<u64, Weight>,
    mass: usize,
    /// The version it stands for; versions are numbers that grow (Kubernetes 1.35 says so, servers did so before).
    version: Option<u64>,
}

impl Memory {
    /// What a list says.
    pub(super) fn of<F>(items: &[(Name, F)], weigh: fn(&F) -> Weight, version: &str) -> Self {
        let mut memory = Self::default();
        for (name, fact) in items {
            memory.insert(name, weigh(fact));
        }
        memory.at(version);
        memory
    }

    /// What was known before the first list, of no known version.
    pub(crate) fn before(known: impl IntoIterator<Item = (Name, Weight)>) -> Self {
        let mut memory = Self::default();
        for (name, weight) in known {
            memory.insert(&name, weight);
        }
        memory
    }

    pub(super) fn insert(&mut self, name: &Name, weight: Weight) {
        let before = self.known.insert(hash_of(name), weight);
        self.mass += weight.mass;
        self.mass -= before.unwrap_or_default().mass;
    }

    /// `false`: it was not known.
    pub(super) fn remove(&mut self, name: &Name) -> bool {
        let before = self.known.remove(&hash_of(name));
        self.mass -= before.unwrap_or_default().mass;
        before.is_some()
    }

    pub(super) fn at(&mut self, version: &str) {
        self.version = version.parse().ok();
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            objects: self.known.len(),
            mass: self.mass,
        }
    }

    /// Whether a list that says `fresh` is to be doubted: it takes away all there is, or all of more than ten groups, or is
    /// older than what was known.
    pub(super) fn loses_too_much(&self, fresh: &Self) -> bool {
        let (before, after) = (self.groups(), fresh.groups());
        let older =
            matches!((self.version, fresh.version), (Some(before), Some(after)) if after < before);
        takes_much(&before, &after) || (older && before.difference(&after).next().is_some())
    }

    /// Whether a second list bears out this one: it is to be doubted neither beside it, nor would this one be beside it.
    pub(super) fn says_the_same_as(&self, second: &Self) -> bool {
        !self.loses_too_much(second) && !takes_much(&second.groups(), &self.groups())
    }

    /// The groups that hold something.
    fn groups(&self) -> HashSet<u64> {
        let holding = self.known.iter().filter(|(_, weight)| weight.mass > 0);
        holding
            .map(|(name, weight)| match weight.group {
                0 => *name,
                group => group,
            })
            .collect()
    }
}

/// Whether more than a list may take away is in the one and not in the other: all of it, or more than ten groups.
fn takes_much(from: &HashSet<u64>, leaves: &HashSet<u64>) -> bool {
    let lost = from.difference(leaves).count();
    lost > GROUPS || (lost > 0 && lost == from.len())
}

/// The memory of a kind that is being followed; clones are the same one. Who follows it next begins with what it says then.
#[derive(Clone, Debug, Default)]
pub struct SharedMemory(Arc<Mutex<Memory>>);

impl SharedMemory {
    /// One that begins with this.
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        Self(Arc::new(Mutex::new(memory)))
    }

    /// What it says now.
    #[must_use]
    pub fn copy(&self) -> Memory {
        self.held().clone()
    }

    pub(super) fn replace(&self, memory: Memory) {
        *self.held() = memory;
    }

    pub(super) fn loses_too_much(&self, fresh: &Memory) -> bool {
        self.held().loses_too_much(fresh)
    }

    /// Gives how much there is then.
    pub(super) fn insert(&self, name: &Name, weight: Weight) -> Counts {
        let mut memory = self.held();
        memory.insert(name, weight);
        memory.counts()
    }

    /// Gives how much there is then; `None`: it was not known.
    pub(super) fn remove(&self, name: &Name) -> Option<Counts> {
        let mut memory = self.held();
        memory.remove(name).then(|| memory.counts())
    }

    pub(super) fn at(&self, version: &str) {
        self.held().at(version);
    }

    fn held(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number for a name, the same as long as the process lives.
pub(crate) fn hash_of(name: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
