//! The views that somebody looks at, kept up to date: one task for all of them. It must not know what a stream has been sent.

use std::collections::HashMap;
use std::sync::Arc;

use model::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};

use crate::view::{Dead, Settings, Shelves, View, ViewKey};

/// Views at once. Each costs as much as all resources and is made anew with every change, and a client may say to be anywhere:
/// without a limit one client could ask for any number. Three zones of each of 80 clusters, for Envoys and for gRPC, fit.
const VIEWS: usize = 500;

/// Why there is no view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoView {
    /// The server ends.
    #[error("the gateway is stopping; connect again")]
    Stopping,
    /// More places than [`VIEWS`].
    #[error(
        "clients of {VIEWS} places (cluster, network, locality) are connected, and this one is at another"
    )]
    TooMany,
}

/// What somebody looks at.
type Looking = watch::Receiver<Arc<Shelves>>;

/// Whoever asks for a view.
struct Ask {
    key: ViewKey,
    answer: oneshot::Sender<Result<Looking, NoView>>,
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

    /// A view's newest state, now and from now on.
    ///
    /// # Errors
    /// When there is none for this client.
    pub(super) async fn of(&self, key: ViewKey) -> Result<Looking, NoView> {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send(Ask { key, answer }).await;
        asked.map_err(|_| NoView::Stopping)?;
        answered.await.unwrap_or(Err(NoView::Stopping))
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
            if self.views.len() >= VIEWS {
                self.forget();
            }
            if self.views.len() >= VIEWS {
                // Whoever asked may be gone.
                let _ = ask.answer.send(Err(NoView::TooMany));
                return;
            }
            let view = View::new(&ask.key, &self.settings);
            let (sender, _) = watch::channel(Arc::default());
            let made = self.updated(HashMap::from([(ask.key.clone(), (view, sender))]));
            let made = made.await;
            self.views.extend(made);
        }
        if let Some((_, sender)) = self.views.get(&ask.key) {
            let _ = ask.answer.send(Ok(sender.subscribe()));
        }
    }

    /// Forgets views that nobody looks at any more.
    fn forget(&mut self) {
        self.views
            .retain(|_, (_, sender)| sender.receiver_count() > 0);
    }

    async fn update(&mut self) {
        self.forget();
        let views = std::mem::take(&mut self.views);
        // Only here: what is made for a new view alone has not been seen by the others.
        self.snapshots.mark_unchanged();
        self.dead.mark_unchanged();
        self.views = self.updated(views).await;
    }

    /// These views with what is newest. Making resources can take a while, and the control runtime has other work.
    async fn updated(&mut self, views: Kept) -> Kept {
        let snapshot = self.snapshots.borrow().clone();
        let dead = self.dead.borrow().clone();
        let settings = Arc::clone(&self.settings);
        let work = tokio::task::spawn_blocking(move || {
            let mut views = views;
            for (view, sender) in views.values_mut() {
                view.update(&settings, &snapshot, &dead);
                sender.send_if_modified(|shelves| {
                    let same = |(a, b)| Arc::ptr_eq(a, b);
                    let kinds = shelves.kinds.iter().zip(&view.shelves().kinds);
                    let changed =
                        shelves.left_out != view.shelves().left_out || !kinds.into_iter().all(same);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{
        Chunked, Endpoint, Health, Hostname, Origin, Port, PortMap, Protocol, Service, TlsMode,
        Viewpoint,
    };

    use super::*;
    use crate::resource::{Flavour, MeshTls};

    fn key(zone: usize) -> ViewKey {
        ViewKey {
            flavour: Flavour::Envoy,
            cluster: "us".into(),
            network: "n1".into(),
            locality: format!("us/{zone}").as_str().into(),
        }
    }

    fn settings() -> Arc<Settings> {
        Arc::new(Settings {
            own: Viewpoint::default(),
            mesh_tls: MeshTls::Off,
            connect_timeout: Duration::from_secs(3),
            allow_loopback: true,
        })
    }

    /// A new view takes the newest snapshot; those that were there before have not seen it, and must.
    #[tokio::test]
    async fn what_comes_while_a_new_view_is_made_reaches_the_others_too() {
        let (snapshots, followed) = watch::channel(Arc::default());
        let (_dead, watched) = watch::channel(Dead::default());
        let mut keeper = Keeper {
            settings: settings(),
            snapshots: followed,
            dead: watched,
            views: HashMap::new(),
        };
        for zone in 0..2 {
            snapshots.send_replace(Arc::default());
            let (answer, _answered) = oneshot::channel();
            let key = key(zone);
            keeper.answer(Ask { key, answer }).await;
            let waits = keeper.snapshots.has_changed();
            assert_eq!(waits.ok(), Some(true), "view {zone}");
        }
        keeper.update().await;
        assert_eq!(keeper.snapshots.has_changed().ok(), Some(false));
    }

    /// Streams show what their clients are not told of, also when nothing else has changed.
    #[tokio::test]
    async fn what_is_left_out_is_news_by_itself() {
        let (snapshots, followed) = watch::channel(Arc::default());
        let (_dead, watched) = watch::channel(Dead::default());
        let views = Views::start(settings(), followed, watched);
        let mut looking = views.of(key(0)).await.expect("a view");
        looking.borrow_and_update();
        let service = |endpoints| {
            let service = Service {
                host: Hostname::parse("a.d.svc").expect("a host"),
                ports: vec![Port {
                    number: 80,
                    name: "http".into(),
                    protocol: Protocol::Tcp,
                }],
                subsets: Default::default(),
                policy: Arc::default(),
                endpoints: Chunked::from_items(endpoints),
            };
            Arc::new(Snapshot::default().with_service(Arc::new(service)))
        };
        snapshots.send_replace(service(Vec::new()));
        looking.changed().await.expect("the service is told");
        let before = looking.borrow_and_update().clone();
        // In a network that no gateway leads to.
        snapshots.send_replace(service(vec![Endpoint {
            address: [10, 0, 0, 1].into(),
            weight: 1,
            health: Health::Healthy,
            tls: TlsMode::Istio,
            ports: Arc::new(PortMap::from([("http".into(), 80)])),
            labels: Arc::default(),
            origin: Arc::new(Origin {
                network: "n2".into(),
                ..Origin::default()
            }),
        }]));
        looking.changed().await.expect("and what is left out");
        let after = looking.borrow_and_update().clone();
        assert_eq!(after.left_out.behind_gateway, 1);
        for (before, after) in before.kinds.iter().zip(&after.kinds) {
            assert!(Arc::ptr_eq(before, after), "clients have no news");
        }
    }

    #[tokio::test]
    async fn clients_of_any_number_of_places_do_not_have_any_number_of_views() {
        let (_snapshots, followed) = watch::channel(Arc::default());
        let (_dead, watched) = watch::channel(Dead::default());
        let views = Views::start(settings(), followed, watched);
        let mut looking = Vec::new();
        for zone in 0..VIEWS {
            looking.push(views.of(key(zone)).await.expect("a view"));
        }
        assert_eq!(views.of(key(VIEWS)).await.err(), Some(NoView::TooMany));
        assert!(views.of(key(7)).await.is_ok(), "there already");
        drop(looking.pop());
        assert!(views.of(key(VIEWS)).await.is_ok(), "one has gone");
    }
}
