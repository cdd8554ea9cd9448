//! A table of everything that an API server can do wrong, a row each, all at once: one gateway, a cluster for each fault, and
//! requests to each of them all the time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gateway::{App, config};
use serde_json::{Value, json};
use sidecar::{Backend, Client, Pki};
use tests::{ApiFake, Fault, base64, get, in_namespace, until, until_async};

/// The cluster, what its API server does, what is reported of it, and as which state (empty: any).
const TABLE: [(&str, Fault, &str, &str); 12] = [
    ("refuse", Fault::Refuse, "cannot be reached", ""),
    ("stall", Fault::Stall, "nothing came", ""),
    ("reset", Fault::ResetMidList, "cannot be reached", ""),
    (
        "401",
        Fault::Status(401),
        "does not accept the credential (401)",
        "",
    ),
    ("403", Fault::Status(403), "does not allow it (403)", ""),
    ("410", Fault::Status(410), "is gone (410)", ""),
    ("429", Fault::Status(429), "asks for patience (429)", ""),
    ("500", Fault::Status(500), "answered 500", ""),
    ("garbage", Fault::Garbage, "cannot be read", ""),
    ("endless", Fault::Endless, "is larger than", "frozen"),
    ("other", Fault::OtherCluster, "another cluster's", "frozen"),
    // It is true again at the second look, so there is nothing to report.
    ("empty", Fault::EmptyOnce, "", ""),
];

/// The same, with a list that is of an older version and lacks one of two services.
const OLDER: &str = "older";

pub(crate) fn address(number: usize, third: u8, port: u16) -> SocketAddr {
    let number = u8::try_from(number).expect("a few");
    SocketAddr::new(Ipv4Addr::new(10, number, third, 1).into(), port)
}

/// What a cluster holds: its network with a gateway, `hello-ID`, and another service, so that a list can lack one.
pub(crate) fn objects(id: &str, number: usize) -> String {
    let slice = |service: &str, fourth: u8| {
        format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: {service}, namespace: default}}
spec: {{ports: [{{port: 5000, targetPort: 9898}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-1, namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
ports: [{{port: 9898, protocol: TCP}}]
endpoints: [{{addresses: [10.{number}.0.{fourth}], conditions: {{ready: true}}}}]
"
        )
    };
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, labels: {{topology.istio.io/network: network-{id}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: gateway, namespace: istio-system, labels: {{topology.istio.io/network: network-{id}}}}}
spec: {{type: LoadBalancer, ports: [{{name: tls, port: 15443}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 10.{number}.255.1}}]}}}}
{}{}",
        slice(&format!("hello-{id}"), 1),
        slice("another", 2)
    )
}

/// One cluster of the table.
struct Cluster {
    id: &'static str,
    number: usize,
    api: ApiFake,
    client: Client,
    /// In place of its network's gateway.
    _backend: Backend,
}

/// Our own cluster with a gateway, and those of the table.
struct Rig {
    own: ApiFake,
    clusters: Vec<Arc<Cluster>>,
    app: App,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn start(ids: &[&'static str]) -> Self {
        let pki = Pki::new();
        let own = ApiFake::start(address(100, 254, 6443), EXPOSE).await;
        let versions = json!({"versions": [{"version": "v1"}]});
        own.serve("/apis/networking.istio.io", versions);
        let kinds = json!({"resources": [{"name": "gateways"}]});
        own.serve("/apis/networking.istio.io/v1", kinds);
        let outbound = address(100, 255, 15444);
        let mut clusters = Vec::new();
        for (at, id) in ids.iter().copied().enumerate() {
            let number = at + 1;
            let api = ApiFake::start(address(number, 254, 6443), &objects(id, number)).await;
            let name = format!("outbound_.5000_._.hello-{id}.default.svc.cluster.local");
            let gateway = address(number, 255, 15443);
            let backend = Backend::start_with(pki.server_config(&["istio"]), id, gateway).await;
            let cluster = Cluster {
                id,
                number,
                client: Client::new(&pki, outbound).named(&name).expect("a name"),
                _backend: backend.expect("it starts"),
                api,
            };
            clusters.push(Arc::new(cluster));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, own.kubeconfig("first")).expect("written");
        let file = folder.path().join("gateway.yaml");
        let text = format!(
            "{{cluster: ap, network: network1, locality: r/z, namespace: istio-system, labels: {{istio: eastwestgateway}},
workers: 1, listeners: [{{address: '{outbound}', role: outbound}}], admin: {{address: '127.0.0.1:0'}},
stats: {{address: '127.0.0.1:0'}}, ready: {{address: '127.0.0.1:0'}}, discovery: {{ceilings: {{listBytes: 1048576}}}},
source: {{kubernetes: {{kubeconfig: '{}', snapshot: ''}}}}}}",
            kubeconfig.display()
        );
        std::fs::write(&file, text).expect("written");
        let (config, _) = config::load(Some(&file), &[]).expect("a good configuration");
        let rig = Self {
            app: App::start(config).await.expect("the gateway starts"),
            own,
            clusters,
            _folder: folder,
        };
        rig.put_secret("first");
        rig
    }

    /// The Secret with all clusters' kubeconfigs, with this token.
    fn put_secret(&self, token: &str) {
        let mut secret = String::from(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: istio-system}\ndata:\n",
        );
        for cluster in &self.clusters {
            let kubeconfig = base64(cluster.api.kubeconfig(token).as_bytes());
            secret.push_str(&format!("  '{}': {kubeconfig}\n", cluster.id));
        }
        self.own.put(&secret);
    }

    async fn status(&self, id: &str) -> Value {
        let answer = get(self.app.addresses().admin, "/source").await;
        let status: Value = serde_json::from_str(&answer.body).expect("JSON");
        status["clusters"][id].clone()
    }

    async fn until_status(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
        until_async(&format!("{id} {what}"), async || {
            wanted(&self.status(id).await)
        })
        .await;
    }

    /// Waits until all clusters of the table are in sync and answer.
    async fn until_all_answer(&self) {
        for cluster in &self.clusters {
            self.until_synced(cluster.id, 2).await;
            until_async(&format!("{} answers", cluster.id), async || {
                cluster.client.ask().await.is_ok()
            })
            .await;
        }
    }

    async fn until_synced(&self, id: &str, endpoints: u64) {
        self.until_status(id, "is in sync", |status| {
            status["state"] == "synced"
                && status["lastError"].is_null()
                && status["endpoints"] == endpoints
        })
        .await;
    }
}

pub(crate) const EXPOSE: &str = include_str!("../fixtures/expose.yaml");

/// Asks every cluster in turn, all the time; each has to be answered by its own.
struct Rounds {
    done: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Rounds {
    fn start(clusters: &[Arc<Cluster>]) -> Self {
        let (done, ended) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, stop) = (done.clone(), ended.clone());
        let clusters = clusters.to_vec();
        let task = tokio::spawn(async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for cluster in &clusters {
                    match cluster.client.ask().await {
                        Ok(answer) if answer.who == cluster.id => {}
                        Ok(answer) => wrong.push(format!("{}: {}", cluster.id, answer.who)),
                        Err(fault) => wrong.push(format!("{}: {fault}", cluster.id)),
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            wrong
        });
        Self { done, ended, task }
    }

    async fn go_on(&self, rounds: u64) {
        let goal = self.done.load(Ordering::Relaxed) + rounds;
        until("every cluster answers", || {
            self.done.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    async fn end(self) -> Vec<String> {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await.expect("it ends")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_api_server_does_no_endpoint_is_lost_and_all_recovers() {
    let test =
        "kubernetes_faults_table::whatever_an_api_server_does_no_endpoint_is_lost_and_all_recovers";
    if !in_namespace(test) {
        return;
    }
    let mut ids: Vec<&str> = TABLE.iter().map(|(id, ..)| *id).collect();
    ids.push(OLDER);
    let rig = Rig::start(&ids).await;
    rig.until_all_answer().await;
    let rounds = Rounds::start(&rig.clusters);
    rounds.go_on(2).await;
    let faults = TABLE.iter().map(|(_, fault, ..)| *fault);
    for (cluster, fault) in rig.clusters.iter().zip(faults.chain([Fault::OlderOnce])) {
        cluster.api.set(Some(fault));
    }
    for (id, fault, says, state) in TABLE {
        rig.until_status(id, &format!("tells of {fault:?}"), |status| {
            let error = status["lastError"]["message"].as_str().unwrap_or_default();
            error.contains(says) && (state.is_empty() || status["state"] == state)
        })
        .await;
        assert_eq!(rig.status(id).await["endpoints"], 2, "{id}");
    }
    for cluster in &rig.clusters {
        if ["empty", OLDER].contains(&cluster.id) {
            // Services and slices, each looked at twice.
            until(&format!("{} is looked at again", cluster.id), || {
                cluster.api.truths() >= 2
            })
            .await;
        }
    }
    rounds.go_on(3).await;
    for Cluster {
        id, number, api, ..
    } in rig.clusters.iter().map(|cluster| &**cluster)
    {
        api.set(None);
        let more = objects(id, *number).replacen(
            "endpoints: [",
            &format!("endpoints: [{{addresses: [10.{number}.0.9], conditions: {{ready: true}}}}, "),
            1,
        );
        api.put(&more);
    }
    for id in &ids {
        rig.until_synced(id, 3).await;
    }
    rounds.go_on(2).await;
    assert_eq!(rounds.end().await, Vec::<String>::new());
}

/// What the rule allows: the same cluster says twice, 5 s apart, that there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn emptiness_that_lasts_is_believed_and_ends() {
    let test = "kubernetes_faults_table::emptiness_that_lasts_is_believed_and_ends";
    if !in_namespace(test) {
        return;
    }
    let rig = Rig::start(&["eu"]).await;
    rig.until_all_answer().await;
    let eu = &rig.clusters[0];
    eu.api.set(Some(Fault::Empty));
    until_async("eu is gone", async || eu.client.ask().await.is_err()).await;
    eu.api.set(None);
    until_async("eu is back", async || eu.client.ask().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_replaced_at_once_by_the_newest() {
    let test = "kubernetes_faults_table::a_revoked_token_is_replaced_at_once_by_the_newest";
    if !in_namespace(test) {
        return;
    }
    let rig = Rig::start(&["eu"]).await;
    rig.until_all_answer().await;
    let rounds = Rounds::start(&rig.clusters);
    let eu = &rig.clusters[0].api;
    eu.accept_only("second");
    rig.until_status("eu", "tells of the 401", |status| {
        let error = status["lastError"]["message"].as_str().unwrap_or_default();
        error.contains("401")
    })
    .await;
    rig.put_secret("second");
    rig.until_synced("eu", 2).await;
    rig.until_status("eu", "has the newer token", |status| {
        status["generation"] == 2
    })
    .await;
    rounds.go_on(2).await;
    assert_eq!(rounds.end().await, Vec::<String>::new());
}
