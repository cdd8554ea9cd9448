//! Which connections share a block of counters, and when it goes.

use std::sync::atomic::Ordering::Relaxed;

use super::*;

fn origin(workload: &str, zone: &str) -> Arc<Origin> {
    Arc::new(Origin {
        cluster: "us".into(),
        network: "network2".into(),
        locality: format!("us-west/{zone}").as_str().into(),
        workload: Workload {
            name: workload.into(),
            ..Workload::default()
        },
    })
}

#[test]
fn zones_of_a_workload_share_a_flow_and_flags_do_not() {
    let flows = Flows::default();
    assert!(flows.each().is_empty(), "an unused route has none");
    let (west, east) = (origin("hello", "a"), origin("hello", "b"));
    let other = origin("world", "a");
    let flow = flows.of(Some(&west), "-");
    assert!(Arc::ptr_eq(&flow, &flows.of(Some(&west), "-")));
    assert!(Arc::ptr_eq(&flow, &flows.of(Some(&east), "-")));
    assert!(!Arc::ptr_eq(&flow, &flows.of(Some(&west), "DT")));
    assert!(!Arc::ptr_eq(&flow, &flows.of(Some(&other), "-")));
    assert!(!Arc::ptr_eq(&flow, &flows.of(None, "-")));
    assert_eq!(flows.each().len(), 4);
}

/// A snapshot that is read anew brings new origins for the same workloads; the counts go on.
#[test]
fn a_workload_keeps_its_flow_while_one_origin_of_it_is_known() {
    let flows = Flows::default();
    let old = origin("hello", "a");
    flows.of(Some(&old), "-").opened.fetch_add(3, Relaxed);
    let new = origin("hello", "a");
    flows.of(Some(&new), "-").opened.fetch_add(1, Relaxed);
    drop(old);
    flows.sweep();
    let left = flows.each();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].flow.opened.load(Relaxed), 4);
    drop((left, new));
    flows.sweep();
    assert!(
        flows.each().is_empty(),
        "a workload that is gone has no series"
    );
}

/// Workers meet here only when both see an origin for the first time; neither count may be lost.
#[test]
fn counts_of_threads_that_meet_add_up() {
    let flows = Arc::new(Flows::default());
    let origins: Vec<_> = (0..50).map(|n| origin(&format!("w{n}"), "a")).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for origin in &origins {
                    flows.of(Some(origin), "-").opened.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let counts: Vec<u64> = flows
        .each()
        .iter()
        .map(|e| e.flow.opened.load(Relaxed))
        .collect();
    assert_eq!(counts, vec![4; 50]);
}
