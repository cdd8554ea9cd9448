//! Publishing: what changed, what is shared, what is forgotten.

use std::sync::Arc;

use model::diff;

use super::stage::{HELLO, POD, SERVICE, SLICE, Stage, read_all, system_namespace};
use crate::kubernetes::facts::{Change, Kind};

#[test]
fn it_publishes_once_at_first_and_then_on_change() {
    let mut stage = Stage::of(
        super::stage::me(),
        crate::kubernetes::meaning::Rules::default(),
    );
    assert_eq!(
        stage.world.publish().map(|snapshot| snapshot.version),
        Some(1)
    );
    assert!(stage.world.publish().is_none());
    let mut stage = stage.apply("us", super::stage::EXPOSE).hello();
    assert_eq!(
        stage.world.publish().map(|snapshot| snapshot.version),
        Some(2)
    );
    for same in [SERVICE, POD, SLICE] {
        stage.put("us", same);
        assert!(stage.world.publish().is_none(), "{same}");
    }
    // What nobody can reach changes nothing.
    stage.put("us", &POD.replace("hello-1", "unrelated"));
    assert!(stage.world.publish().is_none());
}

#[test]
fn what_was_not_touched_is_shared() {
    let mut stage = Stage::new().hello();
    for n in 0..600 {
        let name = format!("s{n:03}");
        stage.put(
            "us",
            &SERVICE.replace("name: hello", &format!("name: {name}")),
        );
        let slice = SLICE
            .replace("hello-abc", &name)
            .replace("service-name: hello", &format!("service-name: {name}"));
        stage.put("us", &slice);
    }
    let before = stage.snapshot();
    stage.put("us", &SLICE.replace("10.1.0.1", "10.1.0.2"));
    let after = stage.snapshot();
    let host = model::Hostname::parse(HELLO).expect("a host");
    assert_eq!(diff(&before, &after).changed, [host]);
    let shared = after.services.chunks().iter().filter(|chunk| {
        before
            .services
            .chunks()
            .iter()
            .any(|known| Arc::ptr_eq(known, chunk))
    });
    assert_eq!(shared.count(), after.services.chunks().len() - 1);
    assert!(Arc::ptr_eq(&before.networks, &after.networks));
    assert!(Arc::ptr_eq(&before.passthrough, &after.passthrough));
}

#[test]
fn one_endpoints_change_touches_one_chunk_of_a_long_list() {
    let mut stage = Stage::new().apply("us", SERVICE).apply("us", POD);
    for slice in 0..20 {
        let list: Vec<String> = (0..100)
            .map(|n| format!("  - {{addresses: [10.1.{slice}.{n}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: hello-1}}}}"))
            .collect();
        let head = &SLICE[..SLICE.find("  - addresses").expect("endpoints")];
        stage.put(
            "us",
            &format!(
                "{}{}\n",
                head.replace("hello-abc", &format!("hello-{slice}")),
                list.join("\n")
            ),
        );
    }
    let before = stage.service(HELLO).expect("hello");
    assert_eq!(before.endpoints.len(), 2000);
    let list: Vec<String> = (0..100)
        .map(|n| format!("  - {{addresses: [10.1.7.{n}], conditions: {{ready: {}}}, targetRef: {{kind: Pod, name: hello-1}}}}", n != 50))
        .collect();
    let head = &SLICE[..SLICE.find("  - addresses").expect("endpoints")];
    stage.put(
        "us",
        &format!(
            "{}{}\n",
            head.replace("hello-abc", "hello-7"),
            list.join("\n")
        ),
    );
    let after = stage.service(HELLO).expect("hello");
    assert_eq!(after.endpoints.len(), 2000);
    let chunks = |service: &model::Service| service.endpoints.chunks().to_vec();
    let (before, after) = (chunks(&before), chunks(&after));
    let new = after
        .iter()
        .filter(|chunk| !before.iter().any(|known| Arc::ptr_eq(known, chunk)));
    assert_eq!(new.count(), 1);
}

#[test]
fn a_slice_grows_and_shrinks() {
    let more =
        format!("{SLICE}  - {{addresses: [10.1.0.2], targetRef: {{kind: Pod, name: hello-1}}}}\n");
    let mut stage = Stage::new().hello();
    assert_eq!(stage.endpoints(HELLO).len(), 1);
    stage.put("us", &more);
    assert_eq!(stage.endpoints(HELLO).len(), 2);
    stage.put("us", SLICE);
    assert_eq!(stage.endpoints(HELLO).len(), 1);
}

#[test]
fn a_reset_takes_away_what_it_does_not_list() {
    let second = SLICE
        .replace("hello-abc", "two")
        .replace("10.1.0.1", "10.1.0.2");
    let mut stage = Stage::new().hello().apply("us", &second);
    assert_eq!(stage.endpoints(HELLO).len(), 2);
    stage
        .world
        .apply(&"us".into(), Change::Reset(Kind::Slice, read_all(&second)));
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.2 us network1"]);
    for kind in [Kind::Pod, Kind::Service] {
        stage
            .world
            .apply(&"us".into(), Change::Reset(kind, Vec::new()));
        assert!(stage.endpoints(HELLO).is_empty());
    }
    assert!(stage.hosts().is_empty());
    stage.put("us", SERVICE);
    stage.put("us", POD);
    assert_eq!(stage.endpoints(HELLO).len(), 1);
    stage
        .world
        .apply(&"us".into(), Change::Reset(Kind::Gateway, Vec::new()));
    assert!(stage.hosts().is_empty());
}

#[test]
fn many_pods_that_come_at_once_bring_all_their_endpoints() {
    for count in [1, 15, 16, 17, 40] {
        let head = &SLICE[..SLICE.find("  - addresses").expect("endpoints")];
        let endpoint = |n| {
            format!("  - {{addresses: [10.1.0.{n}], targetRef: {{kind: Pod, name: hello-{n}}}}}")
        };
        let list: Vec<String> = (0..count).map(endpoint).collect();
        let mut stage = Stage::new()
            .apply("us", SERVICE)
            .apply("us", &format!("{head}{}\n", list.join("\n")));
        assert!(stage.endpoints(HELLO).is_empty());
        let pods = |tls: &str| {
            let pods = (0..count).map(|n| {
                POD.replace("hello-1", &format!("hello-{n}"))
                    .replace("tlsMode: istio", tls)
            });
            read_all(&pods.collect::<Vec<_>>().join("\n---\n"))
        };
        stage.world.apply(
            &"us".into(),
            Change::Reset(Kind::Pod, pods("tlsMode: istio")),
        );
        assert_eq!(stage.endpoints(HELLO).len(), count, "{count}");
        stage.world.apply(
            &"us".into(),
            Change::Reset(Kind::Pod, pods("tlsMode: none")),
        );
        assert!(
            stage
                .endpoints(HELLO)
                .iter()
                .all(|line| line.ends_with("plain")),
            "{count}"
        );
        stage
            .world
            .apply(&"us".into(), Change::Reset(Kind::Pod, Vec::new()));
        assert!(stage.endpoints(HELLO).is_empty(), "{count}");
    }
}

#[test]
fn a_reset_of_another_cluster_leaves_ours_alone() {
    let mut stage = Stage::new().hello();
    for kind in [Kind::Gateway, Kind::Slice, Kind::Service, Kind::Pod] {
        stage
            .world
            .apply(&"eu".into(), Change::Reset(kind, Vec::new()));
    }
    assert_eq!(stage.endpoints(HELLO).len(), 1);
}

#[test]
fn a_removed_cluster_leaves_nothing_behind() {
    let mut stage = Stage::new().hello();
    let before = stage.snapshot();
    let mut stage = stage
        .apply("eu", &system_namespace("network2"))
        .apply("eu", SERVICE)
        .apply("eu", SLICE)
        .apply("eu", &SERVICE.replace("name: hello", "name: only-there"));
    assert_eq!(stage.endpoints(HELLO).len(), 2);
    assert_eq!(stage.hosts().len(), 2);
    stage.world.remove(&"eu".into());
    let after = stage.snapshot();
    assert_eq!(after.services, before.services);
    assert_eq!(after.networks, before.networks);
    stage.world.remove(&"us".into());
    assert!(stage.hosts().is_empty());
}

#[test]
fn a_clusters_new_network_moves_its_endpoints() {
    let mut stage = Stage::new()
        .apply("eu", &system_namespace("network2"))
        .apply("eu", SERVICE)
        .apply("eu", SLICE);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 eu network2"]);
    stage.put("eu", &system_namespace("network3"));
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 eu network3"]);
    stage.delete("eu", Kind::Namespace, "", "istio-system");
    assert!(stage.endpoints(HELLO).is_empty());
}
