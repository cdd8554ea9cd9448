//! The task that follows a server: opens streams, hands over what comes, publishes what follows. It decides nothing about
//! resources.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{NetworkId, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use super::facts::Kind;
use super::link::{Fault, Link, Server};
use super::node::Node;
use super::session::{Mode, Received, Request, Response, Session};
use super::status::{State, Status};
use super::world::Ceilings;

/// How long a server has for what it owes (Envoy's `initial_fetch_timeout`).
const OWED: Duration = Duration::from_secs(15);

/// A server that looks at no refusal sends the same version again at once (go-control-plane in state of the world); that is
/// answered no sooner than this.
const AGAIN: Duration = Duration::from_secs(1);

/// Refused resources of one response that are logged.
const LOGGED: usize = 20;

/// What a client is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// Who we are to it.
    pub node: Node,
    /// The protocol to begin with; a server that does not know the delta protocol is spoken to in the other one.
    pub mode: Mode,
    /// How much of what it says is taken.
    pub ceilings: Ceilings,
}

/// A server that is followed; dropping it ends that.
#[derive(Debug)]
pub struct Source {
    /// What the server says, as it stands in force; until all of it has come once, what was kept, else nothing.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How following it goes.
    pub status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows a server. Needs a tokio runtime. `kept` is what it said to an earlier run, if that is known: it is in force until all
/// has come once.
#[must_use]
pub fn start(settings: Settings, kept: Option<Arc<Snapshot>>) -> Source {
    let follower = Follower::new(settings, kept);
    Source {
        snapshots: follower.publish.subscribe(),
        status: follower.report.subscribe(),
        task: tokio::spawn(follower.run()),
    }
}

struct Follower {
    settings: Settings,
    session: Session,
    publish: watch::Sender<Arc<Snapshot>>,
    report: watch::Sender<Status>,
    backoff: Backoff,
    /// When what is owed is taken for not there.
    owed: Option<Instant>,
    /// All has come once.
    is_whole: bool,
    /// The version of each kind of which something was refused last.
    refused: BTreeMap<Kind, String>,
}

impl Follower {
    fn new(settings: Settings, kept: Option<Arc<Snapshot>>) -> Self {
        let is_loaded = kept.is_some();
        let status = Status {
            ready: is_loaded,
            loaded: is_loaded,
            address: settings.server.address.clone(),
            node: settings.node.id(),
            mode: settings.mode,
            ..Status::default()
        };
        let network = NetworkId::from(settings.node.network.as_str());
        let mut session = Session::new(settings.mode, network);
        session.limit(settings.ceilings);
        Self {
            session,
            settings,
            publish: watch::Sender::new(kept.unwrap_or_default()),
            report: watch::Sender::new(status),
            backoff: Backoff::default(),
            owed: None,
            is_whole: false,
            refused: BTreeMap::new(),
        }
    }

    async fn run(mut self) {
        loop {
            let Err(fault) = self.stream().await else {
                return;
            };
            self.owed = None;
            let falls_back = matches!(fault, Fault::NoDelta);
            if falls_back {
                self.session.set_mode(Mode::Sotw);
            }
            let wait = match falls_back {
                true => Duration::ZERO,
                false => self.backoff.next(fastrand::f64()),
            };
            tracing::warn!(server = self.settings.server.address, %fault, retry_in = ?wait, "the stream from the xDS server ended; what is known stays in force");
            self.report.send_modify(|status| {
                status.state = State::Waiting;
                status.last_error = Some(fault.to_string());
                status.mode = self.session.mode();
            });
            sleep(wait).await;
        }
    }

    /// One stream, until it ends; `Ok` when nobody wants to know any more.
    async fn stream(&mut self) -> Result<(), Fault> {
        self.report
            .send_modify(|status| status.state = State::Connecting);
        let mode = self.session.mode();
        let mut first = self.session.open();
        self.introduce(&mut first);
        let link = Link::open(
            &self.settings.server,
            mode,
            first,
            self.settings.ceilings.response,
        )
        .await?;
        self.converse(link).await
    }

    async fn converse(&mut self, mut link: Link) -> Result<(), Fault> {
        self.report.send_modify(|status| {
            status.state = State::Following;
            status.streams += 1;
        });
        self.owe();
        loop {
            let owed = self.owed;
            tokio::select! {
                response = link.next() => self.hear(&link, response?).await?,
                () = sleep_until(owed.unwrap_or_else(Instant::now)), if owed.is_some() => {
                    self.give_up();
                }
                () = self.publish.closed() => return Ok(()),
            }
        }
    }

    /// Takes a response over, answers it, and publishes what follows.
    async fn hear(&mut self, link: &Link, response: Response) -> Result<(), Fault> {
        let version = response.version().to_owned();
        let mut received = self.session.receive(response);
        let is_again = self.is_again(&received, version);
        let mut sent = Ok(());
        if !is_again {
            sent = link.send(std::mem::take(&mut received.requests));
            for refusal in received.refused.iter().take(LOGGED) {
                tracing::warn!(
                    server = self.settings.server.address,
                    resource = refusal.name,
                    why = refusal.why,
                    of = received.refused.len(),
                    "a resource is refused"
                );
            }
        }
        self.backoff.reset();
        self.owe();
        let refused = !received.refused.is_empty();
        self.tell(|status| status.heard(received.kind, refused));
        if is_again {
            sleep(AGAIN).await;
            sent = link.send(received.requests);
        }
        sent
    }

    /// Whether a response of which something is refused has the version of the one before of its kind, of which something was
    /// refused, too.
    fn is_again(&mut self, received: &Received, version: String) -> bool {
        let Some(kind) = received.kind else {
            return false;
        };
        if received.refused.is_empty() {
            self.refused.remove(&kind);
            return false;
        }
        let is_known = !version.is_empty() && self.refused.get(&kind) == Some(&version);
        self.refused.insert(kind, version);
        is_known
    }

    /// The first request of a stream says who we are; later ones need not.
    fn introduce(&self, requests: &mut [Request]) {
        let node = Some(self.settings.node.to_proto());
        match requests.first_mut() {
            Some(Request::Delta(request)) => request.node = node,
            Some(Request::Sotw(request)) => request.node = node,
            None => {}
        }
    }

    /// Begins to wait for what is owed, or stops.
    fn owe(&mut self) {
        match self.session.is_complete() {
            true => self.owed = None,
            false => {
                self.owed.get_or_insert_with(|| Instant::now() + OWED);
            }
        }
    }

    /// The server has had its time.
    fn give_up(&mut self) {
        self.owed = None;
        let is_kept = self.report.borrow().loaded;
        self.session.give_up(is_kept);
        self.tell(|_| ());
    }

    /// Publishes what follows from all that is known, once that is complete, and says how it goes.
    fn tell(&mut self, change: impl FnOnce(&mut Status)) {
        self.is_whole |= self.session.is_complete();
        let is_whole = self.is_whole;
        if is_whole {
            let before = self.publish.borrow().clone();
            let next = self.session.snapshot(&before);
            if !Arc::ptr_eq(&before, &next) {
                self.publish.send_replace(next);
            }
        }
        let session = &mut self.session;
        self.report.send_modify(|status| {
            change(status);
            status.ready |= is_whole;
            status.loaded &= !is_whole;
            status.describe(session);
        });
    }
}

#[cfg(test)]
mod tests;
