//! Spilling in proportion: slices change on real API servers, and clients are answered in the shares of Envoy's priority vectors,
//! from outside and from inside, and come back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use sidecar::{Backend, Client, HELLO_NAME, Pki};
use tests::{Region, Regions, get, until_async};

use crate::kubernetes::api_server;

/// Requests of a sample, by so many clients: 10 % off is more than four standard deviations.
const SAMPLE: usize = 400;
const CLIENTS: usize = 4;

/// Endpoints of the gateway's own zone, and of the next one in its region.
const ZONES: [usize; 2] = [4, 2];

/// Ready endpoints of each zone, and the shares that follow in percent: zone, next zone, other networks from inside; zone,
/// next zone from outside, where nothing else is ever seen. A tier's health is its ready percentage times 1.4, 100 at most;
/// it gets what the tiers before it leave, and where all together have less than 100, each its part of it.
const STEPS: [([usize; 2], [u64; 3], [u64; 2]); 8] = [
    ([4, 2], [100, 0, 0], [100, 0]),
    ([3, 2], [100, 0, 0], [100, 0]),
    ([2, 2], [70, 30, 0], [70, 30]),
    ([1, 1], [35, 65, 0], [35, 65]),
    ([1, 0], [35, 0, 65], [100, 0]),
    ([0, 1], [0, 70, 30], [0, 100]),
    ([0, 0], [0, 0, 100], [0, 0]),
    ([4, 2], [100, 0, 0], [100, 0]),
];

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: node-2
  labels: {topology.kubernetes.io/region: us-west, topology.kubernetes.io/zone: b}
";

fn node(at: usize) -> &'static str {
    if at <= ZONES[0] { "node-1" } else { "node-2" }
}

fn address(region: u8, at: usize) -> SocketAddr {
    let at = u8::try_from(at).expect("few");
    SocketAddr::from((Ipv4Addr::new(10, region, 0, at), 9898))
}

/// The Pods that the fixture lacks.
fn pods(count: usize) -> String {
    let pod = |at| {
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: hello-{at}, namespace: default, labels: {{app: hello, security.istio.io/tlsMode: istio}}}}
spec: {{nodeName: {}, containers: [{{name: hello, image: hello}}]}}
",
            node(at)
        )
    };
    (2..=count).map(pod).collect()
}

/// The fixture's slice, with as many endpoints; those at these places are ready.
fn slice(region: u8, ready: impl Fn(usize) -> bool, count: usize) -> String {
    let mut text = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hello-abc, namespace: default, labels: {kubernetes.io/service-name: hello}}
addressType: IPv4
ports: [{port: 9898, protocol: TCP}]
endpoints:
"
    .to_owned();
    for at in 1..=count {
        let (ip, node, ready) = (address(region, at).ip(), node(at), ready(at));
        let written = writeln!(
            text,
            "  - {{addresses: [{ip}], nodeName: {node}, targetRef: {{kind: Pod, name: hello-{at}, namespace: default}}, \
             conditions: {{ready: {ready}, serving: {ready}, terminating: false}}}}"
        );
        written.expect("written");
    }
    text
}

/// The shares of the tiers of `hello` at this listener, as `explain` has them.
async fn shares(region: &Region, listener: SocketAddr) -> Vec<u64> {
    let path = format!("/explain?sni={HELLO_NAME}&port={}", listener.port());
    let said = get(region.admin(), &path).await.json();
    let tiers = said["listeners"][0]["tiers"].as_array().cloned();
    let tiers = tiers.unwrap_or_default();
    tiers
        .iter()
        .filter_map(|tier| tier["share"].as_u64())
        .collect()
}

/// How many percent of the sample each answered.
async fn sample(pki: &Pki, listener: SocketAddr) -> BTreeMap<String, f64> {
    let asking = (0..CLIENTS).map(|_| {
        let client = Client::new(pki, listener);
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..SAMPLE / CLIENTS {
                answers.push(client.ask().await.expect("an answer").who);
            }
            answers
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut percent = BTreeMap::new();
    for answers in asking {
        for who in answers.await.expect("it ends") {
            *percent.entry(who).or_default() += 100.0 / SAMPLE as f64;
        }
    }
    percent
}

fn near(percent: &BTreeMap<String, f64>, of: &[&str], expected: f64) {
    let sum: f64 = of.iter().filter_map(|who| percent.get(*who)).sum();
    let exact = expected == 0.0 || expected == 100.0;
    let off = (sum - expected).abs();
    assert!(
        off < if exact { 1e-6 } else { 10.0 },
        "{of:?} answered {sum:.1} %, not {expected} %: {percent:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_spills_in_proportion_and_comes_back() {
    let Some(binary) = api_server("kubernetes_spill::traffic_spills_in_proportion_and_comes_back")
    else {
        return;
    };
    let regions = Regions::start_unhurried(&binary).await;
    let (us, eu) = (&regions.all[1], &regions.all[2]);
    let mut backends = Vec::new();
    for at in 2..=ZONES[0] + ZONES[1] {
        let who = if at <= ZONES[0] { "us" } else { "us-b" };
        let config = regions.pki.server_config(&["istio"]);
        backends.push(
            Backend::start_with(config, who, address(2, at))
                .await
                .expect("it starts"),
        );
    }
    for at in [2, 3] {
        let config = regions.pki.server_config(&["istio"]);
        backends.push(
            Backend::start_with(config, "eu", address(3, at))
                .await
                .expect("it starts"),
        );
    }
    us.plane.apply(NODE).await;
    us.plane.apply(&pods(ZONES[0] + ZONES[1])).await;
    eu.plane.apply(&pods(3)).await;

    for (ready, inside, outside) in STEPS {
        let is_ready = |at: usize| at <= ready[0] || (at > ZONES[0] && at <= ZONES[0] + ready[1]);
        us.plane
            .apply(&slice(2, is_ready, ZONES[0] + ZONES[1]))
            .await;
        let what = format!("with {ready:?} ready the tiers have {inside:?} and {outside:?}");
        until_async(&what, async || {
            shares(us, us.outbound()).await == inside && shares(us, us.inbound()).await == outside
        })
        .await;
        let from_inside = sample(&regions.pki, us.outbound()).await;
        println!("{ready:?} ready, from inside: {from_inside:.1?}");
        near(&from_inside, &["us"], inside[0] as f64);
        near(&from_inside, &["us-b"], inside[1] as f64);
        near(&from_inside, &["ap", "eu"], inside[2] as f64);
        if outside == [0, 0] {
            let refused = Client::new(&regions.pki, us.inbound()).ask().await;
            refused.expect_err("nothing is ready in this network");
            continue;
        }
        let from_outside = sample(&regions.pki, us.inbound()).await;
        println!("{ready:?} ready, from outside: {from_outside:.1?}");
        near(&from_outside, &["us"], outside[0] as f64);
        near(&from_outside, &["us-b"], outside[1] as f64);
    }

    // What spills goes to other networks by their ready endpoints: one in ap, of three in eu all or one.
    us.plane
        .apply(&slice(2, |_| false, ZONES[0] + ZONES[1]))
        .await;
    for (ready, of_eu) in [(3, 75.0), (1, 50.0)] {
        eu.plane.apply(&slice(3, |at| at <= ready, 3)).await;
        let expected = [("network1", 100.0 - of_eu), ("network3", of_eu)];
        let seen = Mutex::new(Vec::new());
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let found = gateways(us).await;
                let holds = found == expected.map(|(network, share)| (network.to_owned(), share));
                *seen.lock().expect("not poisoned") = found;
                if holds {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        assert!(waited.await.is_ok(), "not {expected:?} but {seen:?}");
        let away = sample(&regions.pki, us.outbound()).await;
        println!("{ready} of eu ready, from us: {away:.1?}");
        near(&away, &["ap"], 100.0 - of_eu);
        near(&away, &["eu"], of_eu);
    }
}

/// The shares of other networks' gateways, by network.
async fn gateways(region: &Region) -> Vec<(String, f64)> {
    let path = format!(
        "/explain?sni={HELLO_NAME}&port={}",
        region.outbound().port()
    );
    let said = get(region.admin(), &path).await.json();
    let tiers = said["listeners"][0]["tiers"].as_array().cloned();
    let addresses = tiers.unwrap_or_default().into_iter().flat_map(|tier| {
        let addresses = tier["endpoints"].as_array().cloned();
        addresses.unwrap_or_default()
    });
    let mut found: Vec<(String, f64)> = addresses
        .filter(|one| one["gateway"] == true)
        .filter_map(|one| Some((one["network"].as_str()?.to_owned(), one["share"].as_f64()?)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
