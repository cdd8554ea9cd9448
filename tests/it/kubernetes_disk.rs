//! Gateways that start while no API server answers: what was known before is served, and no request is lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sidecar::{Client, Pki};
use tests::{CannotBuild, Region, Regions, build, in_namespace, say, until, until_async};
use tokio::task::JoinHandle;

/// Gateways that are replaced, one after the other.
const TURNS: usize = 3;

fn api_server(test: &str) -> Option<PathBuf> {
    match build() {
        Ok(binary) => in_namespace(test).then_some(binary),
        Err(CannotBuild(why)) => {
            say(&format!("== SKIPPED {test}: {why}"));
            None
        }
    }
}

/// The gateway that clients go to, as a load balancer knows it.
type InService = Arc<Mutex<SocketAddr>>;

/// Clients that ask all the time, each on a new connection.
struct Load {
    answered: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

impl Load {
    fn start(pki: &Arc<Pki>, in_service: &InService, expected: &'static str) -> Self {
        let (answered, ended) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, stop, in_service) = (answered.clone(), ended.clone(), in_service.clone());
        let pki = pki.clone();
        let task = tokio::spawn(async move {
            let mut wrong = Vec::new();
            // The first that goes wrong is enough.
            while !stop.load(Ordering::Relaxed) && wrong.is_empty() {
                let gateway = *in_service.lock().expect("not poisoned");
                match Client::new(&pki, gateway).ask().await {
                    Ok(answer) if answer.who == expected => {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(answer) => wrong.push(format!("answered by {}", answer.who)),
                    Err(fault) => wrong.push(fault.to_string()),
                }
            }
            wrong
        });
        Self {
            answered,
            ended,
            task,
        }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests have been answered, or one has gone wrong.
    async fn go_on(&self, more: u64) {
        let goal = self.answered() + more;
        until("requests are answered", || {
            self.answered() >= goal || self.task.is_finished()
        })
        .await;
    }

    async fn end(self) -> Vec<String> {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await.expect("the client")
    }
}

/// The three regions, with nothing ready in ap: its gateway sends everything to the other two.
async fn with_ap_unready(binary: &std::path::Path) -> (Arc<Pki>, Region, Region, Region) {
    let Regions { pki, all } = Regions::start(binary).await;
    let [ap, us, eu]: [Region; 3] = all.try_into().ok().expect("three");
    ap.set_ready(false).await;
    until_async("ap is answered by others", async || {
        let who = ap.ask(&pki).await;
        who.is_ok_and(|who| who != "ap")
    })
    .await;
    (Arc::new(pki), ap, us, eu)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_and_routes_with_every_api_server_down() {
    let test = "kubernetes_disk::a_gateway_starts_and_routes_with_every_api_server_down";
    let Some(binary) = api_server(test) else {
        return;
    };
    let (pki, mut ap, mut us, mut eu) = with_ap_unready(&binary).await;
    for region in [&mut ap, &mut us, &mut eu] {
        region.plane.kill();
        region.stop_gateway().await;
    }
    for file in std::fs::read_dir(ap.folder()).expect("what was left") {
        let path = file.expect("a file").path();
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let text = std::fs::read_to_string(&path).expect("JSON");
        for credential in ["token", "eyJ", "BEGIN"] {
            assert!(!text.contains(credential), "{}: {text}", path.display());
        }
    }
    for region in [&mut ap, &mut us, &mut eu] {
        region.start_gateway().await;
        region.until_ready().await;
        region.until_state("loaded", 3).await;
    }
    // From ap through the gateways of the other two; those have started from disk too.
    let mut who = BTreeSet::new();
    for _ in 0..60 {
        who.insert(ap.ask(&pki).await.expect("an answer"));
    }
    assert_eq!(who, BTreeSet::from(["eu".to_owned(), "us".to_owned()]));
    let own = Client::new(&pki, eu.inbound()).ask().await;
    assert_eq!(own.expect("an answer").who, "eu");

    // How the other two are reached is not on disk: that has to come from the Secrets.
    ap.plane.restart(true).await;
    ap.until_synced(1).await;
    ap.until_state("loaded", 2).await;
    for region in [&mut us, &mut eu] {
        region.plane.restart(true).await;
    }
    ap.until_synced(3).await;
    ap.set_ready(true).await;
    until_async("ap is answered by its own", async || {
        ap.ask(&pki).await.is_ok_and(|who| who == "ap")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_while_no_api_server_answers_refuses_nobody() {
    let test = "kubernetes_disk::a_rolling_restart_while_no_api_server_answers_refuses_nobody";
    let Some(binary) = api_server(test) else {
        return;
    };
    let (pki, mut ap, us, eu) = with_ap_unready(&binary).await;
    ap.plane.delete(&us.remote_secret().await).await;
    until_async("ap is answered by eu alone", async || {
        let mut all = true;
        for _ in 0..20 {
            all &= ap.ask(&pki).await.is_ok_and(|who| who == "eu");
        }
        all
    })
    .await;
    // It is written while the gateway runs, not at its end.
    for name in ["cluster-ap.json", "cluster-eu.json", "gateway.json"] {
        let file = ap.folder().join(name);
        until(&format!("{name} is written"), || file.exists()).await;
    }
    // The next gateway starts from what is there when it starts, and a change is written some seconds after it is seen.
    let kept = |name: &str| std::fs::read_to_string(ap.folder().join(name)).unwrap_or_default();
    until("it is written that ap is not ready, and us is gone", || {
        kept("cluster-ap.json").contains("\"unhealthy\"") && kept("cluster-us.json").is_empty()
    })
    .await;
    let in_service: InService = Arc::new(Mutex::new(ap.outbound()));
    let load = Load::start(&pki, &in_service, "eu");
    for region in [&ap, &us, &eu] {
        // They take connections, and answer nothing.
        region.plane.freeze();
    }
    load.go_on(20).await;
    for _ in 0..TURNS {
        let old = ap.add_gateway().await;
        ap.until_ready().await;
        *in_service.lock().expect("not poisoned") = ap.outbound();
        // The second request from here on was begun after that, so that nobody is on the way to the old one any more: what
        // a drain does to those who are is another story.
        load.go_on(2).await;
        old.drain().await;
        old.stop().await;
        load.go_on(20).await;
    }
    ap.until_state("loaded", 2).await;
    for region in [&ap, &us, &eu] {
        region.plane.thaw();
    }
    ap.until_synced(2).await;
    load.go_on(20).await;
    let answered = load.answered();
    assert_eq!(load.end().await, Vec::<String>::new());
    println!(
        "{TURNS} gateways replaced while no API server answered: {answered} requests, none lost"
    );
}
