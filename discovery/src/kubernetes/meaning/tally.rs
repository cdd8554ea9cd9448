//! How many endpoints of each place the snapshot has, kept up to date by what differs between two versions of a service. So
//! findings need not look at a million of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use model::{ClusterId, Endpoint, NetworkId, Service};

/// A service's endpoints.
type Chunks<'a> = &'a [Arc<[Endpoint]>];

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    groups: BTreeMap<Group, usize>,
}

/// Endpoints that findings treat alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) cluster: ClusterId,
    pub(super) network: NetworkId,
    pub(super) has_region: bool,
}

impl Tally {
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Group, usize)> {
        self.groups.iter().map(|(group, count)| (group, *count))
    }

    /// Counts what is new in a service, and no longer what is gone from it; chunks that both versions share need no look.
    pub(super) fn replace(&mut self, before: Option<&Service>, after: Option<&Service>) {
        let (before, after) = differing(chunks(before), chunks(after));
        for chunk in unshared(after, before) {
            for (group, count) in grouped(chunk) {
                *self.groups.entry(group).or_default() += count;
            }
        }
        for chunk in unshared(before, after) {
            for (group, count) in grouped(chunk) {
                if let Some(known) = self.groups.get_mut(&group) {
                    *known = known.saturating_sub(count);
                    if *known == 0 {
                        self.groups.remove(&group);
                    }
                }
            }
        }
    }
}

fn chunks(service: Option<&Service>) -> Chunks<'_> {
    service.map_or(&[], |service| service.endpoints.chunks())
}

/// Two lists without the chunks that both begin with, and those that both end with: mostly one chunk is left of each.
fn differing<'a>(mut one: Chunks<'a>, mut other: Chunks<'a>) -> (Chunks<'a>, Chunks<'a>) {
    while let ([first, one_rest @ ..], [same, other_rest @ ..]) = (one, other)
        && Arc::ptr_eq(first, same)
    {
        (one, other) = (one_rest, other_rest);
    }
    while let ([one_rest @ .., last], [other_rest @ .., same]) = (one, other)
        && Arc::ptr_eq(last, same)
    {
        (one, other) = (one_rest, other_rest);
    }
    (one, other)
}

/// The chunks of one list that the other does not have.
fn unshared<'a>(one: Chunks<'a>, other: Chunks<'a>) -> impl Iterator<Item = &'a Arc<[Endpoint]>> {
    let known: HashSet<*const Endpoint> = other.iter().map(|chunk| chunk.as_ptr()).collect();
    one.iter()
        .filter(move |chunk| !known.contains(&chunk.as_ptr()))
}

/// Endpoints of one origin stand together, so few groups are looked up.
fn grouped(chunk: &[Endpoint]) -> Vec<(Group, usize)> {
    let runs = chunk.chunk_by(|a, b| Arc::ptr_eq(&a.origin, &b.origin));
    let group = |run: &[Endpoint]| {
        let origin = &run[0].origin;
        let group = Group {
            cluster: origin.cluster.clone(),
            network: origin.network.clone(),
            has_region: !origin.locality.region.is_empty(),
        };
        (group, run.len())
    };
    runs.map(group).collect()
}
