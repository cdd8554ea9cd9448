//! The load against an endpoint without a gateway: all of it arrives and is counted, what fails is counted too, and an open
//! loop leaves no waiting out.

use std::net::Ipv4Addr;

use super::*;
use crate::backend::{Backend, Fault, Manner, Serving};

fn start(serving: Serving) -> Backend {
    Backend::start((Ipv4Addr::LOCALHOST, 0).into(), serving, 0).unwrap()
}

fn plan(backend: &Backend, work: Work) -> Plan {
    let opening = Opening::bare(sidecar::HELLO_NAME, sidecar::SIDECAR_ALPN).unwrap();
    Plan {
        connections: 4,
        ..Plan::new(backend.address, work, opening)
    }
}

fn sent(plan: Plan) -> Outcome {
    run(plan, false, &mut |_| Ok(())).unwrap()
}

#[test]
fn every_unit_of_work_is_counted_once_and_those_of_the_warm_up_are_not() {
    for (work, manner) in [
        (Work::Connections, Manner::Answer),
        (Work::RoundTrips, Manner::Echo),
    ] {
        for rate in [None, Some(5000.0)] {
            let backend = start(Serving::new(manner));
            let outcome = sent(Plan {
                count: Some(50),
                warmup: Duration::from_millis(20),
                rate,
                ..plan(&backend, work)
            });
            assert_eq!((outcome.done, outcome.latency.len()), (50, 50), "{work:?}");
            assert_eq!(outcome.failed(), 0, "{work:?}{}", outcome.complaint());
        }
    }
}

#[test]
fn an_endpoint_says_who_it_is_with_tls_and_without() {
    let pki = sidecar::Pki::new();
    for tls in [None, Some(pki.server_config(sidecar::SIDECAR_ALPN))] {
        let opening = match tls {
            Some(_) => Opening::tls(&pki, sidecar::HELLO_NAME, sidecar::SIDECAR_ALPN).unwrap(),
            None => Opening::bare(sidecar::HELLO_NAME, sidecar::SIDECAR_ALPN).unwrap(),
        };
        let backend = start(Serving {
            name: "us/a/one".to_owned(),
            tls,
            ..Serving::new(Manner::Answer)
        });
        let outcome = sent(Plan {
            count: Some(5),
            opening,
            ..plan(&backend, Work::Connections)
        });
        assert_eq!(outcome.names.get("us/a/one"), Some(&5));
    }
}

#[test]
fn what_fails_is_counted_with_its_reason() {
    let backend = start(Serving {
        fault: Fault::Reset,
        share: 1.0,
        ..Serving::new(Manner::Answer)
    });
    let outcome = sent(Plan {
        count: Some(10),
        ..plan(&backend, Work::Connections)
    });
    assert_eq!((outcome.done, outcome.failed()), (0, 10));
    assert!(
        outcome.complaint().contains("reset"),
        "{}",
        outcome.complaint()
    );

    // An echo of a hello is no alert; an endpoint that closes instead of echoing cuts the round trip.
    let backend = start(Serving::new(Manner::Answer));
    let error = run(
        Plan {
            count: Some(10),
            limit: Duration::from_millis(300),
            ..plan(&backend, Work::RoundTrips)
        },
        false,
        &mut |_| Ok(()),
    )
    .unwrap_err();
    assert!(error.to_string().contains("only 0 of 4"), "{error:#}");
}

#[test]
fn the_latency_of_an_open_loop_counts_from_the_moment_a_unit_was_due() {
    let backend = start(Serving {
        delay: Duration::from_millis(20),
        ..Serving::new(Manner::Answer)
    });
    // Ten are due within 10 ms; one connection needs at least 200 ms for them.
    let outcome = sent(Plan {
        connections: 1,
        count: Some(10),
        rate: Some(1000.0),
        ..plan(&backend, Work::Connections)
    });
    assert_eq!(outcome.done, 10);
    assert!(outcome.micros(1.0) > 180_000.0, "{outcome}");
}

#[test]
fn what_is_due_and_never_answered_is_a_failure() {
    let backend = start(Serving {
        fault: Fault::Silence,
        share: 1.0,
        ..Serving::new(Manner::Answer)
    });
    let outcome = sent(Plan {
        count: Some(8),
        rate: Some(1000.0),
        limit: Duration::from_millis(100),
        ..plan(&backend, Work::Connections)
    });
    assert_eq!((outcome.done, outcome.failed()), (0, 8), "{outcome}");
}

/// Nothing listens any more: those that could not open a connection again leave what was due undone.
#[test]
fn what_is_due_when_nobody_listens_any_more_is_a_failure() {
    let backend = start(Serving::new(Manner::Echo));
    let mut backend = Some(backend);
    let plan = Plan {
        rate: Some(1000.0),
        time: Some(Duration::from_millis(400)),
        limit: Duration::from_millis(100),
        ..plan(backend.as_ref().unwrap(), Work::RoundTrips)
    };
    let outcome = run(plan, false, &mut |mark| {
        if mark == Mark::Begin {
            drop(backend.take());
        }
        Ok(())
    });
    let outcome = outcome.unwrap();
    let unopened: u64 = (outcome.failures.iter())
        .filter(|(what, _)| what.starts_with("no connection"))
        .map(|(_, count)| count)
        .sum();
    // Of the 400 that are due by then; a machine may be late to end it, and to say what is due.
    let units = outcome.done + outcome.failed() - unopened;
    assert!(units >= 300, "{outcome}");
}

#[test]
fn several_addresses_are_taken_in_turn() {
    let backends = ["one", "two"].map(|name| {
        start(Serving {
            name: name.to_owned(),
            ..Serving::new(Manner::Answer)
        })
    });
    let outcome = sent(Plan {
        count: Some(20),
        connections: 1,
        addresses: backends.iter().map(|backend| backend.address).collect(),
        ..plan(&backends[0], Work::Connections)
    });
    let named = |name| outcome.names.get(name).copied();
    assert_eq!((named("one"), named("two")), (Some(10), Some(10)));
}

#[test]
fn bulk_is_counted_both_ways_and_none_of_it_is_lost() {
    for (work, manner) in [
        (Work::Download, Manner::Stream),
        (Work::Upload, Manner::Sink),
    ] {
        let backend = start(Serving::new(manner));
        let outcome = sent(Plan {
            time: Some(Duration::from_millis(500)),
            ..plan(&backend, work)
        });
        assert!(outcome.bytes > 0, "{work:?}");
        assert_eq!(outcome.failed(), 0, "{work:?}{}", outcome.complaint());
    }
}

#[test]
fn what_stays_open_is_open_at_both_marks_and_what_ends_is_a_failure() {
    for (work, manner) in [
        (Work::Idle, Manner::Echo),
        (Work::Silent, Manner::Echo),
        (Work::RoundTrips, Manner::Echo),
    ] {
        let mut backend = Some(start(Serving::new(manner)));
        let staying = Plan {
            time: Some(Duration::from_millis(50)),
            ..plan(backend.as_ref().unwrap(), work)
        };
        assert_eq!(sent(staying.clone()).open, 4, "{work:?}");
        let outcome = run(staying, false, &mut |mark| {
            if mark == Mark::Begin {
                backend = None;
            }
            Ok(())
        })
        .unwrap();
        assert!(
            outcome.open < 4 && outcome.failed() > 0,
            "{work:?}: {outcome}"
        );
    }
}
