//! Which names are mesh names, and which only look like them.

use proptest::prelude::*;

use super::{MeshName, parse_mesh_name};

#[test]
fn mesh_names_come_apart() {
    let host = "hello.default.svc.cluster.local";
    let cases = [
        (
            "outbound_.5000_._.hello.default.svc.cluster.local",
            5000,
            "",
        ),
        ("outbound_.1_.v1_.hello.default.svc.cluster.local", 1, "v1"),
        (
            "outbound_.65535_.a-b_.hello.default.svc.cluster.local",
            65_535,
            "a-b",
        ),
        (
            "outbound_.80_.v1__.hello.default.svc.cluster.local",
            80,
            "v1_",
        ),
    ];
    for (name, port, subset) in cases {
        let parts = MeshName { port, subset, host };
        assert_eq!(parse_mesh_name(name), Some(parts), "{name}");
        assert_eq!(parts.to_string(), name);
    }
}

#[test]
fn other_spellings_are_no_mesh_names() {
    let refused = [
        "",
        "hello.default.svc.cluster.local",
        "outbound|80||hello",
        "outbound_",
        "outbound_.",
        "outbound_.80",
        "outbound_.80_.",
        "outbound_.80_._.",
        "outbound_.80_.hello",
        "outbound_.80_.v1_.",
        "inbound_.80_._.hello",
        "Outbound_.80_._.hello",
        "xoutbound_.80_._.hello",
        "outbound_._._.hello",
        "outbound_.0_._.hello",
        "outbound_.080_._.hello",
        "outbound_.+80_._.hello",
        "outbound_.-80_._.hello",
        "outbound_. 80_._.hello",
        "outbound_.80a_._.hello",
        "outbound_.65536_._.hello",
        "outbound_.99999999999999999999_._.hello",
        "outbound_.80_._._.hello",
        "outbound_.80_.v1_.hello_.local",
        "outbound_.80_._.hello_.",
    ];
    for name in refused {
        assert_eq!(parse_mesh_name(name), None, "{name:?}");
    }
}

proptest! {
    #[test]
    fn what_is_put_together_comes_apart(port in 1u16.., subset in "[a-z0-9-]{0,63}", host in "[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?") {
        let parts = MeshName { port, subset: &subset, host: &host };
        let name = parts.to_string();
        prop_assert_eq!(parse_mesh_name(&name), Some(parts));
    }

    #[test]
    fn what_comes_apart_has_one_spelling(name in "(outbound_\\.)?[0-9a-z_.+-]{0,12}_\\.[a-z_.]{0,6}(_\\.)?[a-z_.]{0,6}") {
        if let Some(parts) = parse_mesh_name(&name) {
            prop_assert_eq!(parts.to_string(), name);
        }
    }
}

/// Envoy compares lower case, and a subset's name may not be.
#[test]
fn a_name_is_spelled_in_lower_case() {
    let parts = MeshName {
        port: 80,
        subset: "V1",
        host: "hello",
    };
    assert!(parts.is_spelled("outbound_.80_.v1_.hello"));
    for other in [
        "outbound_.80_.v1_.hello.",
        "outbound_.80_.v1_.hell",
        "outbound_.8_.v1_.hello",
        "outbound_.080_.v1_.hello",
        "outbound_.80_.v2_.hello",
        "outbound_.80_.V1_.hello",
        "OUTBOUND_.80_.v1_.hello",
        "outbound_.80_.v1_.Hello",
        "outbound_.80_._.hello",
        "outbound_.80_.v1hello",
        "hello",
        "",
    ] {
        assert!(!parts.is_spelled(other), "{other}");
    }
}

proptest! {
    /// Of what nothing is left out, even where the parts could be taken apart in another way: what is written is what is compared.
    #[test]
    fn what_is_spelled_is_what_is_written(
        port in prop::sample::select(vec![1_u16, 80, 65_535]),
        subset in "[aA_.é]{0,4}",
        host in "[a_.]{0,5}",
        at in any::<prop::sample::Index>(),
        put in "[aA_.é0]?",
    ) {
        let parts = MeshName { port, subset: &subset, host: &host };
        let written = parts.to_string().to_ascii_lowercase();
        prop_assert!(parts.is_spelled(&written));
        // One letter put in, or put in the place of another.
        let places: Vec<usize> = written.char_indices().map(|(place, _)| place).collect();
        let place = *at.get(&places);
        let next = written[place..].chars().next().map_or(0, char::len_utf8);
        for rest in [&written[place..], &written[place + next..]] {
            let other = format!("{}{put}{rest}", &written[..place]);
            prop_assert_eq!(parts.is_spelled(&other), written == other, "{}", other);
        }
    }
}
