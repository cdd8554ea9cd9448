//! What changed between two snapshots.

use std::sync::Arc;

use crate::{Hostname, Service, Snapshot};

/// What is different in the newer of two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Services that are new or different, in order.
    pub changed: Vec<Hostname>,
    /// Services that are gone, in order.
    pub removed: Vec<Hostname>,
    /// Whether any network's gateways differ.
    pub networks: bool,
    /// Whether the passthrough routes differ.
    pub passthrough: bool,
}

/// Compares by identity first, so that what is shared costs next to nothing.
#[must_use]
pub fn diff(old: &Snapshot, new: &Snapshot) -> Diff {
    let mut diff = Diff {
        networks: !Arc::ptr_eq(&old.networks, &new.networks) && old.networks != new.networks,
        passthrough: !Arc::ptr_eq(&old.passthrough, &new.passthrough)
            && old.passthrough != new.passthrough,
        ..Diff::default()
    };
    for service in unshared(new, old) {
        let before = old.service(&service.host);
        if !before.is_some_and(|before| Arc::ptr_eq(before, service) || before == service) {
            diff.changed.push(service.host.clone());
        }
    }
    for service in unshared(old, new) {
        if new.service(&service.host).is_none() {
            diff.removed.push(service.host.clone());
        }
    }
    diff
}

/// The services of `one` in chunks that `other` does not have.
fn unshared<'a>(one: &'a Snapshot, other: &'a Snapshot) -> impl Iterator<Item = &'a Arc<Service>> {
    let mut theirs: Vec<_> = other
        .services
        .chunks()
        .iter()
        .map(|chunk| chunk.as_ptr())
        .collect();
    theirs.sort_unstable();
    let chunks = one.services.chunks().iter();
    chunks
        .filter(move |chunk| theirs.binary_search(&chunk.as_ptr()).is_err())
        .flat_map(|chunk| chunk.iter())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Chunked;

    fn snapshot(versions: &[Option<u16>]) -> Snapshot {
        let services = versions.iter().enumerate().filter_map(|(at, port)| {
            Some(Arc::new(Service {
                host: Hostname::parse(&format!("s{at:04}")).ok()?,
                ports: vec![crate::Port {
                    number: (*port)?,
                    name: "".into(),
                    protocol: crate::Protocol::Tcp,
                }],
                subsets: std::collections::BTreeMap::new(),
                policy: Arc::default(),
                endpoints: Chunked::default(),
            }))
        });
        Snapshot {
            services: Chunked::from_items(services.collect()),
            ..Snapshot::default()
        }
    }

    proptest! {
        /// The same as comparing every service, for snapshots that share nothing and for those that share most.
        #[test]
        fn finds_what_a_full_comparison_finds(
            before in prop::collection::vec(prop::option::of(1_u16..3), 600),
            edits in prop::collection::vec((0_usize..600, prop::option::of(1_u16..3)), 0..6),
        ) {
            let old = snapshot(&before);
            let mut new = old.clone();
            let mut after = before.clone();
            for (at, port) in edits {
                after[at] = port;
                let edited = snapshot(&after);
                let host = Hostname::parse(&format!("s{at:04}")).expect("a host name");
                new = match edited.service(&host) {
                    Some(service) => new.with_service(service.clone()),
                    None => new.without_service(&host),
                };
            }
            let name = |at: usize| Hostname::parse(&format!("s{at:04}")).expect("a host name");
            let places = 0..before.len();
            let changed: Vec<_> = places.clone().filter(|at| after[*at].is_some() && after[*at] != before[*at]).map(name).collect();
            let removed: Vec<_> = places.filter(|at| after[*at].is_none() && before[*at].is_some()).map(name).collect();
            for new in [new, snapshot(&after)] {
                let diff = diff(&old, &new);
                prop_assert_eq!(&diff.changed, &changed);
                prop_assert_eq!(&diff.removed, &removed);
            }
        }
    }
}
