//! Which chains are served, left out and refused.

use super::*;
use crate::client::samples::{self, MESH, chain, mesh_chain};
use crate::proto::protobuf::Any;

const HELLO: &str = "outbound_.5000_._.hello.default.svc.cluster.local";

fn read(given: &proto::Listener) -> Result<(Listener, Notes), String> {
    let mut notes = Notes::default();
    let read = Listener::read(&given.encode_to_vec(), &mut notes);
    read.map(|(_, listener)| (listener, notes))
        .map_err(|(_, why)| why)
}

fn one(chain: proto::FilterChain) -> Result<(Vec<Chain>, Notes), String> {
    let (listener, notes) = read(&samples::listener(15443, vec![chain]))?;
    Ok((listener.chains, notes))
}

fn with(change: impl FnOnce(&mut proto::FilterChain)) -> proto::FilterChain {
    let mut chain = mesh_chain(HELLO);
    change(&mut chain);
    chain
}

fn typed(kind: &str) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{kind}"),
        value: b"\xff".to_vec(),
    }
}

#[test]
fn mesh_and_plain_chains_are_served() {
    let (chains, notes) = one(mesh_chain(HELLO)).expect("it is read");
    let of = ServicePort {
        host: Hostname::parse("hello.default.svc.cluster.local").expect("a host name"),
        port: 5000,
        subset: "".into(),
    };
    assert_eq!(chains[0].gate, Gate::Mesh(vec![of]));
    assert_eq!(chains[0].to, [(HELLO.into(), 1)]);
    assert_eq!(notes, Notes::default());

    let weighted = chain(
        &["istiod.Example", "*.suffix"],
        &[],
        &[("outbound|80|v1|a", 3), ("outbound|80|v2|a", 0)],
    );
    let (chains, _) = one(weighted).expect("it is read");
    let names = vec!["istiod.example".into(), "*.suffix".into()];
    assert_eq!(chains[0].gate, Gate::Plain(names));
    assert_eq!(
        chains[0].to,
        [
            ("outbound|80|v1|a".into(), 3),
            ("outbound|80|v2|a".into(), 0)
        ]
    );

    let (chains, _) = one(chain(&[], &[], &[("c", 1)])).expect("it is read");
    assert_eq!(chains[0].gate, Gate::Plain(vec!["*".into()]));
}

/// A ServiceEntry of a mesh may have a host with a wildcard, and costs no other name.
#[test]
fn a_chain_with_a_wildcard_costs_no_other() {
    let odd = mesh_chain("outbound_.443_._.*.foo.local");
    let to_odd = chain(&["a.example"], &[], &[("outbound|443||*.foo.local", 1)]);
    let given = samples::listener(15443, vec![odd, mesh_chain(HELLO), to_odd]);
    let (listener, notes) = read(&given).expect("it is read");
    assert_eq!(listener.chains.len(), 2);
    assert_eq!(listener.chains[0].to, [(HELLO.into(), 1)]);
    assert_eq!(notes.left_out.len(), 1);
}

#[test]
fn unknown_filters_are_passed_over_and_counted() {
    let stats = samples::filter("istio.stats", typed("stats.PluginConfig"));
    let chain = with(|chain| chain.filters.insert(0, stats));
    let (chains, notes) = one(chain).expect("it is read");
    assert_eq!(chains.len(), 1);
    let kind = "type.googleapis.com/stats.PluginConfig".into();
    assert_eq!(notes.skipped, [(kind, 1)].into());
}

/// Were they served without what is not understood in them, more would pass than was meant.
#[test]
fn chains_that_decide_by_more_than_names_are_left_out() {
    let rbac = typed("envoy.extensions.filters.network.rbac.v3.RBAC");
    let matched = |change: fn(&mut proto::FilterChainMatch)| {
        with(|chain| change(chain.filter_chain_match.get_or_insert_default()))
    };
    for (chain, expected) in [
        (
            with(|chain| chain.filters.insert(0, samples::filter("authz", rbac))),
            "filter authz",
        ),
        (with(|chain| chain.filters.clear()), "no tcp_proxy"),
        (
            with(|chain| chain.transport_socket = Some(Default::default())),
            "ends TLS",
        ),
        (matched(|of| of.source_ports = vec![1]), "the client's port"),
        (matched(|of| of.source_type = 1), "the client's address"),
        (
            matched(|of| of.prefix_ranges = vec![Default::default()]),
            "the address dialled",
        ),
        (
            matched(|of| of.destination_port = Some(Default::default())),
            "the address dialled",
        ),
        (
            matched(|of| of.transport_protocol = "raw_buffer".into()),
            "not TLS",
        ),
        (chain(&[HELLO], &["h2"], &[(HELLO, 1)]), "other ALPN"),
        (chain(&[HELLO], &MESH[1..], &[(HELLO, 1)]), "other ALPN"),
        (chain(&[], MESH, &[(HELLO, 1)]), "no name"),
        (mesh_chain("outbound_.443_._.*.foo.local"), "a wildcard"),
        (
            chain(&["a.example"], MESH, &[(HELLO, 1)]),
            "plain name 'a.example'",
        ),
        (
            chain(&[HELLO], MESH, &[("a", 1), ("b", 1)]),
            "several clusters",
        ),
    ] {
        let (chains, notes) = one(chain).expect("it is read");
        assert_eq!(chains, [], "{expected}");
        assert!(notes.left_out[0].contains(expected), "{:?}", notes.left_out);
    }
}

#[test]
fn nothing_becomes_a_default() {
    let mut given = samples::listener(15443, vec![mesh_chain(HELLO)]);
    given.default_filter_chain = Some(chain(&[], &[], &[("c", 1)]));
    let (listener, notes) = read(&given).expect("it is read");
    assert_eq!(listener.chains.len(), 1);
    assert!(notes.left_out[0].contains("default chain"), "{notes:?}");
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason() {
    let proxy = samples::filter(
        "tcp",
        Any {
            type_url: TCP_PROXY.into(),
            value: b"\xff".to_vec(),
        },
    );
    let empty = Any {
        type_url: TCP_PROXY.into(),
        value: Vec::new(),
    };
    for (chain, expected) in [
        (with(|chain| chain.filters = vec![proxy]), "its tcp_proxy"),
        (
            with(|chain| chain.filters = vec![samples::filter("tcp", empty)]),
            "names no cluster",
        ),
        (chain(&["*bad"], &[], &[("c", 1)]), "server name"),
        (chain(&["*"], &[], &[("c", 1)]), "server name"),
        (
            chain(&["outbound_.x_._.a"], MESH, &[("c", 1)]),
            "the port 'x'",
        ),
        (chain(&["a"], &[], &[("outbound|80|a", 1)]), "lacks parts"),
    ] {
        let why = one(chain).expect_err(expected);
        assert!(why.contains(expected), "{why}");
    }
    let mut nameless = samples::listener(1, Vec::new());
    nameless.name.clear();
    assert!(read(&nameless).expect_err("no name").contains("no name"));
    let mut by_matcher = samples::listener(1, Vec::new());
    by_matcher.filter_chain_matcher = Some(Default::default());
    assert!(
        read(&by_matcher)
            .expect_err("a matcher")
            .contains("filter_chain_matcher")
    );
}
