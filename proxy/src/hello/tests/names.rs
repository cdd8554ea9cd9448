//! Which server names are names, what becomes of them, and the set of protocols.

use super::super::{Alpn, Name, Reject};

#[test]
fn names_are_lower_cased_and_lose_one_dot() {
    let long = "a".repeat(255);
    let subset = format!("outbound_.80_.{}_.h.ns.svc.cluster.local", "v".repeat(63));
    let cases = [
        ("a", "a"),
        ("a.", "a"),
        ("A.B.C", "a.b.c"),
        ("x--y.z_", "x--y.z_"),
        ("1.2.3", "1.2.3"),
        ("192.0.2.1a", "192.0.2.1a"),
        ("192.0.2.256", "192.0.2.256"),
        (
            "OUTBOUND_.5000_._.Hello.default.svc.cluster.local.",
            "outbound_.5000_._.hello.default.svc.cluster.local",
        ),
        (subset.as_str(), subset.as_str()),
        (long.as_str(), long.as_str()),
    ];
    for (raw, name) in cases {
        assert_eq!(Name::new(raw.as_bytes()).unwrap().as_str(), name);
    }
}

#[test]
fn what_is_no_host_name_is_refused() {
    let too_long = "a".repeat(256);
    let refused = [
        "",
        ".",
        "..",
        ".a",
        "a..",
        "a..b",
        "a b",
        "a\0",
        "a/b",
        "a:1",
        "*.a",
        "ä.test",
        "a\n",
        "a,b",
        "[::]",
        too_long.as_str(),
    ];
    for raw in refused {
        assert_eq!(Name::new(raw.as_bytes()), Err(Reject::BadName), "{raw:?}");
    }
    assert_eq!(Name::new(&[b'a', 0xff]), Err(Reject::BadName));
    for raw in [
        "127.0.0.1",
        "127.0.0.1.",
        "::1",
        "2001:DB8::",
        "::ffff:1.2.3.4",
    ] {
        assert_eq!(
            Name::new(raw.as_bytes()),
            Err(Reject::AddressAsName),
            "{raw:?}"
        );
    }
}

#[test]
fn protocols_are_a_set() {
    let cases = [
        (vec![], "", false),
        (vec!["istio"], "istio", true),
        (vec!["istio-peer-exchange"], "istio-peer-exchange", true),
        (vec!["istio-http/1.0"], "istio-http/1.0", true),
        (vec!["istio-http/1.1"], "istio-http/1.1", true),
        (vec!["istio-h2"], "istio-h2", true),
        (vec!["h2"], "h2", false),
        (vec!["http/1.1"], "http/1.1", false),
        (vec!["http/1.0", "ISTIO", "istio "], "other", false),
        (
            vec!["http/1.1", "h2", "x", "istio", "h2"],
            "istio,h2,http/1.1,other",
            true,
        ),
    ];
    for (offered, shown, mesh) in cases {
        let set: Alpn = offered.iter().copied().collect();
        assert_eq!(set.to_string(), shown);
        assert_eq!(set.is_mesh(), mesh, "{offered:?}");
        assert_eq!(set.is_empty(), offered.is_empty());
    }
}
