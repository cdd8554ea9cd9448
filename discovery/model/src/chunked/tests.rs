//! The list against a plain sorted map, and what its versions share.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Item {
    key: u16,
    value: u8,
}

impl Keyed for Item {
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_map(
        start in prop::collection::vec((0_u16..2_000, any::<u8>()), 0..1_500),
        edits in prop::collection::vec((0_u16..2_000, prop::option::of(any::<u8>())), 0..300),
    ) {
        let mut list = Chunked::from_items(start.iter().map(|(key, value)| Item { key: *key, value: *value }).collect());
        let mut map: BTreeMap<u16, u8> = start.into_iter().collect();
        for (key, value) in edits {
            let before = list.clone();
            list = match value {
                Some(value) => {
                    map.insert(key, value);
                    list.with(Item { key, value })
                }
                None => {
                    map.remove(&key);
                    list.without(&Item { key, value: 0 })
                }
            };
            prop_assert_eq!(list.find(|item| item.key.cmp(&key)).map(|item| item.value), map.get(&key).copied());
            let shared = |chunk: &&Arc<[Item]>| before.chunks().iter().any(|old| Arc::ptr_eq(old, chunk));
            prop_assert!(list.chunks().iter().filter(|chunk| !shared(chunk)).count() <= 2, "more was copied than a chunk");
            prop_assert!(list.chunks().iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
        }
        let items: Vec<_> = list.iter().map(|item| (item.key, item.value)).collect();
        prop_assert_eq!(items.len(), list.len());
        prop_assert_eq!(items, map.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn many_edits_at_once_are_the_same_as_one_by_one(
        start in prop::collection::vec(0_u16..2_000, 0..1_500),
        gone in prop::collection::vec(0_u16..2_000, 0..300),
        put in prop::collection::vec((0_u16..2_000, any::<u8>()), 0..300),
    ) {
        let item = |key, value| Item { key, value };
        let list = Chunked::from_items(start.iter().map(|key| item(*key, 0)).collect());
        let gone: Vec<Item> = gone.into_iter().map(|key| item(key, 0)).collect();
        let put: Vec<Item> = put.into_iter().map(|(key, value)| item(key, value)).collect();
        let without = gone.iter().fold(list.clone(), |list, item| list.without(item));
        let expected = put.iter().fold(without, |list, item| list.with(item.clone()));
        let edited = list.edited(&gone, put);
        prop_assert!(edited.chunks().iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
        prop_assert_eq!(edited, expected);
    }
}

#[test]
fn an_edit_copies_the_chunks_that_it_touches_and_no_others() {
    let item = |key| Item { key, value: 0 };
    let list = Chunked::from_items((0..2_560).map(item).collect());
    let edited = list.edited(
        &[item(3)],
        vec![Item {
            key: 2_559,
            value: 1,
        }],
    );
    let new = |chunk: &&Arc<[Item]>| !list.chunks().iter().any(|old| Arc::ptr_eq(old, chunk));
    assert_eq!(edited.chunks().iter().filter(new).count(), 2);
    assert_eq!(
        list.edited(&[], Vec::new())
            .chunks()
            .iter()
            .filter(new)
            .count(),
        0
    );
}

#[test]
fn lists_are_equal_by_their_items() {
    let item = |key| Item { key, value: 0 };
    let at_once = Chunked::from_items((0..600).map(item).collect());
    let one_by_one = (0..600)
        .rev()
        .fold(Chunked::default(), |list, key| list.with(item(key)));
    assert_eq!(at_once, one_by_one);
    assert_ne!(at_once, one_by_one.with(Item { key: 5, value: 1 }));
}

proptest! {
    /// A list read anew shares all chunks but those of the edits, and is equal to what was read.
    #[test]
    fn sharing_changes_no_item(keys in prop::collection::btree_set(0_u16..4_000, 0..2_000), edits in prop::collection::vec((0_u16..4_000, prop::option::of(any::<u8>())), 0..5)) {
        let before = Chunked::from_items(keys.iter().map(|key| Item { key: *key, value: 0 }).collect());
        let mut map: BTreeMap<u16, u8> = keys.into_iter().map(|key| (key, 0)).collect();
        for (key, value) in &edits {
            match value {
                Some(value) => map.insert(*key, *value),
                None => map.remove(key),
            };
        }
        let read = Chunked::from_items(map.into_iter().map(|(key, value)| Item { key, value }).collect());
        let shared = read.sharing_with(&before);
        prop_assert_eq!(&shared, &read);
        let new = |chunk: &&Arc<[Item]>| !before.chunks().iter().any(|old| Arc::ptr_eq(old, chunk));
        prop_assert!(shared.chunks().iter().filter(new).count() <= 2 * edits.len());
    }
}

/// Else each full chunk takes two of the sixteen kilobytes for nothing.
#[test]
fn a_full_chunk_of_endpoints_fits_into_twelve_kilobytes() {
    let counts = 2 * std::mem::size_of::<usize>();
    let bytes = counts + CHUNK * std::mem::size_of::<crate::Endpoint>();
    assert!((11 << 10..=12 << 10).contains(&bytes), "{bytes}");
}
