//! Three regions that find each other: real API servers, real TLS, and a gateway in each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use discovery::kubernetes::api::Fault;
use discovery::kubernetes::{client, kubeconfig};
use serde_json::Value;
use sidecar::Client;
use tests::{CannotBuild, Region, Regions, build, in_namespace, say, until_async};

const V1BETA1: &str = include_str!("../fixtures/istio-1.17.yaml");
const EXPOSE: &str = include_str!("../fixtures/expose.yaml");

/// The API server, or nothing after saying why the test is skipped.
pub(crate) fn api_server(test: &str) -> Option<PathBuf> {
    match build() {
        Ok(binary) => in_namespace(test).then_some(binary),
        Err(CannotBuild(why)) => {
            say(&format!("== SKIPPED {test}: {why}"));
            None
        }
    }
}

/// Waits until a local workload of this region has been answered by each of these clusters, and gives how often each answered 60.
/// On a busy machine a network can look dead for some seconds to whoever probes it.
async fn answers(regions: &Regions, region: &Region, expected: &[&str]) -> BTreeMap<String, u32> {
    let missing = RefCell::new(expected.to_vec());
    until_async(
        &format!("{} reaches {expected:?}", region.name),
        async || {
            let answer = region.ask(&regions.pki).await;
            if let Ok(who) = answer {
                missing.borrow_mut().retain(|name| *name != who);
            }
            missing.borrow().is_empty()
        },
    )
    .await;
    let mut counts = BTreeMap::new();
    for _ in 0..60 {
        let who = region.ask(&regions.pki).await.expect("an answer");
        *counts.entry(who).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_region_reaches_all_three_and_its_own_first() {
    let Some(binary) = api_server("kubernetes::each_region_reaches_all_three_and_its_own_first")
    else {
        return;
    };
    let regions = Regions::start_unhurried(&binary).await;
    for region in &regions.all {
        let others: Vec<&Region> = regions
            .all
            .iter()
            .filter(|other| other.name != region.name)
            .collect();
        let names: Vec<&str> = others.iter().map(|other| other.name).collect();
        let local = answers(&regions, region, &[region.name]).await;
        assert_eq!(local.get(region.name), Some(&60), "local first: {local:?}");
        // Every other region, through its own gateway.
        for other in &others {
            let answer = Client::new(&regions.pki, other.inbound()).ask().await;
            assert_eq!(answer.expect("an answer").who, other.name);
        }
        region.set_ready(false).await;
        let spilled = answers(&regions, region, &names).await;
        assert!(!spilled.contains_key(region.name), "{spilled:?}");
        // Inbound traffic is never sent on to another network.
        let refused = Client::new(&regions.pki, region.inbound()).ask().await;
        assert!(refused.is_err(), "nothing is ready in this network");
        region.set_ready(true).await;
        let back = answers(&regions, region, &[region.name]).await;
        assert_eq!(back.get(region.name), Some(&60), "it comes back: {back:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_that_is_printed_reads_enough_and_no_secrets() {
    let Some(binary) =
        api_server("kubernetes::the_reader_that_is_printed_reads_enough_and_no_secrets")
    else {
        return;
    };
    let pki = sidecar::Pki::new();
    let region = Region::start(&binary, &pki, 1).await;
    let secret: Value = {
        let yaml = region.remote_secret().await;
        serde_saphyr::from_str(yaml.trim_end().trim_end_matches("---")).expect("YAML")
    };
    let config = secret["stringData"]["ap"].as_str().expect("a kubeconfig");
    let access = kubeconfig::check(config.as_bytes(), kubeconfig::Allow::default());
    let (api, _token) = client::remote(&access.expect("it is taken")).expect("a connection");
    for path in [
        "/api/v1/services",
        "/api/v1/pods",
        "/api/v1/nodes",
        "/api/v1/namespaces",
        "/apis/discovery.k8s.io/v1/endpointslices",
    ] {
        let list: Value = api
            .get(path)
            .await
            .unwrap_or_else(|fault| panic!("{path}: {fault}"));
        assert!(list["items"].is_array(), "{path}");
    }
    for path in [
        "/api/v1/secrets",
        "/api/v1/namespaces/istio-system/secrets",
        "/api/v1/configmaps",
    ] {
        let answer = api.get::<Value>(path).await;
        assert!(
            matches!(answer, Err(Fault::Forbidden(_))),
            "{path}: {answer:?}"
        );
    }
}

/// As with Istio 1.17, whose kinds are served in v1beta1 alone; and they come when the gateway has long been running.
#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_come_later_in_an_old_version_are_picked_up() {
    let Some(binary) =
        api_server("kubernetes::kinds_that_come_later_in_an_old_version_are_picked_up")
    else {
        return;
    };
    let pki = sidecar::Pki::new();
    let mut region = Region::start(&binary, &pki, 1).await;
    region.start_gateway().await;
    region.until_synced(1).await;
    assert!(region.ask(&pki).await.is_err(), "nothing is exposed yet");
    region.plane.apply(V1BETA1).await;
    let gateway = EXPOSE.replace("networking.istio.io/v1", "networking.istio.io/v1beta1");
    region.plane.apply(&gateway).await;
    until_async("the Gateway is seen", async || {
        region.ask(&pki).await.is_ok()
    })
    .await;
}
