//! All resources of a kind, sorted by name and immutable; the next version shares every resource that did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resource::assignment::LeftOut;
use crate::resource::{Compiled, Kind, Resource};

/// The resources of a view.
#[derive(Debug, Default)]
pub struct Shelves {
    /// By [`Kind`]; one that did not change is the same `Arc` as before.
    pub kinds: [Arc<Shelf>; 4],
    /// Endpoints that clients of this view are not told of.
    pub left_out: LeftOut,
}

/// The resources of one kind.
#[derive(Debug, Default)]
pub struct Shelf {
    items: Vec<Arc<Resource>>,
}

/// Changes of several services on their way to the shelves: by kind and name, what is there now.
#[derive(Debug, Default)]
pub(super) struct Update {
    changed: [BTreeMap<Arc<str>, Option<Arc<Resource>>>; 4],
}

impl Shelf {
    /// A shelf of these, which are sorted by name.
    #[cfg(test)]
    pub(crate) fn of(items: Vec<Arc<Resource>>) -> Self {
        Self { items }
    }

    /// All of them, sorted by name.
    #[must_use]
    pub fn items(&self) -> &[Arc<Resource>] {
        &self.items
    }

    /// The one of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Resource>> {
        self.position(name).ok().map(|at| &self.items[at])
    }

    /// Where a name is, or would be.
    ///
    /// # Errors
    /// Where it would be, when it is not there.
    pub fn position(&self, name: &str) -> Result<usize, usize> {
        self.items
            .binary_search_by(|item| (*item.tag.name).cmp(name))
    }
}

impl Update {
    /// One service's resources take the place of what it had.
    pub(super) fn replace(&mut self, old: Option<&Compiled>, new: &Compiled) {
        for (at, changed) in self.changed.iter_mut().enumerate() {
            let old = old.map_or(&[][..], |old| &old.resources[at]);
            let new = &new.resources[at];
            for resource in old {
                if !new.iter().any(|kept| kept.tag.name == resource.tag.name) {
                    changed.insert(resource.tag.name.clone(), None);
                }
            }
            for resource in new {
                if !old.iter().any(|known| Arc::ptr_eq(known, resource)) {
                    let name = resource.tag.name.clone();
                    changed.insert(name, Some(resource.clone()));
                }
            }
        }
    }

    /// The shelves with these changes.
    pub(super) fn apply(self, before: &Shelves, left_out: LeftOut) -> Shelves {
        let mut kinds = before.kinds.clone();
        for (kind, changed) in Kind::ALL.into_iter().zip(self.changed) {
            if !changed.is_empty() {
                kinds[kind as usize] = Arc::new(kinds[kind as usize].with(changed));
            }
        }
        Shelves { kinds, left_out }
    }
}

impl Shelf {
    /// Merges sorted changes into the sorted list.
    fn with(&self, changed: BTreeMap<Arc<str>, Option<Arc<Resource>>>) -> Self {
        let mut items = Vec::with_capacity(self.items.len() + changed.len());
        let mut rest = &self.items[..];
        for (name, resource) in changed {
            let before = rest.partition_point(|item| item.tag.name < name);
            items.extend_from_slice(&rest[..before]);
            rest = &rest[before..];
            if let Some((_, after)) = rest.split_first().filter(|(old, _)| old.tag.name == name) {
                rest = after;
            }
            items.extend(resource);
        }
        items.extend_from_slice(rest);
        items.shrink_to_fit();
        Self { items }
    }
}
