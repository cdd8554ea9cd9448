//! Beside Istio's gateway, step by step as `deploy/MIGRATION.md` has it: what another cluster's gateway takes for an entry.

use http::Method;
use serde_json::{Value, json};
use sidecar::Pki;
use tests::{ControlPlane, Region, get, until_async};

use super::cluster::{OLD, helm_on, object, ready};

const SERVICES: &str = "/api/v1/namespaces/istio-system/services";

/// The entry that the region's own objects bring.
const ANOTHER: &str = "
apiVersion: v1
kind: Service
metadata: {name: istio-eastwestgateway, namespace: istio-system}
";

#[tokio::test(flavor = "multi_thread")]
async fn each_step_beside_the_old_one_does_what_the_page_says() {
    let Some((helm, binary)) =
        ready("beside::each_step_beside_the_old_one_does_what_the_page_says")
    else {
        return;
    };
    let pki = Pki::new();
    let ap = Region::start(&binary, &pki, 1).await;
    let mut us = Region::start(&binary, &pki, 2).await;
    ap.plane.delete(ANOTHER).await;
    helm_on(&helm, &ap.plane, &["install", "eastwest-gateway", OLD], &[]);
    has_address(&ap.plane, "eastwest-gateway", "10.1.255.7").await;
    us.plane.apply(&ap.remote_secret().await).await;
    us.start_gateway().await;
    us.until_synced(2).await;
    enters_by(&us, &["10.1.255.7:15443"]).await;

    let chart = helm.chart().to_str().expect("UTF-8");
    let values = [
        "--set",
        "networkGateway=network1,labels.istio=eastwestgateway,labels.app=causeway-eastwest",
        "--set",
        "istio.discoverable=false",
    ];
    let new = ["install", "causeway-eastwest", chart];
    helm_on(&helm, &ap.plane, &new, &values);
    has_address(&ap.plane, "causeway-eastwest", "10.1.255.8").await;
    let label = "/metadata/labels/topology.istio.io~1network";
    let hidden = object(&ap.plane, &format!("{SERVICES}/causeway-eastwest")).await;
    assert_eq!(hidden.pointer(label), None);
    let old = object(&ap.plane, &format!("{SERVICES}/eastwest-gateway")).await;
    let workload = "/apis/apps/v1/namespaces/istio-system/deployments/causeway-eastwest";
    let pod = object(&ap.plane, workload).await["spec"]["template"]["metadata"]["labels"].clone();
    let selector = old["spec"]["selector"].as_object().expect("a selector");
    let taken = selector.iter().all(|(key, value)| &pod[key] == value);
    assert!(!taken, "the old Service takes the new Pods: {pod}");
    // Hidden from istiods, not from those who know better.
    let both = ["10.1.255.7:15443", "10.1.255.8:15443"];
    enters_by(&us, &both).await;

    let upgrade = ["upgrade", "causeway-eastwest", chart, "--reuse-values"];
    let set = |value: &str| {
        let value = format!("istio.discoverable={value}");
        helm_on(&helm, &ap.plane, &upgrade, &["--set", &value]);
    };
    set("true");
    let found = object(&ap.plane, &format!("{SERVICES}/causeway-eastwest")).await;
    assert_eq!(found.pointer(label), Some(&json!("network1")));
    assert_eq!(found["metadata"]["uid"], hidden["metadata"]["uid"]);
    assert_eq!(found["status"], hidden["status"]);

    // Out of view, back, and out again.
    label_old(&ap.plane, Value::Null).await;
    enters_by(&us, &["10.1.255.8:15443"]).await;
    label_old(&ap.plane, json!("network1")).await;
    enters_by(&us, &both).await;
    set("false");
    let hidden = object(&ap.plane, &format!("{SERVICES}/causeway-eastwest")).await;
    assert_eq!(hidden.pointer(label), None);
    set("true");

    let old = ["uninstall", "eastwest-gateway"];
    helm_on(&helm, &ap.plane, &old, &[]);
    enters_by(&us, &["10.1.255.8:15443"]).await;
}

/// What a cloud gives it.
async fn has_address(plane: &ControlPlane, service: &str, ip: &str) {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service, "namespace": "istio-system"},
        "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
    });
    plane.apply(&object.to_string()).await;
}

/// `kubectl label service eastwest-gateway topology.istio.io/network=...`; without a value it is taken away.
async fn label_old(plane: &ControlPlane, network: Value) {
    let body = json!({"metadata": {"labels": {"topology.istio.io/network": network}}});
    let path = format!("{SERVICES}/eastwest-gateway");
    let kind = "application/merge-patch+json";
    let body = body.to_string().into_bytes();
    let changed: Result<Value, _> = plane.api().change(Method::PATCH, &path, kind, body).await;
    changed.unwrap_or_else(|fault| panic!("{path}: {fault}"));
}

/// Waits until the gateway enters network1 at these addresses and no others.
async fn enters_by(from: &Region, expected: &[&str]) {
    until_async(
        &format!("network1 is entered by {expected:?}"),
        async || {
            let networks = get(from.admin(), "/networks").await.json();
            let mut all = networks["networks"].as_array().into_iter().flatten();
            let gateways = all.find(|one| one["network"] == "network1");
            let gateways = gateways.and_then(|one| one["gateways"].as_array());
            let gateways = gateways.into_iter().flatten();
            let mut found: Vec<&str> = gateways.filter_map(|one| one["address"].as_str()).collect();
            found.sort_unstable();
            found == expected
        },
    )
    .await;
}
