//! What a report makes of samples: the middle, the rounds' own ratios, and the verdict against the best of the peers that a
//! target means.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::compare::chart;
use crate::load::Outcome;
use crate::process::Cpu;

#[test]
fn a_spread_has_the_middle_of_an_odd_and_of_an_even_number() {
    assert_eq!(Spread::of(vec![]), None);
    let odd = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
    assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
    assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
}

/// A thousand new connections for so many microseconds each.
fn sample(micros: u64) -> Option<Sample> {
    let outcome = Outcome {
        done: 1000,
        took: Duration::from_secs(1),
        ..Outcome::new()
    };
    let cpu = Cpu {
        user: Duration::from_micros(micros * 100),
        system: Duration::from_micros(micros * 900),
    };
    Some(Sample {
        outcome,
        beside: None,
        cpu: Some(cpu),
        load: 1.0,
    })
}

#[test]
fn a_target_is_judged_by_the_rounds_ratios_to_the_peer_that_did_best() {
    let peers = [
        Peer::Causeway,
        Peer::Haproxy,
        Peer::HaproxySplice,
        Peer::Envoy,
        Peer::Floor,
    ];
    let found = peers.map(|peer| Found {
        peer,
        binary: PathBuf::new(),
        version: String::new(),
    });
    let settings = Settings {
        rounds: 3,
        time: Duration::from_secs(1),
        workloads: vec![Workload::Connections],
        alone: false,
    };
    // The machine was half as fast in the second round, and in the third HAProxy failed.
    let each = [
        (Peer::Causeway, [sample(45), sample(90), sample(50)]),
        (Peer::Haproxy, [sample(50), sample(100), None]),
        (Peer::HaproxySplice, [sample(60), sample(120), sample(130)]),
        (Peer::Envoy, [sample(75), sample(150), sample(60)]),
        (Peer::Floor, [sample(44), sample(88), sample(33)]),
    ];
    let samples: Samples = each
        .into_iter()
        .map(|(peer, samples)| ((Workload::Connections, Some(peer)), samples.to_vec()))
        .collect();
    let report = Report {
        machine: Machine::here(),
        settings: &settings,
        found: &found,
        samples: &samples,
        alone: &[],
    };
    let json = report.workload(Workload::Connections);
    let ratios = json["ratios"].as_array().unwrap();
    // 0.95 is for the better of HAProxy's two settings only, and Envoy's 0.55 is missed.
    assert_eq!(ratios[0]["against"], "haproxy");
    assert!((ratios[0]["ratio"]["median"].as_f64().unwrap() - 0.9).abs() < 1e-9);
    assert_eq!(
        (&ratios[0]["atMost"], &ratios[0]["held"]),
        (&json!(0.95), &json!(true))
    );
    assert_eq!(
        (&ratios[1]["atMost"], &ratios[1]["held"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(ratios[2]["held"], json!(false));
    // The bare relay has 0.59 of Envoy's: 0.55 is missed by it too.
    let of_floor: Vec<&Value> = ratios.iter().map(|ratio| &ratio["floor"]).collect();
    assert_eq!(
        of_floor[..3],
        [&json!(0.88), &json!(44.0 / 60.0), &json!(44.0 / 75.0)]
    );
    // Nine tenths of all of them are the kernel's.
    let of_kernel = |at: usize| ratios[at]["kernel"].as_f64().unwrap();
    assert!((of_kernel(0) - 0.81).abs() < 1e-9 && (of_kernel(2) - 0.54).abs() < 1e-9);
    let said = report.ratios(Workload::Connections);
    let said: Vec<String> = said.iter().map(say).collect();
    assert!(said[0].ends_with("target 0.95: held"), "{said:?}");
    assert!(
        said[2].ends_with(
            "target 0.55: MISSED, as by the floor with 0.59x; the kernel's part alone is 0.54x"
        ),
        "{said:?}"
    );
    assert_eq!((&ratios[0]["rounds"], report.failed()), (&json!(2), 0));
    assert_eq!(json["subjects"][1]["samples"][2], Value::Null);

    // A round in which we failed is not simply left out.
    let mut failed = samples.clone();
    failed.insert(
        (Workload::Connections, Some(Peer::Causeway)),
        vec![sample(45), None, sample(50)],
    );
    let failed = Report {
        machine: Machine::here(),
        samples: &failed,
        ..report
    };
    let json = failed.workload(Workload::Connections);
    assert_eq!(json["ratios"][0]["held"], json!(false));
    assert_eq!(failed.failed(), 1);
    let report = Report {
        samples: &samples,
        ..failed
    };

    let svg = chart::svg(&report, Workload::Connections);
    assert_eq!(svg.matches("<rect").count(), 1 + peers.len());
    assert!(svg.contains(">haproxy-splice</text>") && svg.contains(">50.0</text>"));
}

/// Lone round trips are judged by the worker that polls, against the best of those that nobody has set anything of.
#[test]
fn a_lone_round_trip_is_judged_by_who_polls() {
    let sample = |micros: u64| {
        let mut sample = sample(1).unwrap();
        sample.outcome.latency.record(micros * 1_000).unwrap();
        Some(sample)
    };
    let each = [
        (Peer::Causeway, 100),
        (Peer::CausewayPolling, 45),
        (Peer::HaproxySplice, 80),
        (Peer::Envoy, 120),
    ];
    let found = each.map(|(peer, _)| Found {
        peer,
        binary: PathBuf::new(),
        version: String::new(),
    });
    let settings = Settings {
        rounds: 1,
        time: Duration::from_secs(1),
        workloads: vec![Workload::Lone],
        alone: false,
    };
    let samples: Samples = each
        .into_iter()
        .map(|(peer, micros)| ((Workload::Lone, Some(peer)), vec![sample(micros)]))
        .collect();
    let report = Report {
        machine: Machine::here(),
        settings: &settings,
        found: &found,
        samples: &samples,
        alone: &[],
    };
    let ratios = report.ratios(Workload::Lone);
    assert_eq!(
        Workload::Lone.price(&sample(45).unwrap()),
        Some(("CPU", 1.0))
    );
    let judged: Vec<_> = ratios
        .iter()
        .map(|ratio| (ratio.ours, ratio.against, ratio.held()))
        .collect();
    assert_eq!(
        judged,
        [
            (Peer::Causeway, Peer::HaproxySplice, None),
            (Peer::Causeway, Peer::Envoy, None),
            (Peer::CausewayPolling, Peer::Causeway, Some(true)),
            (Peer::CausewayPolling, Peer::HaproxySplice, None),
            (Peer::CausewayPolling, Peer::Envoy, None),
        ]
    );
    assert!(!Workload::RoundTrips.measures(Peer::CausewayPolling));
}
