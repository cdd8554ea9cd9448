//! One cluster against an API server in process: ceilings, kinds that may not be read, another cluster at the same address.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::kubernetes::facts::Kind;
use crate::kubernetes::status::State;
use crate::kubernetes::testing::{Fake, Reply};

const SERVICES: &str = "/api/v1/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

struct Rig {
    cluster: Cluster,
    hub: mpsc::Receiver<(ClusterId, u64, Message)>,
    status: ClusterStatus,
}

fn access(server: &str) -> Box<Access> {
    with_token(server, "t")
}

fn with_token(server: &str, token: &str) -> Box<Access> {
    Box::new(Access {
        server: server.into(),
        authority: None,
        tls_server_name: None,
        insecure: false,
        proxy: None,
        token: Some(Secret::new(token)),
        certificate: None,
    })
}

fn rig(servers: &[(&'static str, &Fake)], ceilings: Ceilings) -> Rig {
    let servers: Vec<(&str, Fake)> = servers
        .iter()
        .map(|(name, fake)| (*name, Fake::clone(fake)))
        .collect();
    let connect: Connect = Arc::new(move |access| {
        let found = servers.iter().find(|(name, _)| *name == access.server);
        let (_, fake) = found.ok_or(ClientError::Unusable("server"))?;
        Ok(fake.api_with_token("t"))
    });
    let (sender, hub) = mpsc::channel(100);
    let ear = Ear {
        cluster: "eu".into(),
        life: 7,
        hub: sender,
    };
    Rig {
        cluster: Cluster::remote(connect, ceilings, ear, None),
        hub,
        status: ClusterStatus::default(),
    }
}

impl Rig {
    fn reach(&self, server: &str) {
        self.cluster
            .tell(Command::Use(access(server), SecretName::default()));
    }

    /// The next changes, each as its kind and how many objects a reset has.
    async fn changes(&mut self) -> Vec<String> {
        loop {
            let (_, life, message) = self.hub.recv().await.expect("it goes on");
            assert_eq!(life, 7);
            match message {
                Message::Status(status) => self.status = *status,
                Message::Changes(changes) => return changes.iter().map(said).collect(),
            }
        }
    }

    /// Waits for a status, and forbids changes meanwhile.
    async fn state(&mut self, wanted: impl Fn(&ClusterStatus) -> bool) {
        while !wanted(&self.status) {
            let waited = tokio::time::timeout(Duration::from_secs(7200), self.hub.recv()).await;
            match waited.map(|message| message.expect("it goes on").2) {
                Ok(Message::Status(status)) => self.status = *status,
                Ok(Message::Changes(changes)) => panic!("{changes:?}"),
                Err(_) => panic!("it never came, but {:#?}", self.status),
            }
        }
    }

    /// Waits for a status, whatever changes meanwhile.
    async fn status(&mut self, wanted: impl Fn(&ClusterStatus) -> bool) {
        while !wanted(&self.status) {
            let (_, _, message) = self.hub.recv().await.expect("it goes on");
            if let Message::Status(status) = message {
                self.status = *status;
            }
        }
    }

    fn error(&self) -> String {
        let error = self.status.last_error.as_ref();
        error.map_or_else(String::new, |error| error.message.clone())
    }
}

fn said(change: &Change) -> String {
    match change {
        Change::Reset(kind, objects) => format!("{kind}={}", objects.len()),
        Change::Put(fact) => format!("{}+{}", fact.kind(), fact.key().name),
        Change::Delete(kind, key) => format!("{kind}-{}", key.name),
        Change::Unreadable(unreadable) => format!("{}?", unreadable.kind),
    }
}

fn slice(name: &str, endpoints: usize) -> Value {
    let address = |at: usize| json!({"addresses": [format!("10.0.{}.{}", at / 250, at % 250)], "conditions": {}});
    let endpoints: Vec<Value> = (0..endpoints).map(address).collect();
    json!({"metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "hello"}},
        "addressType": "IPv4", "ports": [], "endpoints": endpoints})
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_everything_is_there() {
    let fake = Fake::default();
    fake.put(SLICES, slice("a", 2));
    for _ in 0..3 {
        fake.script(SERVICES, Reply::Status(500, json!({})));
    }
    let mut rig = rig(&[("https://eu", &fake)], Ceilings::default());
    rig.state(|status| status.state == State::Connecting).await;
    rig.reach("https://eu");
    rig.state(|status| status.state == State::Syncing && status.last_error.is_some())
        .await;
    assert!(rig.error().contains("Service: ") && rig.error().contains("500"));
    let first = ["Service=0", "EndpointSlice=1", "Node=0", "Namespace=0"];
    assert_eq!(rig.changes().await, first);
    rig.state(|status| status.state == State::Synced && status.last_error.is_none())
        .await;
    rig.state(|status| status.endpoints == 2).await;
    fake.delete(SLICES, "default", "a");
    assert_eq!(rig.changes().await, ["EndpointSlice-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_brings_too_much_is_frozen_and_comes_back() {
    let fake = Fake::default();
    fake.put(SLICES, slice("a", 2));
    let ceilings = Ceilings {
        endpoints: 5,
        ..Ceilings::default()
    };
    let mut rig = rig(&[("https://eu", &fake)], ceilings);
    rig.reach("https://eu");
    rig.changes().await;
    rig.state(|status| status.state == State::Synced).await;
    fake.put(SLICES, slice("b", 4));
    rig.state(|status| status.state == State::Frozen).await;
    assert!(
        rig.error()
            .contains("6 endpoints, more than the ceiling of 5"),
        "{}",
        rig.error()
    );
    assert!(rig.error().contains("discovery.ceilings.endpoints"));
    fake.put(SLICES, slice("b", 3));
    assert_eq!(rig.changes().await[1], "EndpointSlice=2", "after a while");
    rig.state(|status| status.state == State::Synced).await;
}

/// What was frozen is known all the same: the first list after it is no more believed than any other.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_comes_back_empty_from_being_frozen_is_doubted() {
    let fake = Fake::default();
    fake.put(SLICES, slice("a", 2));
    let ceilings = Ceilings {
        endpoints: 5,
        ..Ceilings::default()
    };
    let mut rig = rig(&[("https://eu", &fake)], ceilings);
    rig.reach("https://eu");
    rig.changes().await;
    rig.state(|status| status.state == State::Synced).await;
    fake.put(SLICES, slice("b", 4));
    rig.state(|status| status.state == State::Frozen).await;
    fake.put(SLICES, slice("b", 3));
    let empty = json!({"metadata": {"resourceVersion": "1"}, "items": []});
    fake.script(&format!("{SLICES}?limit"), Reply::Status(200, empty));
    assert_eq!(rig.changes().await[1], "EndpointSlice=2", "the second list");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_too_large_freezes_too() {
    let fake = Fake::default();
    let mut rig = rig(
        &[("https://eu", &fake)],
        Ceilings {
            objects: 3,
            ..Ceilings::default()
        },
    );
    rig.reach("https://eu");
    rig.changes().await;
    for name in ["a", "b", "c", "d"] {
        fake.put(SLICES, slice(name, 1));
    }
    for _ in 0..3 {
        assert!(rig.changes().await[0].starts_with("EndpointSlice+"));
    }
    rig.state(|status| status.state == State::Frozen).await;
    assert!(
        rig.error()
            .contains("4 objects, more than the ceiling of 3"),
        "{}",
        rig.error()
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_that_may_not_be_read_are_done_without() {
    let fake = Fake::default();
    fake.put(SLICES, slice("a", 1));
    for _ in 0..100 {
        fake.script(
            "/api/v1/nodes",
            Reply::Status(403, json!({"message": "no nodes"})),
        );
    }
    let mut rig = rig(&[("https://eu", &fake)], Ceilings::default());
    rig.reach("https://eu");
    assert_eq!(
        rig.changes().await,
        ["Service=0", "EndpointSlice=1", "Namespace=0"]
    );
    rig.state(|status| status.state == State::Synced && status.last_error.is_some())
        .await;
    assert!(rig.error().contains("Node: ") && rig.error().contains("no nodes"));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_to_a_server_with_less_to_read_waits_for_all_of_it() {
    let (old, new) = (Fake::default(), Fake::default());
    for fake in [&old, &new] {
        fake.put(SLICES, slice("a", 1));
    }
    for _ in 0..5 {
        new.script(
            "/api/v1/nodes",
            Reply::Status(403, json!({"message": "no nodes"})),
        );
    }
    let mut rig = rig(
        &[("https://old", &old), ("https://new", &new)],
        Ceilings::default(),
    );
    rig.reach("https://old");
    rig.changes().await;
    rig.state(|status| status.state == State::Synced).await;
    rig.reach("https://new");
    rig.state(|status| {
        status
            .pending
            .as_ref()
            .is_some_and(|it| it.contains("no nodes"))
    })
    .await;
    assert_eq!(rig.status.server, "https://old");
    assert_eq!(rig.changes().await.len(), 4, "in one step");
    rig.state(|status| status.server == "https://new" && status.generation == 2)
        .await;
    rig.reach("https://nowhere");
    rig.state(|status| {
        status
            .pending
            .as_ref()
            .is_some_and(|it| it.contains("cannot be used"))
    })
    .await;
    assert_eq!(rig.status.server, "https://new");
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_read_and_no_longer_when_it_is_not() {
    let fake = Fake::default();
    fake.put(
        "/api/v1/pods",
        json!({"metadata": {"name": "p", "namespace": "default"}}),
    );
    let mut rig = rig(&[("https://eu", &fake)], Ceilings::default());
    rig.reach("https://eu");
    rig.changes().await;
    let wants = |pods, whole_nodes| Command::Want(Wants { pods, whole_nodes });
    rig.cluster.tell(wants(true, false));
    assert_eq!(rig.changes().await, ["Pod=1"]);
    rig.cluster.tell(wants(false, true));
    assert_eq!(rig.changes().await, ["Pod=0"]);
    assert_eq!(rig.changes().await, ["Node=0"], "read anew, in full");
    let nodes = fake
        .asked()
        .into_iter()
        .filter(|asked| asked.path.starts_with("/api/v1/nodes?limit"));
    let accepts: Vec<String> = nodes.map(|asked| asked.accept).collect();
    assert!(accepts[0].contains("PartialObjectMetadataList"));
    assert_eq!(accepts[1], "application/json");
    rig.state(|status| !status.objects.contains_key(Kind::Pod.as_str()))
        .await;
}

#[tokio::test(start_paused = true)]
async fn another_cluster_at_the_same_address_is_not_believed() {
    let fake = Fake::default();
    for at in 0..3 {
        fake.put(SLICES, slice(&format!("a{at}"), 1));
    }
    let mut rig = rig(&[("https://eu", &fake)], Ceilings::default());
    rig.reach("https://eu");
    rig.changes().await;
    rig.state(|status| status.state == State::Synced).await;
    fake.serve(
        "/api/v1/namespaces/kube-system",
        json!({"metadata": {"uid": "another"}}),
    );
    fake.forget(SLICES);
    fake.script(&format!("{SLICES}?watch"), Reply::Status(410, json!({})));
    fake.break_watches();
    rig.state(|status| status.state == State::Frozen).await;
    assert!(rig.error().contains("another cluster"), "{}", rig.error());
}

/// An answer that takes two seconds.
fn slowly(answer: &Value) -> Reply {
    let (sender, pieces) = futures::channel::mpsc::unbounded();
    let sent = sender.unbounded_send(answer.to_string().into());
    sent.expect("it is read later");
    // Only the time ends it.
    std::mem::forget(sender);
    Reply::Watch(pieces, 2)
}

/// A Secret that changes a hundred times a second, each time to another server, and one that does so to another token: none of
/// the versions would ever be tried to its end if each took the place of the one before at once.
#[tokio::test(start_paused = true)]
async fn a_secret_that_changes_without_end_is_followed_nevertheless() {
    let (old, one, two) = (Fake::default(), Fake::default(), Fake::default());
    for fake in [&old, &one, &two] {
        fake.put(SLICES, slice("a", 1));
    }
    let list = json!({"metadata": {"resourceVersion": "1"}, "items": []});
    for fake in [&one, &two] {
        for _ in 0..2_000 {
            fake.script("/api/v1/services?limit", slowly(&list));
            fake.script("/kube-system", slowly(&json!({"metadata": {"uid": "u"}})));
        }
    }
    let servers = [
        ("https://old", &old),
        ("https://one", &one),
        ("https://two", &two),
    ];
    let mut rig = rig(&servers, Ceilings::default());
    rig.reach("https://old");
    rig.status(|status| status.state == State::Synced).await;

    let pace = Duration::from_millis(10);
    let mut at = 0;
    let mut storm = async |rig: &mut Rig, wanted: u64, change: &dyn Fn(u32) -> Box<Access>| {
        for _ in 0..1_000 {
            at += 1;
            let change = Command::Use(change(at), SecretName::default());
            rig.cluster.tell(change);
            let told = tokio::time::timeout(pace, rig.status(|status| status.generation >= wanted));
            if told.await.is_ok() {
                return;
            }
        }
        panic!(
            "ten seconds of changes, and none was taken: {:?}",
            rig.status
        );
    };
    storm(&mut rig, 2, &|at| {
        access(["https://one", "https://two"][at as usize % 2])
    })
    .await;
    let sessions = |fake: &Fake| {
        let asked = fake.asked().into_iter();
        let lists = asked.filter(|asked| asked.path.starts_with("/api/v1/services?limit"));
        lists.count()
    };
    let begun = sessions(&one) + sessions(&two);
    assert!(begun <= 2, "{begun} were begun in two seconds");

    // The last word counts.
    rig.reach("https://one");
    rig.status(|status| status.server == "https://one" && status.state == State::Synced)
        .await;
    let generation = rig.status.generation;
    storm(&mut rig, generation + 1, &|at| {
        with_token("https://one", &at.to_string())
    })
    .await;
}
