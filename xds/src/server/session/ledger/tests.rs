//! What is known of the state stays what it is, and only what is due is visited.

use proptest::prelude::*;

use super::*;
use crate::proto::endpoint::ClusterLoadAssignment;

fn resource(name: u8, version: u8) -> Arc<Resource> {
    let told = ClusterLoadAssignment {
        cluster_name: format!("{name} {version}"),
        ..ClusterLoadAssignment::default()
    };
    Arc::new(Resource::new(&name.to_string(), &told))
}

/// What was on a shelf and did not change is the same object, as in a view.
fn shelf(before: &Shelf, versions: &[Option<u8>]) -> Shelf {
    let items = (0..).zip(versions).filter_map(|(name, version)| {
        let new = resource(name, (*version)?);
        let old = before.find(&new.tag.name);
        Some(match old.filter(|old| old.tag.version == new.tag.version) {
            Some(old) => Arc::clone(old),
            None => new,
        })
    });
    Shelf::of(items.collect())
}

fn counted(ledger: &Ledger) -> u64 {
    let told = ledger.iter().filter(|seen| seen.told == Told::Version);
    told.fold(0, |sum, seen| sum.wrapping_add(seen.tag.mark))
}

proptest! {
    #[test]
    fn the_state_is_the_sum_of_what_was_told(
        steps in prop::collection::vec(
            (prop::collection::vec(prop::option::of(0_u8..3), 6), 0_u8..6, 0_u8..6, any::<bool>()),
            1..12,
        ),
    ) {
        let mut ledger = Ledger::default();
        let mut now = Shelf::default();
        for (versions, named, gone, asks) in steps {
            now = shelf(&now, &versions);
            let name = named.to_string();
            ledger.with_names(&BTreeSet::from([name.as_str()]), &now, |entry| entry.named = true);
            if asks {
                prop_assert_eq!(ledger.state(), counted(&ledger));
            }
            let (mut due, mut visited) = (Vec::new(), Vec::new());
            ledger.each(&now, |entry, there| {
                due.extend(entry.filter(|entry| entry.wants(there)).map(|entry| entry.tag.name.clone()));
            });
            ledger.each_due(&now, |entry, there| {
                if let Some(entry) = entry.filter(|entry| entry.wants(there)) {
                    visited.push(entry.tag.name.clone());
                    entry.sent(there);
                }
            });
            prop_assert_eq!(due, visited);
            prop_assert_eq!(ledger.state(), counted(&ledger));
            prop_assert!(ledger.flying().all(|entry| entry.flying));
            for mut entry in ledger.flying() {
                entry.flying = false;
            }
            prop_assert!(ledger.iter().all(|seen| !seen.flying));
            let gone = gone.to_string();
            ledger.retain(|seen| *seen.tag.name != *gone);
            prop_assert_eq!(ledger.state(), counted(&ledger));
        }
    }
}
