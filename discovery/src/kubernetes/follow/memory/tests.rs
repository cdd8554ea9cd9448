//! Which lists are doubted.

use super::*;

/// Each entry is slice/service/endpoints.
fn memory(slices: &[(&str, u64, usize)], version: &str) -> Memory {
    let items: Vec<(Name, Weight)> = slices
        .iter()
        .map(|(name, group, mass)| {
            let name = Name {
                namespace: String::new(),
                name: (*name).into(),
            };
            let weight = Weight {
                group: *group,
                mass: *mass,
            };
            (name, weight)
        })
        .collect();
    Memory::of(&items, |weight| *weight, version)
}

#[test]
fn what_is_there_is_counted() {
    let mut memory = memory(&[("a", 1, 3), ("b", 1, 2)], "1");
    assert_eq!(
        memory.counts(),
        Counts {
            objects: 2,
            mass: 5
        }
    );
    let name = Name {
        namespace: String::new(),
        name: "b".into(),
    };
    memory.insert(&name, Weight { group: 1, mass: 7 });
    assert_eq!(
        memory.counts(),
        Counts {
            objects: 2,
            mass: 10
        }
    );
    assert!(memory.remove(&name));
    assert!(!memory.remove(&name));
    assert_eq!(
        memory.counts(),
        Counts {
            objects: 1,
            mass: 3
        }
    );
}

#[test]
fn lists_that_take_away_much_are_doubted() {
    let names: Vec<String> = (1..=12).map(|at| at.to_string()).collect();
    let slices = |range: std::ops::Range<usize>, version: &str| {
        let slices: Vec<_> = range.map(|at| (&*names[at], at as u64 + 1, 1)).collect();
        memory(&slices, version)
    };
    let twelve = slices(0..12, "5");
    assert!(!twelve.loses_too_much(&slices(0..12, "6")));
    assert!(
        !twelve.loses_too_much(&slices(10..12, "6")),
        "ten services gone"
    );
    assert!(twelve.loses_too_much(&slices(11..12, "6")), "eleven");
    assert!(twelve.loses_too_much(&slices(0..0, "6")), "all");
    assert!(
        slices(0..1, "5").loses_too_much(&slices(0..0, "6")),
        "the only one"
    );
    assert!(
        twelve.loses_too_much(&slices(0..11, "4")),
        "older, and one gone"
    );
    assert!(
        !twelve.loses_too_much(&slices(0..12, "4")),
        "older, but nothing gone"
    );
    assert!(
        !Memory::default().loses_too_much(&slices(0..0, "1")),
        "the first list"
    );
}

#[test]
fn a_service_is_lost_with_its_last_endpoint_and_not_before() {
    let before = memory(&[("a", 1, 3), ("b", 1, 2), ("c", 2, 1), ("d", 3, 0)], "1");
    let other_slice = memory(&[("z", 1, 1), ("c", 2, 1)], "2");
    assert!(!before.loses_too_much(&other_slice));
    let empty_slices = memory(&[("a", 1, 0), ("c", 2, 0)], "2");
    assert!(before.loses_too_much(&empty_slices));
}

/// A second list bears out the first if neither takes away more than a list may, beside the other.
#[test]
fn lists_of_a_server_that_is_being_filled_do_not_say_the_same() {
    let slices = |range: std::ops::Range<u64>| {
        let names: Vec<String> = range.clone().map(|at| at.to_string()).collect();
        let slices = range
            .zip(&names)
            .map(|(at, name)| (name.as_str(), at + 1, 1));
        memory(&slices.collect::<Vec<_>>(), "1")
    };
    for (first, second, same) in [
        (0..0, 0..0, true),
        (0..0, 0..1, false),
        (0..0, 0..400, false),
        (0..400, 0..0, false),
        (0..100, 0..400, false),
        (0..400, 0..100, false),
        (0..100, 5..105, true),
        (0..100, 50..150, false),
        (0..3, 3..6, false),
    ] {
        let said = slices(first.clone()).says_the_same_as(&slices(second.clone()));
        assert_eq!(said, same, "{first:?}, then {second:?}");
    }
}
