//! A sorted list in shared chunks: the next version of it costs one chunk, not the list.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// Most items in a chunk: copying 255 endpoints is about 12 KB, and 50,000 endpoints are 197 chunks. With the two counts of their
/// `Arc` 255 endpoints fit into 12 KiB and 255 slots of a route into 6 KiB; one more, and an allocator whose sizes grow by
/// quarters (jemalloc's do) takes 14 and 7, which is 16 bytes for each endpoint that two routes lead to.
const CHUNK: usize = 255;

/// Up to so many edits are cheaper than cutting a list anew.
const FEW_EDITS: usize = 64;

/// An item that a [`Chunked`] list sorts by some key of it; keys are unique in a list.
pub trait Keyed {
    /// How the keys of two items compare.
    fn cmp_key(&self, other: &Self) -> Ordering;
}

/// A sorted, persistent list. Two versions of it share every chunk that is equal in both, so `Arc::ptr_eq` on chunks
/// finds a difference without looking at items.
#[derive(Clone)]
pub struct Chunked<T> {
    /// Most lists are short, and their one chunk needs no list of its own.
    chunks: SmallVec<[Arc<[T]>; 1]>,
}

impl<T: Keyed + Clone> Chunked<T> {
    /// The items in order of their keys; of items with equal keys the last one given stays.
    #[must_use]
    pub fn from_items(items: Vec<T>) -> Self {
        Self {
            chunks: sorted(items).chunks(CHUNK).map(Arc::from).collect(),
        }
    }

    /// This list with one item replaced or added.
    #[must_use]
    pub fn with(&self, item: T) -> Self {
        let mut chunks = self.chunks.clone();
        if chunks.is_empty() {
            chunks.push(Arc::from([item]));
            return Self { chunks };
        }
        let at = self.chunk_for(|other| other.cmp_key(&item));
        let mut items = chunks[at].to_vec();
        match items.binary_search_by(|other| other.cmp_key(&item)) {
            Ok(i) => items[i] = item,
            Err(i) => items.insert(i, item),
        }
        if items.len() > CHUNK {
            let upper = items.split_off(items.len() / 2);
            chunks.insert(at + 1, upper.into());
        }
        chunks[at] = items.into();
        Self { chunks }
    }

    /// This list without the item that compares as equal.
    #[must_use]
    pub fn without(&self, item: &T) -> Self {
        let mut chunks = self.chunks.clone();
        if chunks.is_empty() {
            return Self { chunks };
        }
        let at = self.chunk_for(|other| other.cmp_key(item));
        if let Ok(i) = chunks[at].binary_search_by(|other| other.cmp_key(item)) {
            let mut items = chunks[at].to_vec();
            items.remove(i);
            if items.is_empty() {
                chunks.remove(at);
            } else {
                chunks[at] = items.into();
            }
        }
        Self { chunks }
    }

    /// This list without some items and with others replaced or added; of each chunk that holds any of them, one copy is
    /// made. What is both gone and put is put; of items with equal keys the last one put stays.
    #[must_use]
    pub fn edited(&self, gone: &[T], put: Vec<T>) -> Self {
        if self.chunks.is_empty() {
            return Self::from_items(put);
        }
        let mut edits: BTreeMap<usize, (Vec<&T>, Vec<T>)> = BTreeMap::new();
        for item in gone {
            let at = self.chunk_for(|other| other.cmp_key(item));
            edits.entry(at).or_default().0.push(item);
        }
        for item in put {
            let at = self.chunk_for(|other| other.cmp_key(&item));
            edits.entry(at).or_default().1.push(item);
        }
        let mut chunks = SmallVec::with_capacity(self.chunks.len() + edits.len());
        for (at, chunk) in self.chunks.iter().enumerate() {
            let Some((gone, put)) = edits.remove(&at) else {
                chunks.push(chunk.clone());
                continue;
            };
            let items = edit(chunk, gone, put);
            if (1..=CHUNK).contains(&items.len()) {
                // Moved, where pieces would be copied.
                chunks.push(items.into());
                continue;
            }
            // Pieces of equal length, so that none is at its limit again at once.
            let pieces = items.len().div_ceil(CHUNK).max(1);
            let length = items.len().div_ceil(pieces).max(1);
            chunks.extend(items.chunks(length).map(Arc::from));
        }
        if chunks.len() <= 1 {
            // Back to where it needs no list of its own.
            chunks.shrink_to_fit();
        }
        Self { chunks }
    }

    /// This list, cut like `before` where the two hardly differ, so that they share chunks and whoever follows the changes
    /// has little to do. The items are the same either way.
    #[must_use]
    pub fn sharing_with(&self, before: &Self) -> Self
    where
        T: PartialEq,
    {
        let (mut put, mut gone) = (Vec::new(), Vec::new());
        let (mut old, mut new) = (before.iter().peekable(), self.iter().peekable());
        while put.len() + gone.len() <= FEW_EDITS {
            let order = match (old.peek(), new.peek()) {
                (None, None) => {
                    let kept = gone
                        .into_iter()
                        .fold(before.clone(), |list, item| list.without(item));
                    return put
                        .into_iter()
                        .cloned()
                        .fold(kept, |list, item| list.with(item));
                }
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.cmp_key(new),
            };
            match order {
                Ordering::Less => gone.extend(old.next()),
                Ordering::Greater => put.extend(new.next()),
                Ordering::Equal => {
                    if let (Some(old), Some(new)) = (old.next(), new.next())
                        && old != new
                    {
                        put.push(new);
                    }
                }
            }
        }
        self.clone()
    }

    /// The item that `compare` calls equal; `compare` says how an item's key compares with the one sought, and must agree
    /// with the list's order.
    #[must_use]
    pub fn find(&self, compare: impl Fn(&T) -> Ordering) -> Option<&T> {
        if self.chunks.is_empty() {
            return None;
        }
        let chunk = &self.chunks[self.chunk_for(&compare)];
        let at = chunk.binary_search_by(compare).ok()?;
        Some(&chunk[at])
    }

    /// The chunk that holds what is sought or would take it: the last whose first item is not greater.
    fn chunk_for(&self, compare: impl Fn(&T) -> Ordering) -> usize {
        self.chunks
            .partition_point(|chunk| compare(&chunk[0]).is_le())
            .saturating_sub(1)
    }
}

/// A chunk's items after a few edits, or many.
fn edit<T: Keyed + Clone>(chunk: &[T], gone: Vec<&T>, put: Vec<T>) -> Vec<T> {
    let mut items = chunk.to_vec();
    let place = |items: &[T], item: &T| items.binary_search_by(|other| other.cmp_key(item));
    for item in gone {
        if let Ok(at) = place(&items, item) {
            items.remove(at);
        }
    }
    if put.len() > FEW_EDITS {
        items.extend(put);
        return sorted(items);
    }
    for item in put {
        match place(&items, &item) {
            Ok(at) => items[at] = item,
            Err(at) => items.insert(at, item),
        }
    }
    items
}

/// The items in order of their keys; of items with equal keys the last one stays.
fn sorted<T: Keyed>(mut items: Vec<T>) -> Vec<T> {
    items.sort_by(T::cmp_key);
    items.dedup_by(|later, kept| {
        let same = later.cmp_key(kept).is_eq();
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    items
}

impl<T> Chunked<T> {
    /// The chunks, none of them empty.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<[T]>] {
        &self.chunks
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        items(&self.chunks)
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        count(&self.chunks)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self {
            chunks: SmallVec::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for Chunked<T> {
    /// By items; chunks that are shared are not looked into as long as both lists are cut alike.
    fn eq(&self, other: &Self) -> bool {
        let alike = |(a, b): &(&Arc<[T]>, &Arc<[T]>)| Arc::ptr_eq(a, b) || a == b;
        let together = self.chunks.iter().zip(&other.chunks);
        let alike = together.take_while(alike).count();
        // From the first chunk that differs, the lists may be cut differently.
        let (ours, theirs) = (&self.chunks[alike..], &other.chunks[alike..]);
        count(ours) == count(theirs) && items(ours).eq(items(theirs))
    }
}

fn items<T>(chunks: &[Arc<[T]>]) -> impl Iterator<Item = &T> {
    chunks.iter().flat_map(|chunk| chunk.iter())
}

fn count<T>(chunks: &[Arc<[T]>]) -> usize {
    chunks.iter().map(|chunk| chunk.len()).sum()
}

impl<T: fmt::Debug> fmt::Debug for Chunked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Serialize> Serialize for Chunked<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Keyed + Clone + Deserialize<'de>> Deserialize<'de> for Chunked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from_items)
    }
}

#[cfg(test)]
mod tests;
