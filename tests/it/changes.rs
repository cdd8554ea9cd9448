//! The mesh file changes while traffic goes on: nothing is lost that a live endpoint could have served.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gateway::config::Role;
use proxy::close::Reason;
use sidecar::{Backend, Client};
use tests::{Mesh, Place, endpoint, hello_service, mesh_yaml, until};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};

/// Clients that ask without end, without a retry of their own.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: tokio::task::JoinSet<Vec<String>>,
}

impl Load {
    fn start(client: &Client, count: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..count {
            let (client, stop, answered) = (client.clone(), stop.clone(), answered.clone());
            clients.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match client.ask().await {
                        Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(fault) => failures.push(fault.to_string()),
                    }
                }
                failures
            });
        }
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// Waits until so many more were answered.
    async fn more(&self, count: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        until("clients go on", || {
            self.answered.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Ends it; nobody must have failed.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.clients.join_all().await.concat();
        assert!(
            failures.is_empty(),
            "{} failed: {:?}",
            failures.len(),
            failures.first()
        );
        self.answered.load(Ordering::Relaxed)
    }
}

fn listing<'a>(backends: impl Iterator<Item = &'a Backend>) -> String {
    let endpoints = backends.map(|backend| endpoint(backend.address(), HERE));
    mesh_yaml(&[hello_service(endpoints.collect())], &[], &[])
}

/// 1,000 versions of the file, a few milliseconds apart. All endpoints but one come and go, in the file and in truth, and not
/// always at the same time: what is listed may refuse, and what is not may still serve.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_lose_no_connection() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let mut backends = Vec::new();
    for n in 0..6 {
        backends.push(mesh.backend(&format!("us-west/a/{n}")).await);
    }
    let before = mesh.proxy().snapshot_version();
    mesh.write(&listing(backends.iter()));
    until("it is in force", || {
        mesh.proxy().snapshot_version() > before
    })
    .await;
    let load = Load::start(&mesh.client(Role::Inbound), 4);
    // Not random: each endpoint flips with a period of its own.
    for round in 0..1_000_usize {
        let listed = backends
            .iter()
            .enumerate()
            .filter(|(n, _)| *n == 0 || (round / (n + 1)) % 2 == 0);
        mesh.write(&listing(listed.map(|(_, backend)| backend)));
        if round % 10 == 0 {
            let one = &backends[1 + round / 10 % 5];
            if round / 50 % 2 == 0 {
                one.set(sidecar::Behaviour::Refuse)
                    .await
                    .expect("it refuses");
            } else {
                one.revive().await.expect("it serves");
            }
        }
        load.more(1).await;
    }
    let changes = mesh.proxy().snapshot_version() - before;
    let answered = load.end().await;
    assert!(
        answered >= 1_000 && changes > 4,
        "{answered} answers over {changes} snapshots"
    );
    until("all are counted", || mesh.proxy().open() == 0).await;
    let closes = mesh.proxy().totals().closes;
    assert!(
        closes.iter().all(|(_, reason, _)| *reason == Reason::Done),
        "{closes:?}"
    );
}

/// As the kubelet changes a mounted ConfigMap: `mesh.yaml -> ..data/mesh.yaml`, `..data -> ..2026_1`, and `..data` is
/// replaced. The endpoint before moves to another port meanwhile, and the old one is gone only once the change is in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_moves_a_service_to_another_port() {
    let mesh = Mesh::start(V4, |_| {}).await;
    let folder = mesh.file().parent().expect("a folder").to_owned();
    let first = mesh.backend("first").await;
    let version = |name: &str, backend: &Backend| {
        std::fs::create_dir(folder.join(name)).expect("a folder");
        let text = listing(std::iter::once(backend));
        std::fs::write(folder.join(name).join("mesh.yaml"), text).expect("written");
    };
    let point_to = |name: &str| {
        symlink(name, folder.join("..data_tmp")).expect("a link");
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("renamed");
    };
    let before = mesh.proxy().snapshot_version();
    version("..0", &first);
    point_to("..0");
    symlink("..data/mesh.yaml", folder.join("mesh.link")).expect("a link");
    std::fs::rename(folder.join("mesh.link"), mesh.file()).expect("renamed");
    until("it is in force", || {
        mesh.proxy().snapshot_version() > before
    })
    .await;

    let load = Load::start(&mesh.client(Role::Inbound), 2);
    let mut serving = first;
    for n in 1..5 {
        load.more(20).await;
        // The same host, another port.
        let config = mesh.pki.server_config(&["istio"]);
        let address = (serving.address().ip(), 0).into();
        let name = format!("number {n}");
        let next = Backend::start_with(config, &name, address)
            .await
            .expect("an endpoint");
        let before = mesh.proxy().snapshot_version();
        version(&format!("..{n}"), &next);
        point_to(&format!("..{n}"));
        until("it is in force", || {
            mesh.proxy().snapshot_version() > before
        })
        .await;
        // New connections go to the next one; those under way end in their own time.
        serving
            .set(sidecar::Behaviour::Refuse)
            .await
            .expect("it refuses");
        serving.until_open(0).await;
        serving = next;
    }
    load.more(20).await;
    load.end().await;
    assert_eq!(
        mesh.client(Role::Inbound)
            .ask()
            .await
            .expect("an answer")
            .who,
        "number 4"
    );
}
