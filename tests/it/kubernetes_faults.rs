//! What happens to API servers and credentials while traffic runs: no endpoint is lost by it, and every loss that is meant
//! happens.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proxy::config::Role;
use serde_json::Value;
use sidecar::{Client, Pki};
use tests::{CannotBuild, Region, Regions, build, in_namespace, say, until, until_async};
use tokio::task::JoinHandle;

/// As issue after issue of other meshes has it.
const ROTATIONS: u32 = 1_000;

/// After so many, everything that is made once has been made.
const EARLY: u32 = 100;

fn api_server(test: &str) -> Option<PathBuf> {
    match build() {
        Ok(binary) => in_namespace(test).then_some(binary),
        Err(CannotBuild(why)) => {
            say(&format!("== SKIPPED {test}: {why}"));
            None
        }
    }
}

/// A client that asks all the time; each answer must come from this cluster.
struct Traffic {
    asked: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

impl Traffic {
    fn start(pki: &Pki, through: &Region, expected: &'static str) -> Self {
        let client = Client::new(pki, through.outbound());
        let (asked, ended) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, stop) = (asked.clone(), ended.clone());
        let task = tokio::spawn(async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match client.ask().await {
                    Ok(answer) if answer.who == expected => {}
                    Ok(answer) => wrong.push(format!("answered by {}", answer.who)),
                    Err(fault) => wrong.push(fault.to_string()),
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            wrong
        });
        Self { asked, ended, task }
    }

    /// Waits until so many more questions have been answered.
    async fn go_on(&self, more: u64) {
        let goal = self.asked.load(Ordering::Relaxed) + more;
        until("traffic goes on", || {
            self.asked.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    async fn end(self) -> Vec<String> {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await.expect("the client")
    }
}

/// Looks at the outbound route of `hello` as the data path has it, far more often than anything changes: how many endpoints of
/// other clusters are ready there. A snapshot that lost one for a moment would be seen.
struct Watch {
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u64, Option<u32>)>,
}

impl Watch {
    fn start(region: &Region) -> Self {
        let tables = region.app().proxy().tables().clone();
        let now = region.app().proxy().now();
        let ended = Arc::new(AtomicBool::new(false));
        let stop = ended.clone();
        let look = move || {
            let table = tables.load();
            let route = table.find(Role::Outbound, 0, sidecar::HELLO_NAME).ok()?;
            let view = route.balancer().view(now);
            let ready = view.tiers.iter().map(|tier| tier.availability.healthy);
            Some(ready.sum::<u32>())
        };
        let thread = std::thread::spawn(move || {
            let (mut looks, mut fewest) = (0, Some(u32::MAX));
            while !stop.load(Ordering::Relaxed) {
                // A name that is not there at all is `None`, the least there is.
                fewest = fewest.min(look());
                looks += 1;
                // A publication is no less than ten of these after the one before.
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            (looks, fewest)
        });
        Self { ended, thread }
    }

    /// How often it looked, and the fewest that it saw.
    fn end(self) -> (u64, Option<u32>) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("it looks")
    }
}

/// The gateway of ap, with nothing ready at home, so that all of its traffic goes to eu.
async fn ap_and_eu(binary: &std::path::Path) -> (Pki, Region, Region) {
    let Regions { pki, all } = Regions::start(binary).await;
    let [ap, us, eu]: [Region; 3] = all.try_into().ok().expect("three");
    ap.set_ready(false).await;
    ap.plane.delete(&us.remote_secret().await).await;
    ap.until_synced(2).await;
    until_async("ap is answered by eu", async || {
        let mut all = true;
        for _ in 0..20 {
            all &= ap.ask(&pki).await.is_ok_and(|who| who == "eu");
        }
        all
    })
    .await;
    (pki, ap, eu)
}

#[tokio::test(flavor = "multi_thread")]
async fn api_servers_that_stop_or_die_lose_no_endpoint() {
    let test = "kubernetes_faults::api_servers_that_stop_or_die_lose_no_endpoint";
    let Some(binary) = api_server(test) else {
        return;
    };
    let (pki, ap, mut eu) = ap_and_eu(&binary).await;
    let traffic = Traffic::start(&pki, &ap, "eu");
    eu.plane.freeze();
    ap.until_state("stale", 1).await;
    traffic.go_on(100).await;
    eu.plane.thaw();
    ap.until_synced(2).await;
    eu.plane.kill();
    ap.until_state("stale", 1).await;
    traffic.go_on(100).await;
    eu.plane.restart(true).await;
    ap.until_synced(2).await;
    assert_eq!(traffic.end().await, Vec::<String>::new());
}

/// Another cluster at the same address: its UID is another, and nothing that it says is believed.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_comes_back_empty_loses_no_endpoint() {
    let test = "kubernetes_faults::an_api_server_that_comes_back_empty_loses_no_endpoint";
    let Some(binary) = api_server(test) else {
        return;
    };
    let (pki, ap, mut eu) = ap_and_eu(&binary).await;
    let traffic = Traffic::start(&pki, &ap, "eu");
    eu.plane.restart(false).await;
    eu.plane.restart(false).await;
    until_async("eu is not believed", async || {
        let state = ap.status().await["clusters"]["eu"]["state"].clone();
        state == "stale" || state == "frozen"
    })
    .await;
    traffic.go_on(500).await;
    assert_eq!(traffic.end().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_credential_loses_nothing_and_a_new_one_is_taken() {
    let test = "kubernetes_faults::a_revoked_credential_loses_nothing_and_a_new_one_is_taken";
    let Some(binary) = api_server(test) else {
        return;
    };
    let (pki, ap, mut eu) = ap_and_eu(&binary).await;
    let traffic = Traffic::start(&pki, &ap, "eu");
    let account = "apiVersion: v1
kind: ServiceAccount
metadata: {name: causeway-reader, namespace: istio-system}
";
    eu.plane.delete(account).await;
    // Open watches outlive their credential; a restart ends them.
    eu.plane.restart(true).await;
    ap.until_state("stale", 1).await;
    traffic.go_on(100).await;
    ap.plane.apply(&eu.remote_secret().await).await;
    ap.until_synced(2).await;
    assert_eq!(traffic.end().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rotations_lose_no_connection() {
    let test = "kubernetes_faults::a_thousand_rotations_lose_no_connection";
    let Some(binary) = api_server(test) else {
        return;
    };
    let (pki, ap, eu) = ap_and_eu(&binary).await;
    let traffic = Traffic::start(&pki, &ap, "eu");
    let watch = Watch::start(&ap);
    let secrets = [eu.remote_secret().await, eu.remote_secret().await];
    let generation = async || {
        let status = ap.status().await;
        status["clusters"]["eu"]["generation"].as_u64().unwrap_or(0)
    };
    let mut early = Footprint::default();
    for round in 0..ROTATIONS {
        let before = generation().await;
        let mut secret = secrets[usize::from(round % 2 == 0)].clone();
        // Every tenth changes more than the token, so that the watches are made anew.
        if round % 10 == 9 {
            let server = eu.plane.home().server.trim_end_matches('/').to_owned();
            let other = format!("{server}/");
            let (from, to) = (format!("server: {server}\n"), format!("server: {other}\n"));
            secret = secret.replace(&from, &to);
        }
        ap.plane.apply(&secret).await;
        until_async("the rotation is seen", async || generation().await > before).await;
        if round + 1 == EARLY {
            early = footprint();
        }
    }
    ap.until_synced(2).await;
    // What ends by itself may not have yet; what is left for ever stays too much.
    let late = Cell::new(footprint());
    println!("{early:?} after {EARLY}, {:?} at the end", late.get());
    until("no more is taken than after the first", || {
        late.set(footprint());
        let (early, late) = (&early, late.get());
        within_bounds(early.tasks, late.tasks) && within_bounds(early.kilobytes, late.kilobytes)
    })
    .await;
    let late = late.get();
    let asked = traffic.asked.load(Ordering::Relaxed);
    assert_eq!(traffic.end().await, Vec::<String>::new());
    let (looks, fewest) = watch.end();
    assert_eq!(fewest, Some(1), "eu's endpoint was there all the time");
    assert!(looks > u64::from(ROTATIONS), "{looks} looks");
    println!(
        "{ROTATIONS} rotations, {asked} connections, none failed; {looks} looks, eu's endpoint was always there; {early:?}, then {late:?}"
    );
}

/// What this process, with its three gateways, takes.
#[derive(Clone, Copy, Debug, Default)]
struct Footprint {
    kilobytes: usize,
    tasks: usize,
}

fn footprint() -> Footprint {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Footprint {
        kilobytes: kilobytes.expect("VmRSS in kB"),
        tasks: tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
    }
}

/// At most 5 % more, and four of a few that come and go.
fn within_bounds(early: usize, late: usize) -> bool {
    late <= early + early / 20 + 4
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_and_goes_with_its_secret_and_a_second_secret_waits() {
    let test =
        "kubernetes_faults::a_cluster_comes_and_goes_with_its_secret_and_a_second_secret_waits";
    let Some(binary) = api_server(test) else {
        return;
    };
    let (pki, ap, eu) = ap_and_eu(&binary).await;
    let first = eu.remote_secret().await;
    let second = first.replace("istio-remote-secret-eu", "second-secret-eu");
    ap.plane.apply(&second).await;
    until_async("the second is told as shadowed", async || {
        let status = ap.status().await;
        status["shadowed"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    })
    .await;
    ap.plane.delete(&first).await;
    until_async("the second has taken over", async || {
        let status = ap.status().await;
        let secret = &status["clusters"]["eu"]["secret"];
        status["shadowed"] == Value::Array(vec![])
            && secret.to_string().contains("second-secret-eu")
            && status["clusters"]["eu"]["state"] == "synced"
    })
    .await;
    assert_eq!(ap.ask(&pki).await.expect("an answer"), "eu");
    ap.plane.delete(&second).await;
    until_async("eu is gone", async || ap.ask(&pki).await.is_err()).await;
    ap.plane.apply(&first).await;
    until_async("eu is back", async || ap.ask(&pki).await.is_ok()).await;
}
