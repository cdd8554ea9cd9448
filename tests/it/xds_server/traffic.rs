//! Connections through an Envoy while the world changes, and what came of each. It must not change anything itself.

use std::sync::{Arc, Mutex};

use tests::until;

use super::{Client, World, ask};

/// Connections through an Envoy all the time, some at once, each asking once.
pub(super) struct Traffic {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// By whoever asks: questions so far.
    turns: [u64; AT_ONCE],
    answers: std::collections::BTreeMap<String, u64>,
    /// In which part of the story they began, and why they failed.
    failures: Vec<(&'static str, String)>,
    part: &'static str,
}

/// Connections at once.
const AT_ONCE: usize = 4;

impl Traffic {
    pub(super) fn start(client: &Client) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let tasks = (0..AT_ONCE).map(|who| {
            let (seen, listener) = (seen.clone(), client.listener);
            tokio::spawn(async move {
                loop {
                    let part = seen.lock().expect("one at a time").part;
                    let answer = ask(listener).await;
                    let mut seen = seen.lock().expect("one at a time");
                    seen.turns[who] += 1;
                    match answer {
                        Ok(who) => *seen.answers.entry(who).or_insert(0) += 1,
                        Err(why) => seen.failures.push((part, why)),
                    }
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            seen,
        }
    }

    /// Waits until everybody who asks has asked a question that began after this call; what was under way is over then.
    pub(super) async fn turn(&self) {
        let turns = || self.seen.lock().expect("one at a time").turns;
        let before = turns();
        until("everybody has asked again", || {
            (turns().iter().zip(before)).all(|(now, before)| *now >= before + 2)
        })
        .await;
    }

    /// Waits until this one answers.
    pub(super) async fn until_from(&self, who: &str) {
        let count = || {
            let seen = self.seen.lock().expect("one at a time");
            seen.answers.get(who).copied().unwrap_or(0)
        };
        let before = count();
        until(&format!("{who} answers"), || count() > before).await;
    }

    /// What begins from now on begins in this part of the story.
    pub(super) fn part(&self, name: &'static str) {
        self.seen.lock().expect("one at a time").part = name;
    }

    /// How many were answered. None may have failed; but in the part `dying`, what a death took along: once for everybody who
    /// asks.
    pub(super) fn end(self, world: &World) -> u64 {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let seen = self.seen.lock().expect("one at a time");
        let taken = |(part, _): &&(&str, String)| *part == "dying";
        let count = seen.failures.iter().filter(taken).count();
        let (failures, answers) = (&seen.failures, &seen.answers);
        if count != failures.len() {
            let log = std::fs::read_to_string(world.folder.path().join("access.log"));
            let bad = log.iter().flat_map(|log| log.lines());
            bad.filter(|line| !line.contains("flags=- attempts=1 "))
                .for_each(|line| println!("{line}"));
        }
        assert_eq!(count, failures.len(), "{failures:?} {answers:?}");
        assert!(count <= AT_ONCE, "{failures:?} {answers:?}");
        println!("answered during the changes: {answers:?}");
        answers.values().sum()
    }
}
