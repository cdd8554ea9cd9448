//! What a stream is subscribed to in one kind, and what it has been sent of it. It must not know responses or nonces.
//!
//! An idle stream costs 16 bytes for each resource: the names and versions are those of the view, shared by all streams.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::resource::{Resource, Tag};
use crate::view::Shelf;

/// Sorted by name.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
}

/// One name.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name; and the version, once it is sent.
    pub(super) tag: Arc<Tag>,
    /// What the client was told last.
    pub(super) told: Told,
    /// Subscribed to by name, not only by the wildcard.
    pub(super) named: bool,
    /// To be sent even if nothing is new.
    pub(super) forced: bool,
    /// In the response that is not answered yet.
    pub(super) flying: bool,
    /// And new to the client there.
    pub(super) fresh: bool,
}

/// What a client was told of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// The version of the tag.
    Version,
    /// That there is no such resource.
    Absent,
}

impl Entry {
    pub(super) fn new(tag: Arc<Tag>, named: bool) -> Self {
        Self {
            tag,
            told: Told::Nothing,
            named,
            forced: false,
            flying: false,
            fresh: false,
        }
    }

    /// Whether the client has to be told of what is there now.
    pub(super) fn wants(&self, there: Option<&Arc<Resource>>) -> bool {
        let news = match (self.told, there) {
            (Told::Version, Some(there)) => {
                !Arc::ptr_eq(&self.tag, &there.tag) && self.tag.version != there.tag.version
            }
            (Told::Version, None) | (Told::Nothing | Told::Absent, Some(_)) => true,
            (Told::Nothing, None) => self.named,
            (Told::Absent, None) => false,
        };
        news || self.forced
    }

    /// Whether it has to be remembered: what is gone, and was only covered by the wildcard, has not.
    pub(super) fn matters(&self) -> bool {
        self.named || self.forced || self.told != Told::Absent
    }

    /// Notes that it was put into a response.
    pub(super) fn sent(&mut self, there: Option<&Arc<Resource>>) {
        self.fresh = self.wants(there);
        self.forced = false;
        self.flying = true;
        self.told = Told::Absent;
        if let Some(there) = there {
            self.tag = Arc::clone(&there.tag);
            self.told = Told::Version;
        }
    }
}

impl Ledger {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    pub(super) fn find(&mut self, name: &str) -> Option<&mut Entry> {
        let at = self
            .entries
            .binary_search_by(|entry| (*entry.tag.name).cmp(name));
        at.ok().map(|at| &mut self.entries[at])
    }

    /// Adds an entry for each of these names that has none, and gives all of them to `change`.
    pub(super) fn with_names(
        &mut self,
        names: &BTreeSet<&str>,
        shelf: &Shelf,
        mut change: impl FnMut(&mut Entry),
    ) {
        let missing: Vec<&str> = (names.iter().copied())
            .filter(|name| self.find(name).is_none())
            .collect();
        for name in missing {
            let there = shelf.find(name).map(|there| Arc::clone(&there.tag));
            let tag = there.unwrap_or_else(|| Arc::new(Tag::of_name(name)));
            self.entries.push(Entry::new(tag, false));
        }
        // Both runs are sorted: this merges them.
        self.entries.sort_by(|a, b| a.tag.name.cmp(&b.tag.name));
        for name in names {
            if let Some(entry) = self.find(name) {
                change(entry);
            }
        }
    }

    /// Adds an entry for everything on the shelf that has none.
    pub(super) fn cover(&mut self, shelf: &Shelf) {
        let mut missing = Vec::new();
        self.each(shelf, |entry, there| {
            if let (None, Some(there)) = (entry, there) {
                missing.push(Entry::new(Arc::clone(&there.tag), false));
            }
        });
        if !missing.is_empty() {
            self.entries.extend(missing);
            self.entries.sort_by(|a, b| a.tag.name.cmp(&b.tag.name));
        }
    }

    /// Goes over entries and shelf together, in order of names: those of one name are seen together. Where the client has the
    /// latest version, two pointers are compared and no names.
    pub(super) fn each<'a>(
        &mut self,
        shelf: &'a Shelf,
        mut visit: impl FnMut(Option<&mut Entry>, Option<&'a Arc<Resource>>),
    ) {
        let mut items = shelf.items();
        for entry in &mut self.entries {
            let same = |item: &&Arc<Resource>| Arc::ptr_eq(&item.tag, &entry.tag);
            if items.first().is_none_or(|item| !same(&item)) {
                let name = &*entry.tag.name;
                let before = items.partition_point(|item| *item.tag.name < *name);
                for item in &items[..before] {
                    visit(None, Some(item));
                }
                items = &items[before..];
            }
            match items.split_first() {
                Some((item, rest)) if same(&item) || item.tag.name == entry.tag.name => {
                    items = rest;
                    visit(Some(entry), Some(item));
                }
                _ => visit(Some(entry), None),
            }
        }
        for item in items {
            visit(None, Some(item));
        }
    }
}
