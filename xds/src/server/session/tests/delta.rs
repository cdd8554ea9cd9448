//! Delta, rule by rule; the numbers are those of the xDS protocol's own text unless they say otherwise.

use super::super::*;
use super::rig::{Rig, shelves, world};
use crate::resource::version_text;

use Kind::{Cluster, Endpoints, Listener};

fn version(kind: Kind, rig_world: (&str, &str), name: &str) -> String {
    let view = shelves(&world(rig_world.0, rig_world.1), None);
    version_text(view.of(kind).find(name).expect("there").tag.version)
}

#[test]
fn who_names_nothing_first_wants_everything() {
    let mut rig = Rig::new("a=1 b=1", "");
    assert_eq!(rig.delta(Cluster, "", ""), Said::Nothing);
    assert_eq!(rig.drain_delta(), ["cds: a=1 b=1"]);
    rig.change("a=1 b=2 c=1", "");
    assert_eq!(rig.drain_delta(), ["cds: b=2 c=1"], "only what is new");
    rig.change("b=2", "");
    assert_eq!(rig.drain_delta(), ["cds: -a -c"]);
    rig.change("a=1 b=2", "");
    assert_eq!(rig.drain_delta(), ["cds: a=1"]);
    assert!(rig.session.is_settled());
}

#[test]
fn everything_may_be_nothing_and_is_said_to_be() {
    let mut rig = Rig::new("", "");
    rig.delta(Cluster, "", "");
    rig.delta(Listener, "+*", "");
    assert_eq!(rig.drain_delta(), ["cds:", "lds:"]);
    assert_eq!(rig.drain_delta(), [""; 0]);
}

#[test]
fn of_endpoints_nothing_is_wanted_until_it_is_named() {
    let mut rig = Rig::new("", "a=1");
    rig.delta(Endpoints, "", "");
    assert_eq!(rig.drain_delta(), [""; 0]);
    rig.delta(Endpoints, "+a", "");
    assert_eq!(rig.drain_delta(), ["eds: a=1"]);
}

#[test]
fn a_name_that_is_not_there_is_said_to_be_gone_and_comes_when_it_does() {
    let mut rig = Rig::new("", "a=1");
    rig.delta(Endpoints, "+a +x", "");
    assert_eq!(rig.drain_delta(), ["eds: a=1", "eds: -x"]);
    rig.change("", "a=1 x=1");
    assert_eq!(rig.drain_delta(), ["eds: x=1"]);
    rig.change("", "a=1");
    assert_eq!(rig.drain_delta(), ["eds: -x"]);
    rig.change("", "a=1 x=1");
    assert_eq!(rig.drain_delta(), ["eds: x=1"], "still subscribed");
}

#[test]
fn who_asks_again_is_answered_again() {
    let mut rig = Rig::new("", "a=1 b=1");
    rig.delta(Endpoints, "+a +b", "");
    rig.drain_delta();
    rig.delta(Endpoints, "+a", "");
    assert_eq!(rig.drain_delta(), ["eds: a=1"]);
    rig.delta(Endpoints, "+x", "");
    rig.drain_delta();
    rig.delta(Endpoints, "+x", "");
    assert_eq!(rig.drain_delta(), ["eds: -x"]);
}

/// Rule 6 holds for the wildcard, too: it is a name like others.
#[test]
fn who_asks_for_everything_again_is_told_everything_again() {
    let mut rig = Rig::new("a=1 b=1", "");
    rig.delta(Cluster, "+* +x", "");
    rig.drain_delta();
    rig.delta(Cluster, "+*", "");
    assert_eq!(rig.drain_delta(), ["cds: a=1 b=1"]);
    let mut rig = Rig::new("", "");
    for _ in 0..2 {
        rig.delta(Cluster, "+*", "");
        assert_eq!(rig.drain_delta(), ["cds:"], "there is nothing, each time");
    }
}

/// Rule 7: pushes are for changes, and to want less is none.
#[test]
fn who_wants_less_is_not_answered() {
    for (kind, more, less) in [
        (Endpoints, "+a +b", "-a"),
        (Endpoints, "+a", "-a"),
        (Cluster, "+a +b", "-b"),
        (Cluster, "+* +a", "-*"),
    ] {
        let mut rig = Rig::new("a=1 b=1", "a=1 b=1");
        rig.delta(kind, more, "");
        rig.drain_delta();
        assert_eq!(rig.delta(kind, less, ""), Said::Nothing);
        assert_eq!(rig.next_delta(), None, "{more:?}, then {less:?}");
        assert!(rig.session.is_settled());
    }
}

#[test]
fn subscriptions_hold_whatever_the_nonce() {
    let mut rig = Rig::new("", "a=1 b=1");
    rig.delta(Endpoints, "+a", "");
    let (_, nonce) = rig.next_delta().expect("a response");
    assert_eq!(rig.delta(Endpoints, "+b", "stale"), Said::Nothing);
    assert_eq!(rig.next_delta(), None, "the first is not answered yet");
    assert_eq!(rig.delta(Endpoints, "-a", &nonce), Said::Ack(Endpoints));
    assert_eq!(rig.drain_delta(), ["eds: b=1"]);
    rig.change("", "a=2 b=1");
    assert_eq!(rig.drain_delta(), [""; 0], "nobody wants a");
}

#[test]
fn the_wildcard_covers_names_that_are_dropped() {
    let mut rig = Rig::new("a=1 b=1", "");
    rig.delta(Cluster, "+* +a +x", "");
    assert_eq!(rig.drain_delta(), ["cds: a=1 b=1", "cds: -x"]);
    rig.delta(Cluster, "-a -x", "");
    assert_eq!(rig.drain_delta(), ["cds: a=1", "cds: -x"]);
    rig.delta(Cluster, "+b", "");
    rig.drain_delta();
    rig.delta(Cluster, "-*", "");
    rig.change("a=2 b=2", "");
    assert_eq!(rig.drain_delta(), ["cds: b=2"], "only what is named");
}

#[test]
fn who_comes_back_gets_what_he_lacks() {
    let mut rig = Rig::new("a=1 b=2 c=1", "a=1 b=1");
    let (a, b) = (
        version(Cluster, ("a=1", ""), "a"),
        version(Cluster, ("b=1", ""), "b"),
    );
    rig.delta(Cluster, &format!("a@{a} b@{b} gone@{b}"), "");
    assert_eq!(rig.drain_delta(), ["cds: b=2 c=1", "cds: -gone"]);
    let a = version(Endpoints, ("", "a=1"), "a");
    rig.delta(Endpoints, &format!("+a +b a@{a} other@{a}"), "");
    assert_eq!(rig.drain_delta(), ["eds: b=1"], "other is not asked for");
    rig.reconnect();
    rig.delta(Endpoints, &format!("+a a@{a}"), "");
    assert_eq!(rig.drain_delta(), [""; 0], "nothing is new");
}

/// Envoy 1.40 asks for no endpoints after a change of a cluster, and the cluster warms up only with them.
#[test]
fn endpoints_follow_a_changed_cluster() {
    let mut rig = Rig::new("a=1 b=1", "a=1 b=1");
    rig.delta(Cluster, "", "");
    rig.drain_delta();
    rig.delta(Endpoints, "+a +b", "");
    rig.drain_delta();
    rig.change("a=2 b=1", "a=1 b=1");
    assert_eq!(rig.drain_delta(), ["cds: a=2", "eds: a=1"]);
}

/// Envoy 1.40 withholds its answer to CDS while a cluster warms up: endpoints must not wait for it.
#[test]
fn endpoints_do_not_wait_for_the_answer_to_clusters() {
    let mut rig = Rig::new("a=1", "a=1");
    rig.delta(Cluster, "", "");
    let (_, nonce) = rig.next_delta().expect("clusters");
    rig.delta(Endpoints, "+a", "");
    assert_eq!(rig.drain_delta(), ["eds: a=1"]);
    rig.change("a=2", "a=2");
    assert_eq!(rig.drain_delta(), ["eds: a=2"], "CDS is not answered yet");
    rig.delta(Cluster, "", &nonce);
    assert_eq!(rig.drain_delta(), ["cds: a=2", "eds: a=2"]);
}

#[test]
fn a_slow_stream_gets_the_latest_and_no_queue() {
    let mut rig = Rig::new("a=1", "");
    rig.delta(Cluster, "", "");
    let (_, nonce) = rig.next_delta().expect("a response");
    for n in 2..100 {
        rig.change(&format!("a={n} b={n}"), "");
        assert_eq!(rig.next_delta(), None);
    }
    rig.delta(Cluster, "", &nonce);
    assert_eq!(rig.drain_delta(), ["cds: a=99 b=99"]);
}

#[test]
fn what_is_gone_is_said_last_and_from_the_top() {
    let mut rig = Rig::new("a=1 b=1", "a=1 b=1");
    rig.delta(Endpoints, "+a +b", "");
    rig.delta(Cluster, "", "");
    rig.drain_delta();
    rig.change("b=2 c=1", "b=2");
    assert_eq!(
        rig.drain_delta(),
        ["cds: b=2 c=1", "eds: b=2", "cds: -a", "eds: -a"]
    );
}

#[test]
fn what_names_others_comes_before_them_in_the_order_of_envoy() {
    let mut world = world("a=1", "a=1");
    world[Listener as usize] = [("l".to_owned(), 1)].into();
    world[Kind::Routes as usize] = [("r".to_owned(), 1)].into();
    for mode in [Mode::Delta, Mode::Sotw] {
        let mut rig = Rig::of(&world);
        for (kind, name) in [
            (Kind::Routes, "r"),
            (Listener, "l"),
            (Endpoints, "a"),
            (Cluster, "a"),
        ] {
            match mode {
                Mode::Delta => rig.delta(kind, &format!("+{name}"), ""),
                Mode::Sotw => rig.sotw(kind, name, "", ""),
            };
        }
        let told: Vec<_> = std::iter::from_fn(|| match mode {
            Mode::Delta => rig.next_delta().map(|(text, _)| text),
            Mode::Sotw => rig.next_sotw().map(|(text, ..)| text),
        })
        .collect();
        assert_eq!(
            told,
            ["cds: a=1", "eds: a=1", "lds: l=1", "rds: r=1"],
            "{mode:?}"
        );
    }
}

/// A client may drop a whole response for one resource in it: the others come again, until the bad one is alone.
#[test]
fn of_a_refused_response_the_good_ones_arrive() {
    let mut rig = Rig::new("", "a=1 b=1 c=1 d=1 e=1");
    rig.delta(Endpoints, "+a +b +c +d +e", "");
    let mut taken = Vec::new();
    let mut refused = Vec::new();
    while let Some((text, nonce)) = rig.next_delta() {
        if text.contains("c=") {
            refused.push(text);
            let said = rig.delta(Endpoints, "", &format!("!{nonce}"));
            assert_eq!(said, Said::Nack(Endpoints));
        } else {
            taken.push(text);
            rig.delta(Endpoints, "", &nonce);
        }
        assert!(refused.len() < 10, "it does not end: {refused:?}");
    }
    for name in ["a=1", "b=1", "d=1", "e=1"] {
        assert!(
            taken.iter().any(|text| text.contains(name)),
            "{name} of {taken:?}"
        );
    }
    assert_eq!(refused.last().map(String::as_str), Some("eds: c=1"));
    let standing = rig.session.standing(Endpoints);
    assert!(
        standing
            .nack
            .is_some_and(|text| text.starts_with("refused"))
    );
    rig.change("", "a=1 b=1 c=2 d=1 e=1");
    assert_eq!(rig.drain_delta(), ["eds: c=2"]);
}

/// To take something else is not to take what was refused: who refuses is known until something takes its place.
#[test]
fn who_refuses_one_and_takes_another_still_refuses() {
    for gone in ["", "x=9"] {
        let mut rig = Rig::new("", "x=1 y=1");
        rig.delta(Endpoints, "+x +y", "");
        rig.drain_delta();
        rig.change("", "x=2 y=1");
        let (_, nonce) = rig.next_delta().expect("x");
        rig.delta(Endpoints, "", &format!("!{nonce}"));
        rig.change("", "x=2 y=2");
        assert_eq!(rig.drain_delta(), ["eds: y=2"]);
        let standing = rig.session.standing(Endpoints);
        assert_ne!(standing.accepted, standing.sent);
        assert!(rig.session.lacks(Endpoints).refused);
        rig.change("", &format!("{gone} y=2"));
        assert_eq!(rig.drain_delta().len(), 1);
        let standing = rig.session.standing(Endpoints);
        assert_eq!(standing.accepted, standing.sent, "{gone:?}");
        assert!(!rig.session.lacks(Endpoints).refused);
    }
}

#[test]
fn large_answers_come_in_parts() {
    let long = "x".repeat(RESPONSE / 4);
    let names: Vec<_> = (0..10).map(|n| format!("{n}{long}")).collect();
    let all: Vec<_> = names.iter().map(|name| format!("{name}=1")).collect();
    let mut rig = Rig::new(&all.join(" "), "");
    rig.delta(Cluster, "", "");
    let parts = rig.drain_delta();
    assert!(parts.len() > 1);
    assert!(parts.iter().all(|part| part.len() < 2 * RESPONSE));
    let told: usize = parts.iter().map(|part| part.matches("=1").count()).sum();
    assert_eq!(told, 10);
}

#[test]
fn names_without_end_end_the_stream() {
    let asks = |names: Vec<String>| DeltaRequest {
        type_url: Endpoints.type_url().into(),
        resource_names_subscribe: names,
        ..DeltaRequest::default()
    };
    let session = || Session::new(shelves(&world("", ""), None), false);
    let many = |from: usize, to: usize| (from..to).map(|n| n.to_string()).collect();
    let mut one = session();
    // In how many requests does not matter.
    assert_eq!(one.delta(asks(many(0, MAX_NAMES / 2))), Ok(Said::Nothing));
    let rest = asks(many(MAX_NAMES / 2, MAX_NAMES));
    assert_eq!(one.delta(rest.clone()), Ok(Said::Nothing));
    assert_eq!(one.delta(rest), Ok(Said::Nothing), "the same once more");
    let fault = Err(Fault::TooManyNames(Endpoints));
    assert_eq!(one.delta(asks(vec!["one more".into()])), fault);
    let long = "x".repeat(MAX_NAME_BYTES);
    assert_eq!(session().delta(asks(vec![long.clone()])), Ok(Said::Nothing));
    assert_eq!(session().delta(asks(vec![long + "x"])), fault);
}

#[test]
fn names_that_are_there_are_no_burden() {
    let there: Vec<_> = (0..300)
        .map(|n| format!("{n:03}{}", "x".repeat(1 << 16)))
        .collect();
    let all: Vec<_> = there.iter().map(|name| format!("{name}=1")).collect();
    let mut rig = Rig::new("", &all.join(" "));
    assert!(all.len() << 16 > MAX_NAME_BYTES);
    let words: Vec<_> = there.iter().map(|name| format!("+{name}")).collect();
    rig.delta(Endpoints, &words.join(" "), "");
    rig.drain_delta();
    // They go, which is not the client's doing, and it goes on.
    rig.change("", "");
    rig.drain_delta();
    rig.delta(Endpoints, "+a", "");
    assert_eq!(rig.drain_delta(), ["eds: -a"]);
}

#[test]
fn nonces_that_were_never_given_change_nothing() {
    let mut rig = Rig::new("a=1", "");
    rig.delta(Cluster, "", "");
    let (_, nonce) = rig.next_delta().expect("a response");
    let long = "9".repeat(100_000);
    for garbage in [
        "",
        "0",
        "-1",
        "2",
        "01",
        " 1",
        "1 ",
        "\u{0}",
        "18446744073709551616",
        &long,
    ] {
        assert_ne!(garbage, nonce);
        assert_eq!(
            rig.delta(Cluster, "", garbage),
            Said::Nothing,
            "{garbage:?}"
        );
        assert_eq!(
            rig.delta(Cluster, "", &format!("!{garbage}")),
            Said::Nothing
        );
        assert_eq!(rig.next_delta(), None, "{garbage:?}");
    }
    assert!(rig.session.standing(Cluster).waiting);
    rig.delta(Cluster, "", &nonce);
    assert!(rig.session.is_settled());
    // Who refuses at length is not quoted at length.
    rig.change("a=2", "");
    let (_, nonce) = rig.next_delta().expect("a response");
    let refusal = DeltaRequest {
        type_url: Cluster.type_url().into(),
        response_nonce: nonce,
        error_detail: Some(crate::proto::rpc::Status {
            message: "\u{e9}".repeat(1 << 20),
            ..Default::default()
        }),
        ..DeltaRequest::default()
    };
    assert_eq!(rig.session.delta(refusal), Ok(Said::Nack(Cluster)));
    let nack = rig.session.standing(Cluster).nack.expect("a refusal");
    assert_eq!(nack.chars().count(), 1_000);
}

#[test]
fn a_kind_that_is_not_served_is_ignored() {
    let mut rig = Rig::new("a=1", "");
    let request = DeltaRequest {
        type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".into(),
        ..DeltaRequest::default()
    };
    assert_eq!(rig.session.delta(request), Ok(Said::Nothing));
    assert_eq!(rig.next_delta(), None);
}
