//! Whatever the order of changes, and wherever snapshots are published between them, the end is the same as from scratch.

use std::sync::LazyLock;

use model::Hostname;
use proptest::prelude::*;

use super::stage::{EXPOSE, Stage, me};
use crate::kubernetes::facts::{Change, Fact, Key, Kind};
use crate::kubernetes::meaning::Rules;

/// One step: which object in which cluster, in which version; version 0 is its absence.
#[derive(Clone, Debug)]
struct Step {
    cluster: usize,
    object: usize,
    version: usize,
    publish: bool,
}

const CLUSTERS: [&str; 3] = ["us", "eu", "ap"];

/// The objects, each with two versions; small numbers, so that they meet each other.
fn yaml(object: usize, version: usize) -> String {
    let second = version == 2;
    let pick = |one: &'static str, two: &'static str| if second { two } else { one };
    match object {
        0 | 1 => format!(
            "
kind: Service
metadata: {{name: s{object}, namespace: default{}}}
spec: {{ports: [{{name: http, port: {}}}]{}}}
",
            pick("", ", annotations: {networking.istio.io/exportTo: 'istio-system'}"),
            pick("80", "81"),
            pick(
                ", ipFamilies: [IPv4, IPv6]",
                ", trafficDistribution: PreferSameNode, ipFamilies: [IPv6, IPv4]",
            ),
        ),
        2..=5 => format!(
            "
kind: EndpointSlice
metadata: {{name: slice{object}, namespace: default, labels: {{kubernetes.io/service-name: {}}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints:
  - {{addresses: [10.0.0.1], conditions: {{ready: {}}}, nodeName: n0, targetRef: {{kind: Pod, name: p0}}}}
  - {{addresses: [10.0.0.{object}], conditions: {{ready: true}}, nodeName: n1, targetRef: {{kind: Pod, name: p1}}}}
{}
",
            if object.is_multiple_of(2) { "s0" } else { pick("s0", "s1") },
            if object == 4 { pick("8080", "8081") } else { "8080" },
            pick("true", "false"),
            match (second, object) {
                (false, _) => "",
                (true, 5) => "  - {addresses: [10.0.0.8], nodeName: n0}",
                _ => "  - {addresses: [10.0.0.9], nodeName: n0, targetRef: {kind: Pod, name: p0}}",
            },
        ),
        6 | 7 => format!(
            "
kind: Pod
metadata: {{name: p{}, namespace: default, labels: {{security.istio.io/tlsMode: istio, version: {}{}}}}}
",
            object - 6,
            pick("v1", "v2"),
            pick("", ", topology.istio.io/network: network3"),
        ),
        8 | 9 => format!(
            "
kind: Node
metadata: {{name: n{}, labels: {{topology.kubernetes.io/region: {}}}}}
",
            object - 8,
            pick("west", "east"),
        ),
        10 => format!(
            "
kind: Namespace
metadata: {{name: istio-system, labels: {{topology.istio.io/network: {}}}}}
",
            pick("network2", "network3"),
        ),
        11 => format!(
            "
kind: Namespace
metadata: {{name: default, annotations: {{networking.istio.io/traffic-distribution: {}}}}}
",
            pick("PreferClose", "Any"),
        ),
        12 => format!(
            "
kind: Service
metadata: {{name: gw, namespace: istio-system, labels: {{topology.istio.io/network: {}}}}}
spec: {{ports: [{{name: tls, port: 15443}}], externalIPs: [198.51.100.1]}}
",
            pick("network2", "network3"),
        ),
        13 => format!(
            "
kind: DestinationRule
metadata: {{name: rule, namespace: default}}
spec: {{host: {}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}
",
            pick("s0", "'*.default.svc.cluster.local'"),
        ),
        14 => format!(
            "
kind: ServiceEntry
metadata: {{name: entry, namespace: default}}
spec:
  hosts: [s1.default.svc.cluster.local, {}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{name: http, number: 80}}]
  endpoints: [{{address: 10.0.0.1}}, {{address: 192.0.2.1}}]
",
            pick("a.local", "b.local"),
        ),
        15 => format!(
            "
kind: Gateway
metadata: {{name: plain, namespace: istio-system}}
spec: {{servers: [{{port: {{number: 15012}}, tls: {{mode: PASSTHROUGH}}, hosts: ['*']}}, {{port: {{number: 15443}}, tls: {{mode: AUTO_PASSTHROUGH}}, hosts: [{}]}}]}}
",
            pick("nothing.local", "'*.default.svc.cluster.local'"),
        ),
        16 => format!(
            "
kind: VirtualService
metadata: {{name: routes, namespace: istio-system}}
spec:
  hosts: ['*']
  gateways: [plain]
  tls: [{{match: [{{sniHosts: [x.example]}}], route: [{{destination: {{host: {}.default.svc.cluster.local}}}}]}}]
",
            pick("s0", "s1"),
        ),
        17 => format!(
            "
kind: EndpointSlice
metadata: {{name: slice6, namespace: default, labels: {{kubernetes.io/service-name: s0}}}}
addressType: IPv6
ports: [{{name: http, port: 8080}}]
endpoints:
  - {{addresses: ['fd00::1'], conditions: {{ready: true}}, nodeName: n0, targetRef: {{kind: Pod, name: {}}}}}
  - {{addresses: ['fd00::2'], conditions: {{ready: true}}, nodeName: n1}}
",
            pick("p0", "p1"),
        ),
        _ => EXPOSE.replace("'*.local'", pick("'*.local'", "s0.default.svc.cluster.local")),
    }
}

const OBJECTS: usize = 19;

/// Every object in both versions, read once.
static FACTS: LazyLock<Vec<[Fact; 2]>> = LazyLock::new(|| {
    let read = |object, version| {
        let mut all = super::stage::read_all(&yaml(object, version));
        all.remove(0).expect("a readable object")
    };
    (0..OBJECTS)
        .map(|object| [read(object, 1), read(object, 2)])
        .collect()
});

fn fact(object: usize, version: usize) -> Fact {
    FACTS[object][version - 1].clone()
}

/// What a step says happened.
fn change(step: &Step) -> Change {
    if step.version == 0 {
        let fact = fact(step.object, 1);
        return Change::Delete(fact.kind(), fact.key().clone());
    }
    Change::Put(fact(step.object, step.version))
}

fn rules(flat: bool) -> Rules {
    Rules {
        assume_flat: flat,
        same_network: ["ap".into()].into(),
        ..Rules::default()
    }
}

fn step() -> impl Strategy<Value = Step> {
    (0..CLUSTERS.len(), 0..OBJECTS, 0..3_usize, any::<bool>()).prop_map(
        |(cluster, object, version, publish)| Step {
            cluster,
            object,
            version,
            publish,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn step_by_step_is_the_same_as_from_scratch(
        steps in prop::collection::vec(step(), 1..60),
        flat in any::<bool>(),
        reset in any::<bool>(),
    ) {
        let mut world = Stage::of(me(), rules(flat)).world;
        let mut last = std::collections::BTreeMap::new();
        for step in &steps {
            world.apply(&CLUSTERS[step.cluster].into(), change(step));
            if step.publish {
                world.publish();
            }
            last.insert((step.cluster, step.object), step.version);
        }
        world.publish();

        // From scratch, in another order: what there is at the end, all at once, by kind.
        let mut scratch = Stage::of(me(), rules(flat)).world;
        for (at, cluster) in CLUSTERS.iter().enumerate().rev() {
            let mut kinds: std::collections::BTreeMap<Kind, Vec<_>> = std::collections::BTreeMap::new();
            let present = last.iter().rev().filter(|((of, _), version)| *of == at && **version > 0);
            for ((_, object), version) in present {
                let fact = fact(*object, *version);
                kinds.entry(fact.kind()).or_default().push(Ok(fact));
            }
            // The cluster has to be known in both.
            if last.keys().any(|(of, _)| *of == at) {
                scratch.apply(&(*cluster).into(), Change::Delete(Kind::Pod, Key::new("", "none")));
            }
            for (kind, facts) in kinds {
                if reset {
                    scratch.apply(&(*cluster).into(), Change::Reset(kind, facts));
                } else {
                    for fact in facts {
                        scratch.apply(&(*cluster).into(), Change::put(fact));
                    }
                }
            }
        }
        scratch.publish();

        let (found, expected) = (&world.snapshot, &scratch.snapshot);
        prop_assert_eq!(&found.services, &expected.services);
        prop_assert_eq!(&found.passthrough, &expected.passthrough);
        prop_assert_eq!(&found.networks, &expected.networks);
        prop_assert_eq!(world.findings(), scratch.findings());

        // From the disk.
        let mut loaded = Stage::of(me(), rules(flat)).world;
        for cluster in CLUSTERS {
            let cluster = cluster.into();
            let kept = serde_json::to_vec(&world.facts(&cluster)).expect("JSON");
            let facts: Vec<Fact> = serde_json::from_slice(&kept).expect("the same");
            if world.clusters.contains_key(&cluster) {
                loaded.apply(&cluster, Change::Delete(Kind::Pod, Key::new("", "none")));
            }
            for fact in facts {
                loaded.apply(&cluster, Change::Put(fact));
            }
        }
        loaded.publish();
        prop_assert_eq!(&loaded.snapshot.services, &expected.services);
        prop_assert_eq!(&loaded.snapshot.passthrough, &expected.passthrough);
        prop_assert_eq!(&loaded.snapshot.networks, &expected.networks);
    }
}

/// Guards the test above: its objects do meet.
#[test]
fn the_random_objects_make_a_world_worth_testing() {
    let mut stage = Stage::of(me(), rules(false));
    for cluster in CLUSTERS {
        for object in 0..OBJECTS {
            stage
                .world
                .apply(&cluster.into(), Change::Put(fact(object, 1)));
        }
    }
    let s0 = Hostname::parse("s0.default.svc.cluster.local").expect("a host");
    let snapshot = stage.snapshot();
    assert!(
        snapshot
            .service(&s0)
            .is_some_and(|service| service.endpoints.len() > 8)
    );
    assert_eq!(snapshot.services.len(), 4);
    assert_eq!(snapshot.passthrough.len(), 1);
}
