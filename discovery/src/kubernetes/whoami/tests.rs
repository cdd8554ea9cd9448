//! Who we are: where each value is found, in order, and what is said of one that is not.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::kubernetes::settings::{Given, OwnPod};
use crate::kubernetes::testing::Fake;

const POD: &str = "/api/v1/namespaces/mesh/pods/gw-abc12-x";
const SYSTEM: &str = "/api/v1/namespaces/istio-system";
const NODE: &str = "/api/v1/nodes/n1";

/// A cluster that says everything.
fn fake() -> Fake {
    let fake = Fake::default();
    fake.serve(
        POD,
        json!({"metadata": {"name": "gw-abc12-x", "namespace": "mesh",
            "labels": {"istio": "eastwestgateway", "pod-template-hash": "abc12", NETWORK: "of-pod"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gw-abc12", "uid": "1", "controller": true}]},
            "spec": {"nodeName": "n1", "containers": []}}),
    );
    fake.serve(
        SYSTEM,
        json!({"metadata": {"name": "istio-system", "labels": {NETWORK: "of-namespace"}}}),
    );
    fake.serve(
        NODE,
        json!({"metadata": {"name": "n1", "labels": {
            "topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"}}}),
    );
    fake.serve(
        &format!("{SYSTEM}/configmaps/istio-sidecar-injector"),
        json!({"metadata": {}, "data": {"values": "{\"global\": {\"multiCluster\": {\"clusterName\": \"of-injector\"}}}"}}),
    );
    fake
}

fn in_pod() -> Settings {
    Settings {
        pod: OwnPod {
            namespace: "mesh".into(),
            name: "gw-abc12-x".into(),
            ip: "10.0.0.9".into(),
        },
        ..Settings::default()
    }
}

async fn ask(fake: &Fake, settings: &Settings) -> Result<WhoAmI, WhoAmIError> {
    find(&fake.api(), settings, "default")
        .await
        .map(|(me, _)| me)
}

#[tokio::test]
async fn a_pod_finds_everything_out() {
    let me = ask(&fake(), &in_pod()).await.expect("all is known");
    assert_eq!(me.cluster.value, "of-injector");
    assert_eq!(me.network.value, "of-pod");
    assert_eq!(me.locality.value.to_string(), "r/z");
    assert_eq!(
        me.labels.value.get("istio").map(|it| &**it),
        Some("eastwestgateway")
    );
    assert_eq!(
        (me.workload.value.as_str(), me.workload.source.as_str()),
        ("gw", "our Pod")
    );
    assert_eq!(
        (me.namespace.value.as_str(), me.namespace.source.as_str()),
        ("mesh", "POD_NAMESPACE")
    );
    assert_eq!(me.node, "n1");
    assert_eq!(me.locality.source, "labels of Node n1");
}

#[tokio::test]
async fn configuration_comes_first_and_asks_nothing() {
    let given = Given {
        cluster: "c".into(),
        network: "n".into(),
        locality: "a/b/c".into(),
        namespace: "ns".into(),
        labels: BTreeMap::from([("istio".into(), "mine".into())]),
        workload: "w".into(),
    };
    let outside = Settings {
        me: given.clone(),
        ..Settings::default()
    };
    let silent = Fake::default();
    let me = ask(&silent, &outside).await.expect("all is known");
    assert!(silent.asked().is_empty());
    for source in [
        &me.cluster.source,
        &me.network.source,
        &me.locality.source,
        &me.labels.source,
    ] {
        assert_eq!(source, "configuration");
    }
    let both = Settings {
        me: given,
        ..in_pod()
    };
    let settings = Settings {
        me: Given {
            namespace: String::new(),
            ..both.me.clone()
        },
        ..both
    };
    let me = ask(&fake(), &settings).await.expect("all is known");
    let label = |name| me.labels.value.get(name).map(|it| &**it);
    assert_eq!(label("istio"), Some("mine"), "before the Pod's");
    assert_eq!(
        label("pod-template-hash"),
        Some("abc12"),
        "beside the Pod's"
    );
}

#[tokio::test]
async fn each_value_has_a_next_best_place() {
    let fake = Fake::default();
    fake.serve(
        POD,
        json!({"metadata": {"name": "gw-abc12-x", "namespace": "mesh", "labels": {"a": "b"}}}),
    );
    fake.serve(
        SYSTEM,
        json!({"metadata": {"name": "istio-system", "labels": {NETWORK: "of-namespace"}}}),
    );
    let me = ask(&fake, &in_pod()).await.expect("all is known");
    assert_eq!(me.cluster.value, "the-uid");
    assert_eq!(me.network.value, "of-namespace");
    assert!(me.locality.value.region.is_empty() && me.locality.source.contains("set 'locality'"));
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_setting() {
    let network = Fake::default();
    network.serve(
        POD,
        json!({"metadata": {"name": "x", "labels": {"a": "b"}}}),
    );
    let said = ask(&network, &in_pod())
        .await
        .expect_err("no network")
        .to_string();
    assert!(
        said.contains("our network") && said.contains("set 'network'"),
        "{said}"
    );

    let outside = Settings {
        me: Given {
            network: "n".into(),
            ..Given::default()
        },
        ..Settings::default()
    };
    let said = ask(&fake(), &outside)
        .await
        .expect_err("no labels")
        .to_string();
    assert!(
        said.contains("POD_NAME") && said.contains("set 'labels'"),
        "{said}"
    );

    let forbidden = Fake::default();
    let no = || crate::kubernetes::testing::Reply::Status(403, json!({"message": "no"}));
    forbidden.script("/", no());
    forbidden.script("/", no());
    let said = ask(&forbidden, &outside)
        .await
        .expect_err("no cluster")
        .to_string();
    assert!(
        said.contains("the id of our cluster") && said.contains("set 'cluster'"),
        "{said}"
    );

    let broken = Fake::default();
    broken.script("/", crate::kubernetes::testing::Reply::Broken);
    let fault = ask(&broken, &outside).await.expect_err("no answer");
    assert!(
        matches!(fault, WhoAmIError::Api(_)),
        "to be asked again: {fault}"
    );
}

#[tokio::test]
async fn what_was_answered_is_decided_again_without_asking() {
    let found = find(&fake().api(), &in_pod(), "default").await;
    let (me, answers) = found.expect("all is known");
    let json = serde_json::to_vec(&answers).expect("JSON");
    let kept: Answers = serde_json::from_slice(&json).expect("the same");
    assert_eq!(kept.decide(&in_pod(), "default"), Ok(me.clone()));
    let settings = Settings {
        me: Given {
            cluster: "c".into(),
            ..Given::default()
        },
        ..in_pod()
    };
    let now = kept.decide(&settings, "default").expect("all is known");
    assert_eq!(now.cluster, known("c".into(), "configuration"));
    assert_eq!(now.network, me.network);

    let other = kept.of_another_pod().decide(&in_pod(), "default");
    let other = other.expect("all is known");
    assert_eq!(
        other.locality.value.to_string(),
        "r",
        "its zone is not known"
    );
    assert_eq!((other.node.as_str(), &other.labels), ("", &me.labels));

    let asked = find(&fake().api(), &settings, "default").await;
    let (_, fewer) = asked.expect("all is known");
    let unknown = fewer.decide(&in_pod(), "default").expect_err("not asked");
    assert!(unknown.to_string().contains("not asked for"), "{unknown}");
}
