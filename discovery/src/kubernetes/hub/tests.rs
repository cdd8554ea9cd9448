//! Discovery as a whole against API servers in process: from objects and Secrets to snapshots and status.

mod disk;

use std::path::PathBuf;
use std::sync::Mutex;

use model::NetworkId;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::client::{ClientError, Credential};
use crate::kubernetes::secret::Secret;
use crate::kubernetes::settings::Given;
use crate::kubernetes::source::{Source, start_with};
use crate::kubernetes::status::State;
use crate::kubernetes::testing::{Fake, Reply};

const SECRETS: &str = "/api/v1/namespaces/istio-system/secrets";
const SERVICES: &str = "/api/v1/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const PODS: &str = "/api/v1/pods";
const GATEWAYS: &str = "/apis/networking.istio.io/v1beta1/gateways";
const HELLO: &str = "hello.default.svc.cluster.local";

/// API servers by the host in kubeconfigs.
type Servers = Arc<Mutex<BTreeMap<String, Fake>>>;

struct Rig {
    own: Fake,
    servers: Servers,
    source: Source,
}

impl Rig {
    async fn start(own: Fake) -> Self {
        Self::start_from(own, Servers::default(), None).await
    }

    /// The same with servers that are there already, and a folder to keep what is known in.
    async fn start_from(own: Fake, servers: Servers, disk: Option<PathBuf>) -> Self {
        let (home, settings, connect) = Self::parts(&own, &servers, disk);
        let source = start_with(home, settings, connect)
            .await
            .expect("it starts");
        Self {
            own,
            servers,
            source,
        }
    }

    /// What a source is started with.
    fn parts(own: &Fake, servers: &Servers, disk: Option<PathBuf>) -> (Home, Settings, Connect) {
        let known = servers.clone();
        let connect: Connect = Arc::new(move |access| {
            let known = known.lock().expect("not poisoned");
            let fake = known
                .get(&access.server)
                .ok_or(ClientError::Unusable("server"))?;
            let token = access.token.as_ref().map_or("", Secret::reveal);
            Ok(fake.api_with_token(token))
        });
        let settings = Settings {
            me: Given {
                cluster: "ap".into(),
                network: "network1".into(),
                locality: "ap/1".into(),
                namespace: "istio-system".into(),
                labels: BTreeMap::from([("istio".into(), "eastwestgateway".into())]),
                workload: "gateway".into(),
            },
            secret_namespaces: vec!["istio-system".into(), "elsewhere".into()],
            disk,
            ..Settings::default()
        };
        let home = Home {
            api: own.api(),
            namespace: "default".into(),
            server: "https://ap".into(),
            authority: None,
            credential: Credential::default(),
        };
        (home, settings, connect)
    }

    fn server(&self, name: &str, fake: &Fake) {
        let mut servers = self.servers.lock().expect("not poisoned");
        servers.insert(name.into(), fake.clone());
    }

    /// Waits until the endpoints of `hello` are these, sorted.
    async fn endpoints(&mut self, wanted: &[&str]) {
        let wanted: Vec<String> = wanted.iter().map(|it| (*it).to_owned()).collect();
        let seen = |snapshot: &Arc<Snapshot>| endpoints(snapshot) == wanted;
        let waited = self.source.snapshots.wait_for(seen);
        let waited = tokio::time::timeout(Duration::from_secs(3600), waited).await;
        if !matches!(waited, Ok(Ok(_))) {
            drop(waited);
            let known = endpoints(&self.source.snapshots.borrow());
            let status = self.source.status.borrow().clone();
            panic!("{wanted:?} never came, but {known:?}: {status:#?}");
        }
    }

    async fn status(&mut self, wanted: impl Fn(&Status) -> bool) -> Status {
        let waited = self.source.status.wait_for(wanted);
        let waited = tokio::time::timeout(Duration::from_secs(3600), waited).await;
        if let Ok(Ok(status)) = waited {
            return status.clone();
        }
        drop(waited);
        panic!("it never came: {:#?}", *self.source.status.borrow());
    }

    async fn state(&mut self, cluster: &str, state: State) -> Status {
        let id = ClusterId::from(cluster);
        self.status(|status| status.clusters.get(&id).is_some_and(|it| it.state == state))
            .await
    }
}

fn endpoints(snapshot: &Snapshot) -> Vec<String> {
    let host = Hostname::parse(HELLO).expect("a host name");
    let service = snapshot.service(&host);
    let all = service
        .into_iter()
        .flat_map(|service| service.endpoints.iter());
    let mut all: Vec<String> = all.map(|endpoint| endpoint.address.to_string()).collect();
    all.sort();
    all
}

fn service(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "ports": [{"port": 5000, "targetPort": 9898, "protocol": "TCP"}]}})
}

fn slice(name: &str, address: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "hello"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 9898, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": name}}]})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "labels": {"security.istio.io/tlsMode": "istio"}}})
}

fn gateway() -> Value {
    json!({"metadata": {"name": "cross-network-gateway", "namespace": "istio-system"},
        "spec": {"selector": {"istio": "eastwestgateway"}, "servers": [{
            "port": {"number": 15443, "name": "tls", "protocol": "TLS"},
            "tls": {"mode": "AUTO_PASSTHROUGH"}, "hosts": ["*.local"]}]}})
}

/// A cluster in a network, with `hello` on one address.
fn cluster(network: &str, address: &str) -> Fake {
    let fake = Fake::default();
    let system = json!({"metadata": {"name": "istio-system", "labels": {"topology.istio.io/network": network}}});
    fake.put("/api/v1/namespaces", system);
    fake.put(SERVICES, service("hello"));
    fake.put(SLICES, slice("hello-1", address));
    fake.put(PODS, pod("hello-1"));
    fake
}

fn gateway_of(network: &str, ip: &str) -> Value {
    json!({"metadata": {"name": "eastwest", "namespace": "istio-system", "labels": {"topology.istio.io/network": network}},
        "spec": {"type": "LoadBalancer", "ports": [{"name": "tls", "port": 15443, "protocol": "TCP"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": ip}]}}})
}

fn with_istio(fake: &Fake) {
    fake.put(GATEWAYS, gateway());
    fake.serve(
        "/apis/networking.istio.io",
        json!({"versions": [{"version": "v1beta1"}]}),
    );
    fake.serve(
        "/apis/networking.istio.io/v1beta1",
        json!({"resources": [{"name": "gateways"}]}),
    );
}

fn own() -> Fake {
    let fake = cluster("network1", "10.1.0.1");
    with_istio(&fake);
    fake
}

/// A remote Secret whose kubeconfigs have these servers and tokens.
fn secret(name: &str, clusters: &[(&str, &str, &str)]) -> Value {
    let mut data = serde_json::Map::new();
    for (id, server, token) in clusters {
        let config = format!(
            "clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
        );
        let bytes = k8s_openapi::ByteString(config.into_bytes());
        data.insert((*id).into(), serde_json::to_value(bytes).expect("base64"));
    }
    json!({"metadata": {"name": name, "namespace": "istio-system", "labels": {"istio/multiCluster": "true"}}, "data": data})
}

#[tokio::test(start_paused = true)]
async fn our_own_cluster_and_a_remote_one_become_one_snapshot() {
    let mut rig = Rig::start(own()).await;
    rig.endpoints(&["10.1.0.1"]).await;
    let eu = cluster("network3", "10.3.0.1");
    eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    rig.server("https://eu", &eu);
    rig.own.put(
        SECRETS,
        secret("s", &[("eu", "https://eu", "t"), ("ap", "https://ap", "t")]),
    );
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    let snapshot = rig.source.snapshots.borrow().clone();
    let network = snapshot.networks.get(&NetworkId::from("network3"));
    let gateways = network.map(|network| network.gateways[0].address.to_string());
    assert_eq!(gateways.as_deref(), Some("203.0.113.3:15443"));
    let status = rig
        .status(|status| status.ready && status.clusters.len() == 2)
        .await;
    assert_eq!(
        status.clusters[&ClusterId::from("eu")]
            .secret
            .as_ref()
            .map(|it| it.to_string())
            .as_deref(),
        Some("istio-system/s")
    );

    eu.put(SLICES, slice("hello-2", "10.3.0.2"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2"]).await;
    rig.own.delete(SECRETS, "istio-system", "s");
    rig.endpoints(&["10.1.0.1"]).await;
    rig.status(|status| status.clusters.len() == 1).await;
    // Nobody watches it any more.
    assert!(
        eu.asked()
            .iter()
            .all(|asked| asked.authorization == "Bearer t")
    );
}

#[tokio::test(start_paused = true)]
async fn istios_kinds_are_found_when_they_come_later() {
    let fake = cluster("network1", "10.1.0.1");
    let mut rig = Rig::start(fake.clone()).await;
    rig.state("ap", State::Synced).await;
    rig.endpoints(&[]).await;
    with_istio(&fake);
    rig.endpoints(&["10.1.0.1"]).await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_other_networks_are_read_only_where_a_subset_needs_them() {
    let fake = own();
    let mut rig = Rig::start(fake.clone()).await;
    let eu = cluster("network3", "10.3.0.1");
    eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    rig.server("https://eu", &eu);
    fake.put(SECRETS, secret("s", &[("eu", "https://eu", "t")]));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    rig.state("eu", State::Synced).await;
    assert!(!eu.asked().iter().any(|asked| asked.path.starts_with(PODS)));
    assert!(
        !eu.asked()
            .iter()
            .any(|asked| asked.path.contains("istio.io")),
        "only of our own"
    );
    let rules = "/apis/networking.istio.io/v1beta1/destinationrules";
    fake.put(
        rules,
        json!({"metadata": {"name": "hello", "namespace": "default"},
        "spec": {"host": HELLO, "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}}),
    );
    fake.serve(
        "/apis/networking.istio.io/v1beta1",
        json!({"resources": [{"name": "gateways"}, {"name": "destinationrules"}]}),
    );
    eu.until(|asked| asked.iter().any(|asked| asked.path.starts_with(PODS)))
        .await;
    assert!(eu.asked().iter().any(
        |asked| asked.path.starts_with(PODS) && asked.accept.contains("PartialObjectMetadata")
    ));
}

/// The new kubeconfig leads to a server that was started anew and has not read its data back yet.
#[tokio::test(start_paused = true)]
async fn a_rotation_to_a_server_that_lists_nothing_at_first_takes_nothing_away() {
    let fake = own();
    let mut rig = Rig::start(fake.clone()).await;
    let (old, new) = (
        cluster("network3", "10.3.0.1"),
        cluster("network3", "10.3.0.1"),
    );
    for (name, server) in [("https://old", &old), ("https://new", &new)] {
        server.put(SERVICES, gateway_of("network3", "203.0.113.3"));
        rig.server(name, server);
    }
    fake.put(SECRETS, secret("s", &[("eu", "https://old", "t")]));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    let mut snapshots = rig.source.snapshots.clone();
    let losses = tokio::spawn(async move {
        let mut losses = Vec::new();
        while snapshots.changed().await.is_ok() {
            let known = endpoints(&snapshots.borrow_and_update());
            if !known.contains(&"10.3.0.1".to_owned()) {
                losses.push(known);
            }
        }
        losses
    });
    let empty = json!({"metadata": {"resourceVersion": "1"}, "items": []});
    for list in [SERVICES, SLICES] {
        new.script(&format!("{list}?limit"), Reply::Status(200, empty.clone()));
    }
    fake.put(SECRETS, secret("s", &[("eu", "https://new", "t")]));
    let eu = ClusterId::from("eu");
    rig.status(|status| status.clusters[&eu].generation == 2)
        .await;
    new.put(SLICES, slice("hello-2", "10.3.0.2"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2"]).await;
    drop(rig);
    assert_eq!(losses.await.expect("it ends"), Vec::<Vec<String>>::new());
}

#[tokio::test(start_paused = true)]
async fn a_rotation_never_takes_an_endpoint_away() {
    let fake = own();
    let mut rig = Rig::start(fake.clone()).await;
    let (old, new) = (
        cluster("network3", "10.3.0.1"),
        cluster("network3", "10.3.0.1"),
    );
    for server in [&old, &new] {
        server.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    }
    new.put(SLICES, slice("hello-2", "10.3.0.2"));
    rig.server("https://old", &old);
    rig.server("https://new", &new);
    fake.put(SECRETS, secret("s", &[("eu", "https://old", "t")]));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;

    // Every snapshot from here on has it.
    let mut snapshots = rig.source.snapshots.clone();
    let watching = tokio::spawn(async move {
        while snapshots.changed().await.is_ok() {
            let known = endpoints(&snapshots.borrow_and_update());
            assert!(known.contains(&"10.3.0.1".to_owned()), "{known:?}");
        }
    });
    new.script(SLICES, Reply::Never);
    for _ in 0..3 {
        new.script(SERVICES, Reply::Status(500, json!({})));
    }
    fake.put(SECRETS, secret("s", &[("eu", "https://new", "t")]));
    let eu = ClusterId::from("eu");
    rig.status(|status| {
        status.clusters[&eu]
            .pending
            .as_ref()
            .is_some_and(|it| it.contains("500"))
    })
    .await;
    // The old one serves meanwhile.
    old.put(SLICES, slice("hello-9", "10.3.0.9"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.9"]).await;
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2"]).await;
    let status = rig
        .status(|status| status.clusters[&eu].generation == 2)
        .await;
    assert_eq!(status.clusters[&eu].pending, None);
    drop(rig);
    watching.await.expect("no endpoint was lost");
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_tried_before_it_counts_and_watches_go_on() {
    let fake = own();
    let mut rig = Rig::start(fake.clone()).await;
    let eu = cluster("network3", "10.3.0.1");
    eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    eu.accept_only("one");
    rig.server("https://eu", &eu);
    fake.put(SECRETS, secret("s", &[("eu", "https://eu", "one")]));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    let id = ClusterId::from("eu");

    fake.put(SECRETS, secret("s", &[("eu", "https://eu", "wrong")]));
    rig.status(|status| {
        status.clusters[&id]
            .pending
            .as_ref()
            .is_some_and(|it| it.contains("401"))
    })
    .await;
    eu.break_watches();
    eu.put(SLICES, slice("hello-2", "10.3.0.2"));
    assert!(
        rig.source.status.borrow().clusters[&id]
            .last_error
            .is_none(),
        "the old token is in force"
    );

    // It is refused for a while, as the new one is: that does not make the new one better.
    eu.accept_only("neither");
    eu.break_watches();
    rig.status(|status| status.clusters[&id].last_error.is_some())
        .await;
    eu.accept_only("one");
    rig.status(|status| status.clusters[&id].last_error.is_none())
        .await;
    assert_eq!(rig.source.status.borrow().clusters[&id].generation, 1);

    let lists = || {
        eu.asked()
            .iter()
            .filter(|asked| asked.path.contains("limit="))
            .count()
    };
    let before = lists();
    eu.accept_only("two");
    fake.put(SECRETS, secret("s", &[("eu", "https://eu", "two")]));
    rig.status(|status| status.clusters[&id].generation == 2)
        .await;
    eu.put(SLICES, slice("hello-3", "10.3.0.3"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2", "10.3.0.3"])
        .await;
    assert_eq!(lists(), before, "nothing was listed again");
}

#[tokio::test(start_paused = true)]
async fn a_bad_kubeconfig_keeps_what_was_there_and_is_reported() {
    let fake = own();
    let mut rig = Rig::start(fake.clone()).await;
    let eu = cluster("network3", "10.3.0.1");
    eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    rig.server("https://eu", &eu);
    fake.put(
        SECRETS,
        secret("bad", &[("us", "http://us", "very-secret-token")]),
    );
    let status = rig.state("us", State::Refused).await;
    let pending = status.clusters[&ClusterId::from("us")].pending.clone();
    assert!(pending.is_some_and(|it| it.contains("not https") && it.contains("istio-system/bad")));

    fake.put(
        SECRETS,
        secret("s", &[("eu", "https://eu", "very-secret-token")]),
    );
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    fake.put(
        SECRETS,
        secret("s", &[("eu", "ftp://eu", "very-secret-token")]),
    );
    let id = ClusterId::from("eu");
    let status = rig
        .status(|status| status.clusters[&id].pending.is_some())
        .await;
    assert_eq!(status.clusters[&id].state, State::Synced);
    eu.put(SLICES, slice("hello-2", "10.3.0.2"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2"]).await;
    let shown = serde_json::to_string(&*rig.source.status.borrow()).expect("JSON");
    assert!(!shown.contains("very-secret"), "{shown}");
}

/// Two namespaces name one cluster: the first owner stays, the other takes over when it goes, and no endpoint is lost by it.
#[tokio::test(start_paused = true)]
async fn of_two_namespaces_that_name_a_cluster_the_second_takes_over() {
    const ELSEWHERE: &str = "/api/v1/namespaces/elsewhere/secrets";
    let fake = own();
    fake.serve("/api/v1/namespaces/elsewhere", json!({}));
    let mut rig = Rig::start(fake.clone()).await;
    let eu = cluster("network3", "10.3.0.1");
    eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    rig.server("https://eu", &eu);
    fake.put(SECRETS, secret("first", &[("eu", "https://eu", "one")]));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    let mut second = secret("second", &[("eu", "https://eu", "two")]);
    second["metadata"]["namespace"] = "elsewhere".into();
    fake.put(ELSEWHERE, second);
    let status = rig.status(|status| !status.shadowed.is_empty()).await;
    let shadowed = &status.shadowed[0];
    let names = [&shadowed.secret, &shadowed.owner].map(ToString::to_string);
    assert_eq!(names, ["elsewhere/second", "istio-system/first"]);
    let said = |by: &str| eu.asked().iter().any(|asked| asked.authorization == by);
    assert!(said("Bearer one") && !said("Bearer two"));

    let mut snapshots = rig.source.snapshots.clone();
    let watching = tokio::spawn(async move {
        while snapshots.changed().await.is_ok() {
            let known = endpoints(&snapshots.borrow_and_update());
            assert!(known.contains(&"10.3.0.1".to_owned()), "{known:?}");
        }
    });
    fake.delete(SECRETS, "istio-system", "first");
    let id = ClusterId::from("eu");
    let is_second = |secret: &SecretName| secret.to_string() == "elsewhere/second";
    let status = rig
        .status(|status| {
            let eu = status.clusters.get(&id);
            eu.is_some_and(|eu| eu.secret.as_ref().is_some_and(is_second) && eu.generation == 2)
        })
        .await;
    assert!(status.shadowed.is_empty());
    assert!(said("Bearer two"));
    eu.put(SLICES, slice("hello-2", "10.3.0.2"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2"]).await;
    drop(rig);
    watching.await.expect("no endpoint was lost");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_absent_or_forbidden_keeps_no_other_back() {
    let fake = own();
    let elsewhere = "/namespaces/elsewhere/secrets";
    for _ in 0..4 {
        fake.script(elsewhere, Reply::Status(403, json!({"message": "no"})));
    }
    let mut rig = Rig::start(fake.clone()).await;
    let error = |status: &Status, word: &str| {
        let error = &status.secrets["elsewhere"].last_error;
        error.as_ref().is_some_and(|error| error.contains(word))
    };
    rig.status(|status| error(status, "403")).await;
    let eu = cluster("network3", "10.3.0.1");
    eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    rig.server("https://eu", &eu);
    fake.put(SECRETS, secret("s", &[("eu", "https://eu", "t")]));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    rig.status(|status| error(status, "no such namespace"))
        .await;
    fake.serve("/api/v1/namespaces/elsewhere", json!({}));
    rig.status(|status| status.secrets["elsewhere"].last_error.is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_dies_takes_nothing_with_it() {
    let fake = own();
    let mut rig = Rig::start(fake.clone()).await;
    let eu = cluster("network3", "10.3.0.1");
    eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
    eu.accept_only("t");
    rig.server("https://eu", &eu);
    fake.put(SECRETS, secret("s", &[("eu", "https://eu", "t")]));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    // Its token is revoked.
    eu.accept_only("another");
    eu.break_watches();
    let status = rig.state("eu", State::Stale).await;
    let error = status.clusters[&ClusterId::from("eu")].last_error.clone();
    assert!(error.is_some_and(|error| error.message.contains("401")));
    rig.endpoints(&["10.1.0.1", "10.3.0.1"]).await;
    assert!(status.ready, "what is known is served");
    eu.accept_only("t");
    rig.state("eu", State::Synced).await;
}
