//! The views that somebody looks at, kept up to date: one task for all of them. It must not know what a stream has been sent.

use std::collections::HashMap;
use std::sync::Arc;

use model::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};

use crate::view::{Dead, Settings, Shelves, View, ViewKey};

/// Whoever asks for a view.
struct Ask {
    key: ViewKey,
    answer: oneshot::Sender<watch::Receiver<Arc<Shelves>>>,
}

/// Where views are to be had.
#[derive(Clone, Debug)]
pub(super) struct Views(mpsc::Sender<Ask>);

impl Views {
    /// Starts the task; it ends with the last of these, or with the source of snapshots.
    pub(super) fn start(
        settings: Arc<Settings>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        dead: watch::Receiver<Dead>,
    ) -> Self {
        let (asks, asked) = mpsc::channel(16);
        let keeper = Keeper {
            settings,
            snapshots,
            dead,
            views: HashMap::new(),
        };
        tokio::spawn(keeper.run(asked));
        Self(asks)
    }

    /// A view's newest state, now and from now on; `None` when the server ends.
    pub(super) async fn of(&self, key: ViewKey) -> Option<watch::Receiver<Arc<Shelves>>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Ask { key, answer }).await.ok()?;
        answered.await.ok()
    }
}

type Kept = HashMap<ViewKey, (View, watch::Sender<Arc<Shelves>>)>;

struct Keeper {
    settings: Arc<Settings>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    dead: watch::Receiver<Dead>,
    views: Kept,
}

impl Keeper {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        loop {
            tokio::select! {
                ask = asked.recv() => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => return,
                },
                changed = self.snapshots.changed() => match changed {
                    Ok(()) => self.update().await,
                    Err(_) => return,
                },
                Ok(()) = self.dead.changed() => self.update().await,
            }
        }
    }

    async fn answer(&mut self, ask: Ask) {
        if !self.views.contains_key(&ask.key) {
            let view = View::new(&ask.key, &self.settings);
            let (sender, _) = watch::channel(Arc::default());
            let made = self.updated(HashMap::from([(ask.key.clone(), (view, sender))]));
            let made = made.await;
            self.views.extend(made);
        }
        if let Some((_, sender)) = self.views.get(&ask.key) {
            // Whoever asked may be gone.
            let _ = ask.answer.send(sender.subscribe());
        }
    }

    async fn update(&mut self) {
        let mut views = std::mem::take(&mut self.views);
        views.retain(|_, (_, sender)| sender.receiver_count() > 0);
        self.views = self.updated(views).await;
    }

    /// These views with what is newest. Making resources can take a while, and the control runtime has other work.
    async fn updated(&mut self, views: Kept) -> Kept {
        let snapshot = self.snapshots.borrow_and_update().clone();
        let dead = self.dead.borrow_and_update().clone();
        let settings = Arc::clone(&self.settings);
        let work = tokio::task::spawn_blocking(move || {
            let mut views = views;
            for (view, sender) in views.values_mut() {
                view.update(&settings, &snapshot, &dead);
                sender.send_if_modified(|shelves| {
                    let same = |(a, b)| Arc::ptr_eq(a, b);
                    let kinds = shelves.kinds.iter().zip(&view.shelves().kinds);
                    let changed = !kinds.into_iter().all(same);
                    *shelves = Arc::clone(view.shelves());
                    changed
                });
            }
            views
        });
        work.await.unwrap_or_else(|fault| {
            tracing::error!(%fault, "making xDS resources failed; clients keep what they have until they reconnect");
            Kept::new()
        })
    }
}
