//! Clients that ask all the time, and what they saw, second by second. It must not decide what is good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sidecar::Client;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Clients at the same time.
const CLIENTS: usize = 3;

/// The least time between two requests of a client: enough of them to see a second's worth, and no more than two cores
/// bear beside other tests.
const PACE: Duration = Duration::from_millis(25);

/// One request on a connection of its own.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// Who answered, or why nobody did.
    pub(super) answer: Result<String, String>,
}

/// Clients at work; dropped, they stop.
pub(super) struct Load {
    started: Instant,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(client: &Client) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let clients = (0..CLIENTS).map(|_| {
            let (client, seen, stop) = (client.clone(), seen.clone(), stop.clone());
            tokio::spawn(async move {
                let mut pace = interval(PACE);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !stop.load(Relaxed) {
                    pace.tick().await;
                    let began = Instant::now();
                    let answer = client.ask().await;
                    let answer = answer.map(|answer| answer.who);
                    let one = Seen {
                        began,
                        ended: Instant::now(),
                        answer: answer.map_err(|fault| fault.to_string()),
                    };
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(one);
                }
            })
        });
        let clients = clients.collect();
        Self {
            started: Instant::now(),
            seen,
            stop,
            clients,
        }
    }

    /// What was seen so far, in the order of the ends.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// Lets every client finish what it has begun.
    pub(super) async fn finish(mut self) -> Vec<Seen> {
        self.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            client.await.expect("a client");
        }
        self.seen()
    }

    /// What was seen in each second since the start, by who answered, with what happened at the given moments.
    pub(super) fn table(started: Instant, seen: &[Seen], moments: &[(Instant, &str)]) -> String {
        #[derive(Default)]
        struct Second {
            answers: BTreeMap<String, usize>,
            failed: usize,
            slowest: Duration,
        }
        let second = |at: Instant| at.saturating_duration_since(started).as_secs();
        let mut seconds = BTreeMap::<u64, Second>::new();
        for one in seen {
            let row = seconds.entry(second(one.began)).or_default();
            match &one.answer {
                Ok(who) => *row.answers.entry(who.clone()).or_default() += 1,
                Err(_) => row.failed += 1,
            }
            row.slowest = row.slowest.max(one.ended - one.began);
        }
        let mut text = "second  failed  slowest ms  answered by\n".to_owned();
        for (at, row) in seconds {
            let answers = row.answers.iter();
            let answers: Vec<_> = answers
                .map(|(who, count)| format!("{who} {count}"))
                .collect();
            let of_it = moments.iter().filter(|(moment, _)| second(*moment) == at);
            let said: String = of_it.map(|(_, what)| format!("  <- {what}")).collect();
            text.push_str(&format!(
                "{at:>6}  {:>6}  {:>10}  {}{said}\n",
                row.failed,
                row.slowest.as_millis(),
                answers.join(", ")
            ));
        }
        text
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}
