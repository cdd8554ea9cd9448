//! State of the world, rule by rule.

use super::super::*;
use super::rig::Rig;

use Kind::{Cluster, Endpoints, Listener};

#[test]
fn clusters_are_whole_and_what_lacks_is_gone() {
    let mut rig = Rig::new("a=1 b=1", "");
    rig.sotw(Cluster, "", "", "");
    assert_eq!(rig.drain_sotw(""), ["cds: a=1 b=1"]);
    rig.change("a=1 b=2", "");
    assert_eq!(rig.drain_sotw(""), ["cds: a=1 b=2"]);
    rig.change("b=2", "");
    assert_eq!(rig.drain_sotw(""), ["cds: b=2"]);
    rig.change("", "");
    assert_eq!(rig.drain_sotw(""), ["cds:"]);
    assert_eq!(
        rig.drain_sotw(""),
        [""; 0],
        "nothing is sent without a change"
    );
}

#[test]
fn endpoints_are_only_what_is_new() {
    let mut rig = Rig::new("", "a=1 b=1 c=1");
    rig.sotw(Endpoints, "a b", "", "");
    assert_eq!(rig.drain_sotw("a b"), ["eds: a=1 b=1"]);
    rig.change("", "a=1 b=2 c=2");
    assert_eq!(rig.drain_sotw("a b"), ["eds: b=2"]);
}

/// Envoy waits 15 s for a name that nothing is said of.
#[test]
fn endpoints_of_nobody_are_an_empty_assignment() {
    let mut rig = Rig::new("", "a=1");
    rig.sotw(Endpoints, "a x", "", "");
    assert_eq!(rig.drain_sotw("a x"), ["eds: a=1 x"]);
    rig.change("", "a=1 x=1");
    assert_eq!(rig.drain_sotw("a x"), ["eds: x=1"]);
    rig.change("", "a=1");
    assert_eq!(rig.drain_sotw("a x"), ["eds: x"]);
}

#[test]
fn an_answer_may_change_the_subscription() {
    let mut rig = Rig::new("", "a=1 b=1");
    rig.sotw(Endpoints, "a", "", "");
    let (_, nonce, version) = rig.next_sotw().expect("a response");
    assert_eq!(
        rig.sotw(Endpoints, "a b", &version, &nonce),
        Said::Ack(Endpoints)
    );
    assert_eq!(rig.drain_sotw("a b"), ["eds: b=1"], "a is there already");
}

#[test]
fn a_stale_nonce_is_ignored_with_all_that_is_said() {
    let mut rig = Rig::new("", "a=1 b=1");
    rig.sotw(Endpoints, "a", "", "");
    let (_, first, version) = rig.next_sotw().expect("a response");
    rig.sotw(Endpoints, "a", &version, &first);
    rig.change("", "a=2 b=1");
    let (_, second, version) = rig.next_sotw().expect("a response");
    assert_eq!(rig.sotw(Endpoints, "a b", &version, &first), Said::Nothing);
    assert_eq!(rig.next_sotw(), None);
    assert_eq!(
        rig.sotw(Endpoints, "a b", &version, &second),
        Said::Ack(Endpoints)
    );
    assert_eq!(rig.drain_sotw("a b"), ["eds: b=1"]);
}

#[test]
fn a_refusal_is_told_by_its_error_and_brings_nothing_back() {
    let mut rig = Rig::new("a=1", "");
    rig.sotw(Cluster, "", "", "");
    let (_, nonce, version) = rig.next_sotw().expect("a response");
    // The version is the refused one; only the error says that this is no acceptance.
    let refused = format!("!{nonce}");
    assert_eq!(
        rig.sotw(Cluster, "", &version, &refused),
        Said::Nack(Cluster)
    );
    assert_eq!(rig.next_sotw(), None);
    let standing = rig.session.standing(Cluster);
    assert_ne!(standing.accepted, standing.sent);
    assert_eq!(standing.nack.as_deref(), Some(&*format!("refused {nonce}")));
    rig.change("a=2", "");
    assert_eq!(rig.drain_sotw(""), ["cds: a=2"]);
}

#[test]
fn once_named_nothing_means_nothing() {
    let mut rig = Rig::new("a=1 b=1", "");
    rig.sotw(Cluster, "a", "", "");
    let (text, nonce, version) = rig.next_sotw().expect("a response");
    assert_eq!(text, "cds: a=1");
    rig.sotw(Cluster, "", &version, &nonce);
    rig.change("a=2 b=2", "");
    assert_eq!(rig.next_sotw(), None);
}

#[test]
fn a_name_beside_the_wildcard() {
    let mut rig = Rig::new("a=1 b=1", "");
    rig.sotw(Cluster, "* x", "", "");
    assert_eq!(rig.drain_sotw("* x"), ["cds: a=1 b=1"]);
    rig.change("a=1 x=1", "");
    assert_eq!(rig.drain_sotw("* x"), ["cds: a=1 x=1"]);
}

#[test]
fn a_listener_that_is_not_there_is_answered() {
    let mut rig = Rig::new("", "");
    rig.sotw(Listener, "a:80", "", "");
    assert_eq!(rig.drain_sotw("a:80"), ["lds:"]);
}

#[test]
fn who_comes_back_with_the_state_that_is_there_gets_nothing() {
    let mut rig = Rig::new("a=1 b=1", "a=1 b=1");
    rig.sotw(Cluster, "", "", "");
    let (_, nonce, clusters) = rig.next_sotw().expect("clusters");
    rig.sotw(Cluster, "", &clusters, &nonce);
    rig.sotw(Endpoints, "a b", "", "");
    let (_, _, endpoints) = rig.next_sotw().expect("endpoints");

    rig.reconnect();
    rig.sotw(Cluster, "", &clusters, "");
    rig.sotw(Endpoints, "a b", &endpoints, "");
    assert_eq!(rig.next_sotw(), None);
    rig.change("a=1 b=1", "a=2 b=1");
    assert_eq!(rig.drain_sotw("a b"), ["eds: a=2"]);

    rig.reconnect();
    rig.sotw(Cluster, "", &clusters, "");
    rig.sotw(Endpoints, "a b", &endpoints, "");
    assert_eq!(
        rig.drain_sotw("a b"),
        ["eds: a=2 b=1"],
        "clusters are as they were"
    );
}

/// gRPC drops what its program does not use, keeps the version, and says it when the program uses that again.
#[test]
fn who_forgets_is_told_everything_when_he_comes_back() {
    let mut rig = Rig::new("a=1", "a=1 b=1");
    rig.forgets = true;
    rig.reconnect();
    rig.sotw(Endpoints, "a b", "", "");
    let (_, nonce, version) = rig.next_sotw().expect("a response");
    rig.sotw(Endpoints, "a b", &version, &nonce);
    rig.sotw(Endpoints, "a", &version, &nonce);
    rig.reconnect();
    rig.sotw(Endpoints, "a b", &version, "");
    assert_eq!(rig.drain_sotw("a b"), ["eds: a=1 b=1"]);
}

/// Envoy 1.40 repeats its request for endpoints, nonce and version and all, when a cluster has changed.
#[test]
fn a_request_that_is_repeated_is_answered_again() {
    let mut rig = Rig::new("", "a=1 b=1");
    rig.sotw(Endpoints, "a b", "", "");
    let (_, nonce, version) = rig.next_sotw().expect("a response");
    rig.sotw(Endpoints, "a b", &version, &nonce);
    assert_eq!(rig.next_sotw(), None);
    assert_eq!(rig.sotw(Endpoints, "a b", &version, &nonce), Said::Nothing);
    assert_eq!(rig.drain_sotw("a b"), ["eds: a=1 b=1"]);
}

/// In another order, too: the changed cluster's name comes first then.
#[test]
fn names_in_another_order_are_the_same_request() {
    let mut rig = Rig::new("", "a=1 b=1");
    rig.sotw(Endpoints, "a b", "", "");
    let (_, nonce, version) = rig.next_sotw().expect("a response");
    rig.sotw(Endpoints, "a b", &version, &nonce);
    rig.sotw(Endpoints, "b a", &version, &nonce);
    assert_eq!(rig.drain_sotw("b a"), ["eds: a=1 b=1"]);
}

/// Who wants less lacks nothing (rule 7: push only on change): Envoy says so when a cluster goes, of 1,000 others.
#[test]
fn who_wants_less_is_not_answered() {
    for (kind, more, less) in [
        (Endpoints, "a b c", "a b"),
        (Endpoints, "a", ""),
        (Cluster, "a b c", "a b"),
        (Cluster, "* a", "*"),
        (Cluster, "* a", "a"),
    ] {
        let mut rig = Rig::new("a=1 b=1 c=1", "a=1 b=1 c=1");
        rig.sotw(kind, more, "", "");
        let (_, nonce, version) = rig.next_sotw().expect("a response");
        rig.sotw(kind, more, &version, &nonce);
        assert_eq!(rig.sotw(kind, less, &version, &nonce), Said::Nothing);
        assert_eq!(rig.next_sotw(), None, "{more:?}, then {less:?}");
        assert!(rig.session.is_settled());
    }
}

/// Beside the wildcard, names that come and go leave nothing behind: neither those that never were there nor those that were.
#[test]
fn names_that_go_by_leave_nothing_behind() {
    let mut rig = Rig::new("", "a=1");
    rig.sotw(Endpoints, "*", "", "");
    rig.drain_sotw("*");
    for round in 0..100 {
        let there = (round % 2 == 0).then(|| format!("a=1 x{round}=1"));
        rig.change("", there.as_deref().unwrap_or("a=1"));
        let names = format!("* x{round} y{round}");
        let Some((_, nonce, version)) = rig.next_sotw() else {
            panic!("what has changed since is told");
        };
        rig.sotw(Endpoints, &names, &version, &nonce);
        rig.drain_sotw(&names);
        let known = rig.session.kinds[Endpoints as usize].ledger.iter().count();
        assert!(known <= 3, "{known} names are kept");
    }
}

#[test]
fn endpoints_of_a_changed_cluster_alone_come_again() {
    let mut rig = Rig::new("a=1 b=1", "a=1 b=1");
    rig.sotw(Cluster, "", "", "");
    let (_, nonce, version) = rig.next_sotw().expect("clusters");
    rig.sotw(Endpoints, "a b", "", "");
    rig.drain_sotw("a b");
    rig.sotw(Cluster, "", &version, &nonce);
    rig.change("a=2 b=1", "a=1 b=1");
    let (clusters, ..) = rig.next_sotw().expect("clusters");
    assert_eq!(clusters, "cds: a=2 b=1");
    assert_eq!(
        rig.drain_sotw("a b"),
        ["eds: a=1"],
        "CDS need not be answered for it"
    );
}

#[test]
fn a_kind_has_one_response_under_way_and_others_do_not_wait() {
    let mut rig = Rig::new("a=1", "a=1");
    rig.sotw(Cluster, "", "", "");
    rig.sotw(Endpoints, "a", "", "");
    assert_eq!(
        rig.next_sotw().map(|(text, ..)| text),
        Some("cds: a=1".into())
    );
    assert_eq!(
        rig.next_sotw().map(|(text, ..)| text),
        Some("eds: a=1".into())
    );
    rig.change("a=2", "a=2");
    assert_eq!(rig.next_sotw(), None);
}

#[test]
fn names_that_go_and_come_back_are_answered() {
    let mut rig = Rig::new("", "a=1 c=1");
    rig.sotw(Endpoints, "a c", "", "");
    let (_, nonce, version) = rig.next_sotw().expect("a response");
    rig.sotw(Endpoints, "a c", &version, &nonce);
    rig.sotw(Endpoints, "", &version, &nonce);
    rig.sotw(Endpoints, "c", &version, &nonce);
    assert_eq!(rig.drain_sotw("c"), ["eds: c=1"]);
}

#[test]
fn a_slow_stream_gets_the_latest_and_no_queue() {
    let mut rig = Rig::new("a=1", "a=1");
    rig.sotw(Cluster, "", "", "");
    rig.sotw(Endpoints, "a", "", "");
    let (_, clusters, version) = rig.next_sotw().expect("clusters");
    let (_, endpoints, _) = rig.next_sotw().expect("endpoints");
    for n in 2..100 {
        rig.change(&format!("a={n} b={n}"), &format!("a={n}"));
        assert_eq!(rig.next_sotw(), None);
    }
    rig.sotw(Cluster, "", &version, &clusters);
    assert_eq!(rig.drain_sotw(""), ["cds: a=99 b=99"]);
    rig.sotw(Endpoints, "a", &version, &endpoints);
    assert_eq!(rig.drain_sotw("a"), ["eds: a=99"]);
}

/// Every answer says all names again, which is no news; in another order, neither.
#[test]
fn names_that_are_said_again_are_no_news() {
    let mut rig = Rig::new("", "a=1 b=1");
    rig.sotw(Endpoints, "a b", "", "");
    assert_eq!(rig.drain_sotw("a b"), ["eds: a=1 b=1"]);
    rig.change("", "a=2 b=1");
    assert_eq!(rig.drain_sotw("b a"), ["eds: a=2"]);
    rig.change("", "a=3 b=3");
    assert_eq!(rig.drain_sotw("b a"), ["eds: a=3 b=3"]);
    rig.change("", "a=4 b=4");
    // The same names once more, beside another that comes and goes.
    let (_, nonce, version) = rig.next_sotw().expect("a response");
    rig.sotw(Endpoints, "b a x", &version, &nonce);
    assert_eq!(rig.drain_sotw("b a"), ["eds: x"]);
    assert_eq!(rig.next_sotw(), None);
}
