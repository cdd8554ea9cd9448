//! What a stream is subscribed to in one kind, and what it has been sent of it. It must not know responses or nonces.
//!
//! An idle stream costs 9 bytes for each resource: the names and versions are those of the view, shared by all streams.

mod marks;

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub(super) use self::marks::{Marks, Told};
use crate::resource::{Resource, Tag};
use crate::view::Shelf;

/// Sorted by name.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tags: Vec<Arc<Tag>>,
    /// Of the tag at the same place; packed, because there are very many and nearly all lie idle.
    marks: Vec<u8>,
    /// The sum of what the client has been told, as long as it is known.
    state: Option<u64>,
}

/// One name, to be read.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    /// The name; and the version, once it is sent.
    pub(super) tag: &'a Arc<Tag>,
    marks: Marks,
}

/// One name, to be changed; what is changed holds when this is dropped.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The name; and the version, once it is sent.
    pub(super) tag: &'a mut Arc<Tag>,
    marks: Marks,
    packed: &'a mut u8,
}

impl Deref for Seen<'_> {
    type Target = Marks;

    fn deref(&self) -> &Marks {
        &self.marks
    }
}

impl Deref for Entry<'_> {
    type Target = Marks;

    fn deref(&self) -> &Marks {
        &self.marks
    }
}

impl DerefMut for Entry<'_> {
    fn deref_mut(&mut self) -> &mut Marks {
        &mut self.marks
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        *self.packed = self.marks.packed();
    }
}

impl<'a> Entry<'a> {
    fn new(tag: &'a mut Arc<Tag>, packed: &'a mut u8) -> Self {
        Self {
            tag,
            marks: Marks::unpacked(*packed),
            packed,
        }
    }

    /// What it adds to the state of the client.
    fn part_of_state(&self) -> u64 {
        match self.told {
            Told::Version => self.tag.mark,
            Told::Nothing | Told::Absent => 0,
        }
    }

    /// Whether the client has to be told of what is there now.
    pub(super) fn wants(&self, there: Option<&Arc<Resource>>) -> bool {
        let news = match (self.told, there) {
            (Told::Version, Some(there)) => {
                !Arc::ptr_eq(self.tag, &there.tag) && self.tag.version != there.tag.version
            }
            (Told::Version, None) | (Told::Nothing | Told::Absent, Some(_)) => true,
            (Told::Nothing, None) => self.named,
            (Told::Absent, None) => false,
        };
        news || self.forced
    }

    /// Notes that it was put into a response.
    pub(super) fn sent(&mut self, there: Option<&Arc<Resource>>) {
        self.fresh = self.wants(there);
        self.forced = false;
        self.refused = false;
        self.flying = true;
        self.told = Told::Absent;
        if let Some(there) = there {
            *self.tag = Arc::clone(&there.tag);
            self.told = Told::Version;
        }
    }
}

impl Ledger {
    pub(super) fn iter(&self) -> impl Iterator<Item = Seen<'_>> {
        self.tags.iter().zip(&self.marks).map(|(tag, packed)| Seen {
            tag,
            marks: Marks::unpacked(*packed),
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = Entry<'_>> {
        self.state = None;
        let both = self.tags.iter_mut().zip(&mut self.marks);
        both.map(|(tag, packed)| Entry::new(tag, packed))
    }

    /// Those in the response that waits for its answer, of which only the marks of flight are to be changed.
    pub(super) fn flying(&mut self) -> impl Iterator<Item = Entry<'_>> {
        let both = self.tags.iter_mut().zip(&mut self.marks);
        let flying = both.filter(|(_, packed)| marks::is_flying(**packed));
        flying.map(|(tag, packed)| Entry::new(tag, packed))
    }

    /// A name for what the client has been told: the sum of it.
    pub(super) fn state(&mut self) -> u64 {
        *self.state.get_or_insert_with(|| {
            let told = self.tags.iter().zip(&self.marks);
            let told = told.filter(|(_, packed)| Marks::unpacked(**packed).told == Told::Version);
            told.fold(0, |sum, (tag, _)| sum.wrapping_add(tag.mark))
        })
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Seen<'_>) -> bool) {
        if self.iter().all(|entry| keep(&entry)) {
            return;
        }
        self.state = None;
        let kept: Vec<bool> = self.iter().map(|entry| keep(&entry)).collect();
        let mut of_tags = kept.iter();
        self.tags.retain(|_| of_tags.next() == Some(&true));
        let mut of_marks = kept.iter();
        self.marks.retain(|_| of_marks.next() == Some(&true));
    }

    pub(super) fn find(&mut self, name: &str) -> Option<Entry<'_>> {
        let at = self.tags.binary_search_by(|tag| (*tag.name).cmp(name));
        let at = at.ok()?;
        self.state = None;
        Some(Entry::new(&mut self.tags[at], &mut self.marks[at]))
    }

    /// Adds an entry for each of these names that has none, and gives all of them to `change`.
    pub(super) fn with_names(
        &mut self,
        names: &BTreeSet<&str>,
        shelf: &Shelf,
        mut change: impl FnMut(&mut Entry<'_>),
    ) {
        let missing = names.iter().filter(|name| self.find(name).is_none());
        let missing: Vec<&str> = missing.copied().collect();
        let tag = |name: &str| {
            let there = shelf.find(name).map(|there| Arc::clone(&there.tag));
            there.unwrap_or_else(|| Arc::new(Tag::of_name(name)))
        };
        self.add(missing.into_iter().map(tag).collect());
        for name in names {
            if let Some(mut entry) = self.find(name) {
                change(&mut entry);
            }
        }
    }

    /// Adds an entry for everything on the shelf that has none.
    pub(super) fn cover(&mut self, shelf: &Shelf) {
        let mut missing = Vec::new();
        self.each(shelf, |entry, there| {
            if let (None, Some(there)) = (entry, there) {
                missing.push(Arc::clone(&there.tag));
            }
        });
        self.add(missing);
    }

    /// Adds entries that are not there.
    fn add(&mut self, tags: Vec<Arc<Tag>>) {
        if tags.is_empty() {
            return;
        }
        let new = tags.into_iter().map(|tag| (tag, Marks::default().packed()));
        let old = std::mem::take(&mut self.tags);
        let old = old.into_iter().zip(std::mem::take(&mut self.marks));
        let mut all: Vec<(Arc<Tag>, u8)> = old.chain(new).collect();
        // Both runs are sorted: this merges them.
        all.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        self.tags.reserve_exact(all.len());
        self.marks.reserve_exact(all.len());
        for (tag, marks) in all {
            self.tags.push(tag);
            self.marks.push(marks);
        }
    }

    /// Goes over entries and shelf together, in order of names: those of one name are seen together. Where the client has the
    /// latest version, two pointers are compared and no names.
    pub(super) fn each<'a>(
        &mut self,
        shelf: &'a Shelf,
        visit: impl FnMut(Option<&mut Entry<'_>>, Option<&'a Arc<Resource>>),
    ) {
        self.go_over::<false>(shelf, visit);
    }

    /// The same without those of which the client has the latest version and that are not to be sent again: nearly all, when one
    /// resource of a thousand changes.
    pub(super) fn each_due<'a>(
        &mut self,
        shelf: &'a Shelf,
        visit: impl FnMut(Option<&mut Entry<'_>>, Option<&'a Arc<Resource>>),
    ) {
        self.go_over::<true>(shelf, visit);
    }

    fn go_over<'a, const DUE: bool>(
        &mut self,
        shelf: &'a Shelf,
        mut visit: impl FnMut(Option<&mut Entry<'_>>, Option<&'a Arc<Resource>>),
    ) {
        let mut items = shelf.items();
        let mut change = 0_u64;
        for (tag, packed) in self.tags.iter_mut().zip(&mut self.marks) {
            if DUE
                && marks::is_settled(*packed)
                && let Some((item, rest)) = items.split_first()
                && Arc::ptr_eq(&item.tag, tag)
            {
                items = rest;
                continue;
            }
            let mut entry = Entry::new(tag, packed);
            let before_visit = entry.part_of_state();
            let same = |item: &Arc<Resource>| Arc::ptr_eq(&item.tag, entry.tag);
            if items.first().is_none_or(|item| !same(item)) {
                let name = &*entry.tag.name;
                let before = items.partition_point(|item| *item.tag.name < *name);
                for item in &items[..before] {
                    visit(None, Some(item));
                }
                items = &items[before..];
            }
            match items.split_first() {
                Some((item, rest)) if same(item) || item.tag.name == entry.tag.name => {
                    items = rest;
                    visit(Some(&mut entry), Some(item));
                }
                _ => visit(Some(&mut entry), None),
            }
            let after_visit = entry.part_of_state();
            change = change.wrapping_add(after_visit.wrapping_sub(before_visit));
        }
        for item in items {
            visit(None, Some(item));
        }
        self.state = self.state.map(|state| state.wrapping_add(change));
    }
}

#[cfg(test)]
mod tests;
