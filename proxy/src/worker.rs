//! A worker: one thread, one runtime, its own listeners and connections. Nothing of it is shared with another worker but
//! gauges and the route table; it must not know what a connection does.

mod conns;
mod held;
mod polling;
mod round;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use fastrand::Rng;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, oneshot, watch};

use self::conns::Conns;
use self::held::Holding;
use self::polling::Polling;
use self::round::Round;
use crate::access::{Quota, Report};
use crate::balance::{Balancer, Recent};
use crate::clock::{Clock, Millis};
use crate::close::{Blame, Close, Reason, Stage};
use crate::closer::{Batch, Closer};
use crate::config::{Config, Listener, Role};
use crate::conn::{self, Conn};
use crate::limits::{Admission, Gauges};
use crate::listener::{self, Registered};
use crate::open::{self, OpenConnection, Query};
use crate::relay;
use crate::stats::Stats;
use crate::table::{Route, Tables};
use crate::tick::{Key, TICK, Wheel};

/// A listener as it was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The address, with the port that was given.
    pub address: SocketAddr,
    /// What it is for.
    pub role: Role,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) listeners: Vec<Bound>,
    pub(crate) gauges: Gauges,
    pub(crate) tables: Arc<Tables>,
    pub(crate) stats: Vec<Stats>,
    pub(crate) clock: Clock,
    pub(crate) inboxes: Vec<UnboundedSender<Message>>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) quota: Quota,
}

/// What a worker is told from outside.
#[derive(Debug)]
pub(crate) enum Message {
    /// A client that another worker accepted.
    Serve {
        socket: TcpStream,
        peer: SocketAddr,
        listener: u16,
    },
    /// Accept who has come so far, and then nobody.
    CloseListeners,
    /// Close some connections, by and by.
    Close(Batch),
    /// Say what is open.
    List {
        query: Arc<Query>,
        reply: oneshot::Sender<Vec<OpenConnection>>,
    },
    /// End every connection and then the worker.
    Stop,
}

/// One worker.
pub(crate) struct Worker {
    /// Which one it is.
    pub(crate) index: usize,
    /// The relay's buffers and pipes.
    pub(crate) relay: Rc<relay::Shared>,
    /// The gateway's clock.
    pub(crate) clock: Clock,
    shared: Arc<Shared>,
    now: Cell<Millis>,
    conns: RefCell<Conns>,
    holding: RefCell<Holding>,
    wheel: RefCell<Wheel>,
    closer: RefCell<Closer>,
    recent: RefCell<Recent>,
    /// Nobody is connected, and so the tick waits for whoever comes.
    rests: Cell<bool>,
    came: Notify,
    polling: Option<Polling>,
}

/// Runs a worker on the calling thread until it is told to stop; says first whether it can.
pub(crate) fn run(
    index: usize,
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    inbox: UnboundedReceiver<Message>,
    started: &Sender<io::Result<()>>,
) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    // Whoever started it waits for the word, so it is heard.
    let say = |outcome| drop(started.send(outcome));
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(fault) => return say(Err(fault)),
    };
    runtime.block_on(async {
        match listeners.into_iter().map(listener::register).collect() {
            Ok(listeners) => {
                say(Ok(()));
                work(Rc::new(Worker::new(index, shared)), listeners, inbox).await;
            }
            Err(fault) => say(Err(fault)),
        }
    });
}

async fn work(
    worker: Rc<Worker>,
    listeners: Vec<Registered>,
    mut inbox: UnboundedReceiver<Message>,
) {
    let mut accepting = Vec::new();
    let (closing, accepts) = watch::channel(false);
    for (index, listener) in (0..).zip(listeners) {
        accepting.push(tokio::task::spawn_local(listener::accept(
            worker.clone(),
            listener,
            index,
            accepts.clone(),
        )));
    }
    let ticking = tokio::task::spawn_local(tick(worker.clone()));
    let polling = tokio::task::spawn_local(polling::poll_busily(worker.clone()));
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Serve {
                socket,
                peer,
                listener,
            } => {
                Worker::start(&worker, socket, peer, listener, Admission::Serve);
            }
            Message::CloseListeners => {
                closing.send_replace(true);
            }
            Message::Close(batch) => worker.close_some(batch),
            Message::List { query, reply } => {
                tokio::task::spawn_local(open::list(worker.clone(), query, reply));
            }
            Message::Stop => break,
        }
    }
    accepting.drain(..).for_each(|task| task.abort());
    worker
        .conns
        .borrow()
        .each(|conn| conn.ask_to_stop(Reason::Stopped));
    while worker.conns.borrow().any() {
        tokio::task::yield_now().await;
    }
    ticking.abort();
    polling.abort();
}

/// Moves the worker's clock and brings up what is due, as long as anybody is connected.
async fn tick(worker: Rc<Worker>) {
    let mut interval = tokio::time::interval(TICK);
    let mut round = Round::default();
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        worker.turn(&mut round);
        if worker.may_rest() {
            worker.came.notified().await;
            interval.reset();
        }
    }
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Self {
        let clock = shared.clock;
        let ceiling = shared.config.limits.pending_hello_bytes / shared.inboxes.len();
        Self {
            index,
            relay: relay::Shared::new(),
            clock,
            now: Cell::new(clock.now()),
            conns: RefCell::default(),
            holding: RefCell::new(Holding::new(ceiling)),
            wheel: RefCell::new(Wheel::new(clock.now())),
            closer: RefCell::new(Closer::new(shared.config.closing, shared.inboxes.len())),
            recent: RefCell::default(),
            rests: Cell::new(false),
            came: Notify::new(),
            polling: Polling::new(shared.config.busy_poll),
            shared,
        }
    }

    /// Starts a connection that was counted to this worker.
    pub(crate) fn start(
        worker: &Rc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        listener: u16,
        admission: Admission,
    ) {
        worker.end_rest();
        worker.stir();
        let conn = worker
            .conns
            .borrow_mut()
            .add(|key| Conn::new(key, peer, listener, worker.clock.micros()));
        worker.closer.borrow_mut().joined();
        let mut serving = Serving {
            worker: worker.clone(),
            conn,
            close: None,
        };
        tokio::task::spawn_local(async move {
            let (worker, conn) = (&serving.worker, &serving.conn);
            let close = match admission {
                Admission::Serve => conn::serve(worker, conn, socket).await,
                Admission::Crowded | Admission::Refuse | Admission::Drop => {
                    conn::turn_away(worker, conn, socket).await
                }
            };
            serving.end(close);
        });
    }

    /// What a tick does.
    fn turn(&self, round: &mut Round) {
        let now = self.clock.now();
        self.now.set(now);
        let conns = self.conns.borrow();
        self.wheel.borrow_mut().advance(now, |key| {
            let conn = conns.get(key)?;
            if now < conn.due() {
                return Some(conn.due());
            }
            conn.wake();
            None
        });
        drop(conns);
        round.go_on(self, now);
    }

    /// Whether nobody is connected. Then nothing is kept for whoever was, and [`Worker::end_rest`] says when the tick goes on.
    fn may_rest(&self) -> bool {
        let rests = !self.conns.borrow().any();
        if rests {
            self.recent.borrow_mut().clear();
            self.wheel.borrow_mut().clear();
            self.rests.set(true);
        }
        rests
    }

    /// Has the clock of a worker that rests go on, from the present moment.
    fn end_rest(&self) {
        if self.rests.replace(false) {
            let now = self.clock.now();
            self.now.set(now);
            self.wheel.borrow_mut().stand_at(now);
            self.came.notify_one();
        }
    }

    /// Something has passed, or somebody has come: more may follow soon.
    pub(crate) fn stir(&self) {
        if let Some(polling) = &self.polling {
            polling.stir();
        }
    }

    /// Gives a client, counted to another worker, to that one; one that has ended cannot take it, so it is served here.
    pub(crate) fn hand_over(
        worker: &Rc<Self>,
        to: usize,
        socket: TcpStream,
        peer: SocketAddr,
        listener: u16,
    ) {
        let message = Message::Serve {
            socket,
            peer,
            listener,
        };
        if let Err(SendError(Message::Serve { socket, .. })) =
            worker.shared.inboxes[to].send(message)
        {
            worker.gauges().reassign(to, worker.index);
            Self::start(worker, socket, peer, listener, Admission::Serve);
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.shared.gauges
    }

    /// A listener as it was bound.
    pub(crate) fn bound(&self, index: u16) -> Bound {
        self.shared.listeners[usize::from(index)]
    }

    /// A listener as it is configured.
    pub(crate) fn listener(&self, index: u16) -> &Listener {
        &self.shared.config.listeners[usize::from(index)]
    }

    /// Whom a client counts for before it has said a word; nobody where a PROXY header is to name it: all of a load balancer's
    /// clients would be one.
    pub(crate) fn source_at_accept(&self, listener: u16, peer: SocketAddr) -> Option<IpAddr> {
        let peer = peer.ip();
        (!self.listener(listener).takes_header_from(peer)).then_some(peer)
    }

    /// The route for a server name.
    pub(crate) fn find(&self, role: Role, port: u16, name: &str) -> Result<Arc<Route>, Reason> {
        self.shared.tables.load().find(role, port, name).cloned()
    }

    /// Lends the route's balancer in force, and chance.
    pub(crate) fn with_balancer<T>(
        &self,
        route: &Route,
        f: impl FnOnce(&Balancer, &mut Rng) -> T,
    ) -> T {
        let mut recent = self.recent.borrow_mut();
        let (balancer, rng) = recent.of(route);
        f(balancer, rng)
    }

    /// The present moment, no older than a tick; for connections, because without any it stands.
    pub(crate) fn now(&self) -> Millis {
        self.now.get()
    }

    /// Has the tick wake the connection then.
    pub(crate) fn wake_at(&self, conn: &Conn, when: Millis) {
        conn.set_due(when);
        self.wheel.borrow_mut().schedule(conn.key, when);
    }

    /// Keeps bytes of a client that may have to be sent more than once.
    pub(crate) fn hold(&self, conn: &Conn, bytes: &[u8]) {
        self.holding
            .borrow_mut()
            .append(&mut conn.held.borrow_mut(), bytes);
    }

    /// Whether there is room for this connection's hello, which is whole now, until an endpoint has answered it.
    pub(crate) fn keep_whole(&self, conn: &Conn) -> bool {
        let capacity = conn.held.borrow().capacity();
        self.holding.borrow_mut().complete(capacity)
    }

    /// Gives back what was held of a connection.
    pub(crate) fn release(&self, conn: &Conn) {
        // From the hello's stage it comes only to the next one, and only with a hello that is whole and has room.
        let whole = conn.stage() > Stage::Hello;
        self.holding.borrow_mut().release(conn.held.take(), whole);
    }

    /// Puts a connection in the line of those whose hello is incomplete.
    pub(crate) fn queue(&self, conn: &Conn) {
        let conns = self.conns.borrow();
        let waits = |key| {
            conns
                .get(key)
                .is_some_and(|conn| conn.stage() == Stage::Hello)
        };
        self.holding.borrow_mut().queue(conn.key, waits);
    }

    /// Beyond the ceiling the oldest incomplete hellos go, until what is held fits.
    pub(crate) fn enforce_ceiling(&self) {
        let mut holding = self.holding.borrow_mut();
        while let Some(oldest) = holding.oldest_beyond_ceiling() {
            self.crowd_out(oldest, &mut holding);
        }
    }

    /// Ends the oldest incomplete hello of this worker, for a newcomer; whether there was one. A storm of clients that say
    /// nothing so ends itself, instead of keeping out those who would.
    pub(crate) fn end_oldest_hello(&self) -> bool {
        let mut holding = self.holding.borrow_mut();
        while let Some(oldest) = holding.oldest() {
            if self.crowd_out(oldest, &mut holding) {
                return true;
            }
        }
        false
    }

    /// Ends a connection whose hello is still incomplete; whether it was.
    fn crowd_out(&self, key: Key, holding: &mut Holding) -> bool {
        let conns = self.conns.borrow();
        let waiting = conns
            .get(key)
            .filter(|conn| conn.stage() == Stage::Hello && conn.asked_to_stop().is_none());
        if let Some(conn) = waiting {
            holding.release(conn.held.take(), false);
            conn.ask_to_stop(Reason::Overloaded);
        }
        waiting.is_some()
    }

    /// A client was only told that there is no room, because there was no descriptor for it.
    pub(crate) fn count_without_descriptor(&self) {
        self.stats().no_descriptor();
        let close = Close::new(Stage::Accept, Reason::Overloaded, Blame::Gateway);
        self.stats().closed(close);
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.shared.stats[self.index]
    }

    /// Begins to close some of the open connections.
    fn close_some(&self, batch: Batch) {
        let conns = self.conns.borrow();
        conns.each(|conn| conn.forget_quiet());
        // Not the worker's own clock, which may rest.
        let now = self.clock.now();
        self.closer.borrow_mut().begin(batch, conns.len(), now);
    }

    /// The connections that are open, the oldest first.
    pub(crate) fn by_age(&self) -> Vec<Key> {
        let mut all = Vec::new();
        let conns = self.conns.borrow();
        conns.each(|conn| all.push((conn.accepted, conn.key)));
        all.sort_unstable_by_key(|(accepted, _)| *accepted);
        all.into_iter().map(|(_, key)| key).collect()
    }

    /// The connection of this key, if it is still open.
    pub(crate) fn conn(&self, key: Key) -> Option<Rc<Conn>> {
        self.conns.borrow().get(key).cloned()
    }

    fn finished(&self, conn: &Conn, close: Close) {
        self.conns.borrow_mut().remove(conn.key);
        self.release(conn);
        let source = self.source_at_accept(conn.listener, conn.peer);
        self.gauges()
            .leave(self.index, source.or_else(|| conn.source()));
        self.stats().closed(close);
        conn.tell_end(close);
        if let Some(omitted) = self.shared.quota.take(close, self.now())
            && self
                .shared
                .reports
                .try_send(conn.report(self, close, omitted))
                .is_err()
        {
            self.stats().lost_report();
            self.shared.quota.give_back(close, omitted);
        }
    }
}

/// A connection's place, given back however its task ends: a panic in one must not be felt by the others.
struct Serving {
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    close: Option<Close>,
}

impl Serving {
    fn end(&mut self, close: Close) {
        self.close = Some(close);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let close = self
            .close
            .unwrap_or_else(|| self.conn.close(Reason::Internal, Blame::Gateway));
        self.worker.finished(&self.conn, close);
    }
}

#[cfg(test)]
mod tests;
