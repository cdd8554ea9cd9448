//! Clients who come while every endpoint of the first tier is dead: who of them fails, how long the slowest waits, and whether
//! endpoints are dialled that are known to be dead. It must not let a client try again, nor set the gateway up otherwise than
//! it is by default.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sidecar::{Backend, Behaviour, Client, Pki, fresh_loopback};
use tokio::runtime::{Builder, Runtime};

use crate::cores::Cores;
use crate::peers::{Found, Route};
use crate::scrape;

/// How many are dead, and whether their hosts are there to say so; each with a gateway of its own, which knows nothing yet.
const CASES: [(usize, Behaviour); 4] = [
    (2, Behaviour::Refuse),
    (20, Behaviour::Refuse),
    (2, Behaviour::Swallow),
    (20, Behaviour::Swallow),
];
/// Clients of each case, one after the other, from the first on.
const FIRST: u32 = 30;
/// Clients of each case who come when all that are dead are ejected.
const LATER: u32 = 10;
/// The first clients of all cases together.
pub(crate) const ALL_FIRST: u32 = FIRST * CASES.len() as u32;
/// The later ones of all cases together.
pub(crate) const ALL_LATER: u32 = LATER * CASES.len() as u32;
/// A client who has waited this long has failed, however it would have ended: thrice what is promised.
const LIMIT: Duration = Duration::from_secs(5);
/// How long it may take after the clients until all that are dead are ejected: attempts that were overtaken end late.
const EJECTED: Duration = Duration::from_secs(30);
/// Attempts that the gateway has begun so far; its own connects to what is ejected are none.
const DIALS: &str = "causeway_dials_total";
/// Who lives.
const LIVE: &str = "live";

/// What became of the clients, in one case or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Those of the first clients to whom the live endpoint did not answer.
    pub(crate) failed: u32,
    /// The longest that one of the others waited for its handshake with the live endpoint, its own connect included.
    pub(crate) slowest: Duration,
    /// Dials that were begun while the later ones came and did not go to the live endpoint: what the gateway counts
    /// (`causeway_dials_total`) less what that endpoint accepted.
    pub(crate) dead_dials: u64,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Self {
            failed: self.failed + other.failed,
            slowest: self.slowest.max(other.slowest),
            dead_dials: self.dead_dials + other.dead_dials,
        }
    }
}

/// 2 and 20 dead endpoints, which refuse and which swallow SYNs, together.
///
/// # Errors
/// When something does not start, when not all that are dead are ejected in the end, and when a later client fails.
pub(crate) fn measure(found: &Found, cores: &Cores) -> Result<Seen> {
    CASES.iter().try_fold(Seen::default(), |seen, (dead, how)| {
        let case = case(found, cores, *dead, *how)
            .with_context(|| format!("{dead} dead endpoints, {how:?}"))?;
        Ok(seen.and(case))
    })
}

fn case(found: &Found, cores: &Cores, dead: usize, how: Behaviour) -> Result<Seen> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let pki = Pki::new();
    // Each is a host of its own.
    let start = |who| runtime.block_on(Backend::start(&pki, who, fresh_loopback()));
    let live = start(LIVE)?;
    let gone = (0..dead)
        .map(|_| {
            let backend = start("dead")?;
            runtime.block_on(backend.set(how))?;
            Ok(backend)
        })
        .collect::<Result<Vec<Backend>>>()?;
    let route = Route {
        farther: vec![live.address()],
        ..Route::new("hello", gone.iter().map(Backend::address).collect())
    };
    let stats = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let arguments = ["--set".to_owned(), format!("stats.address={stats}")];
    let running = found.start_with(std::slice::from_ref(&route), cores, &arguments)?;
    let client = Client::new(&pki, running.address)
        .named(&route.sni())?
        .with_limit(LIMIT);

    let (failed, slowest) = ask(&runtime, &client, FIRST);
    // Were one of them never ejected, it was never dialled, and nobody above has met what is measured here.
    let end = Instant::now() + EJECTED;
    loop {
        let ejected = series(stats, "causeway_ejected_endpoints")?;
        if ejected == dead as u64 {
            break;
        }
        ensure!(
            Instant::now() < end,
            "{ejected} of {dead} are ejected {EJECTED:?} after {FIRST} clients"
        );
        ensure!(
            ask(&runtime, &client, 1).0 == 0,
            "a client failed after the first {FIRST}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = (series(stats, DIALS)?, live.connections());
    let (late, _) = ask(&runtime, &client, LATER);
    ensure!(
        late == 0,
        "{late} of {LATER} clients failed once all were ejected"
    );
    let dials = series(stats, DIALS)?.checked_sub(before.0);
    let accepted = live.connections() - before.1;
    let dead_dials = dials.and_then(|dials| dials.checked_sub(accepted));
    Ok(Seen {
        failed,
        slowest,
        dead_dials: dead_dials.context("the live endpoint accepted more than was dialled")?,
    })
}

/// So many clients, one after the other: how many failed, and how long the slowest of the others waited.
fn ask(runtime: &Runtime, client: &Client, clients: u32) -> (u32, Duration) {
    let mut failed = 0;
    let mut slowest = Duration::ZERO;
    for n in 0..clients {
        match runtime.block_on(client.ask()) {
            Ok(answer) if answer.who == LIVE => slowest = slowest.max(answer.handshake),
            Ok(answer) => {
                eprintln!("client {n} was answered by {}", answer.who);
                failed += 1;
            }
            Err(error) => {
                eprintln!("client {n}: {error}");
                failed += 1;
            }
        }
    }
    (failed, slowest)
}

/// What the metrics say now of a series without labels.
fn series(stats: SocketAddr, name: &str) -> Result<u64> {
    let text = scrape::scrape(stats)?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .with_context(|| format!("the metrics have no {name}"))?;
    value
        .parse()
        .with_context(|| format!("{name} is {value:?}, no count"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peer;
    use crate::peers::tests::causeway;

    #[test]
    fn a_client_whom_nobody_or_another_answers_has_failed() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let pki = Pki::new();
        let start = |who| Backend::start(&pki, who, fresh_loopback());
        let live = runtime.block_on(start(LIVE)).unwrap();
        let other = runtime.block_on(start("dead")).unwrap();
        let asked = |at: &Backend| ask(&runtime, &Client::new(&pki, at.address()), 3);
        let (failed, slowest) = asked(&live);
        assert_eq!(failed, 0);
        assert!(slowest > Duration::ZERO);
        assert_eq!(asked(&other), (3, Duration::ZERO));
        runtime.block_on(live.set(Behaviour::Refuse)).unwrap();
        assert_eq!(asked(&live), (3, Duration::ZERO));
    }

    #[test]
    fn a_tier_of_two_that_refuse_is_met_and_left() {
        let Ok(found) = Peer::Causeway.find(Some(&causeway())) else {
            eprintln!("== SKIPPED: the gateway is not built");
            return;
        };
        let cores = Cores::share_out().unwrap();
        let seen = case(&found, &cores, 2, Behaviour::Refuse).unwrap();
        assert_eq!((seen.failed, seen.dead_dials), (0, 0));
    }
}
