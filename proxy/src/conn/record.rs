//! What a worker remembers of one open connection. It must not decide anything about it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::Duration;

use crate::access::Attempt;
use crate::balance::Choice;
use crate::clock::{Micros, Millis};
use crate::close::{Blame, Close, Reason, Stage};
use crate::flows::Flow;
use crate::hello::{Alpn, Reject};
use crate::relay::{Behind, Traffic};
use crate::table::Route;
use crate::tick::Key;
use crate::worker::Worker;

/// One open connection. Lives on its worker's thread; made at accept, so that nothing is allocated after the hello.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Where the worker keeps it.
    pub(crate) key: Key,
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// Index of the listener it came from.
    pub(crate) listener: u16,
    /// When it was accepted.
    pub(crate) accepted: Micros,
    /// Live byte counts.
    pub(crate) traffic: Traffic,
    /// The client's bytes so far, while a hello may still be sent to another endpoint; empty otherwise.
    pub(crate) held: RefCell<Vec<u8>>,
    /// Whether the upstream's keepalive is set.
    pub(crate) settled: Cell<bool>,
    /// The description of the TLS alert that another network's gateway answered the latest hello with.
    pub(crate) gateway_alert: Cell<Option<NonZeroU8>>,
    /// What is known to come behind the first answer.
    pub(crate) behind_answer: Cell<Behind>,
    /// Whether the upstream spoke last: then nobody waits for an answer, as far as we can see.
    pub(crate) answered: Cell<bool>,
    /// Whether the relay holds bytes that one side has yet to take.
    pub(crate) holds_bytes: Cell<bool>,
    /// What the hello offered.
    pub(crate) alpn: Cell<Alpn>,
    /// Where its name led.
    pub(crate) route: OnceCell<Arc<Route>>,
    /// The endpoint in use, and one of its open connections.
    pub(crate) chosen: OnceCell<Choice>,
    /// How long the connect to it took, in microseconds.
    pub(crate) connect: Cell<u32>,
    stage: Cell<Stage>,
    stop: Cell<Option<Reason>>,
    /// Rounds of the worker in which no byte moved.
    quiet: Cell<u8>,
    /// When a round last found that bytes had moved, in seconds.
    moved: Cell<u32>,
    first_byte: Cell<u32>,
    due: Cell<Millis>,
    waker: OnceCell<Waker>,
    flow: OnceCell<Arc<Flow>>,
    told: Cell<(u64, u64)>,
    rare: OnceCell<Box<Rare>>,
}

/// What few connections have.
#[derive(Debug, Default)]
struct Rare {
    /// The server name, where it is not the route's.
    name: OnceCell<Box<str>>,
    /// Whom a PROXY header named.
    client: OnceCell<SocketAddr>,
    /// Whom it counts for, of those that a header named.
    source: OnceCell<IpAddr>,
    /// What was wrong with its hello.
    reject: Cell<Option<Reject>>,
    /// Attempts that did not get the connection.
    attempts: RefCell<Vec<Attempt>>,
}

impl Conn {
    /// A connection that was just accepted.
    pub(crate) fn new(key: Key, peer: SocketAddr, listener: u16, accepted: Micros) -> Self {
        Self {
            key,
            peer,
            listener,
            accepted,
            traffic: Traffic::default(),
            held: RefCell::default(),
            settled: Cell::new(false),
            gateway_alert: Cell::new(None),
            behind_answer: Cell::default(),
            answered: Cell::new(false),
            holds_bytes: Cell::new(false),
            alpn: Cell::default(),
            route: OnceCell::new(),
            chosen: OnceCell::new(),
            connect: Cell::new(0),
            stage: Cell::new(Stage::Accept),
            stop: Cell::new(None),
            quiet: Cell::new(0),
            moved: Cell::new(seconds(accepted.millis())),
            first_byte: Cell::new(0),
            due: Cell::default(),
            waker: OnceCell::new(),
            flow: OnceCell::new(),
            told: Cell::default(),
            rare: OnceCell::new(),
        }
    }

    /// How far it has come.
    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// It has come so far.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
    }

    /// An end at the present stage.
    pub(crate) fn close(&self, reason: Reason, blame: Blame) -> Close {
        Close::new(self.stage.get(), reason, blame)
    }

    /// The server name, as far as it is known.
    pub(crate) fn name(&self) -> Option<Arc<str>> {
        let own = self.rare.get().and_then(|rare| rare.name.get());
        own.map(|name| Arc::from(&**name))
            .or_else(|| self.route.get().map(|route| route.name().into()))
    }

    /// A server name that is not its route's, or that has none.
    pub(super) fn set_name(&self, name: &str) {
        let _ = self.rare().name.set(name.into());
    }

    /// The client: whom a PROXY header named, else who connected.
    pub(crate) fn client(&self) -> SocketAddr {
        let named = self.rare.get().and_then(|rare| rare.client.get());
        named.copied().unwrap_or(self.peer)
    }

    pub(super) fn set_client(&self, client: SocketAddr) {
        let _ = self.rare().client.set(client);
    }

    /// Whom it counts for, where a PROXY header has said so.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.rare.get()?.source.get().copied()
    }

    /// It has been counted for whom its PROXY header named.
    pub(super) fn set_source(&self, source: IpAddr) {
        let _ = self.rare().source.set(source);
    }

    /// What was wrong with its hello, if anything was.
    pub(super) fn reject(&self) -> Option<Reject> {
        self.rare.get()?.reject.get()
    }

    pub(super) fn set_reject(&self, reject: Reject) {
        self.rare().reject.set(Some(reject));
    }

    /// An attempt that did not get the connection.
    pub(crate) fn note(&self, attempt: Attempt) {
        self.rare().attempts.borrow_mut().push(attempt);
    }

    /// The attempts that did not get the connection, in their order.
    pub(crate) fn take_attempts(&self) -> Vec<Attempt> {
        self.rare
            .get()
            .map_or_else(Vec::new, |rare| rare.attempts.take())
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Whether the hello is everything that the client has sent.
    pub(super) fn hello_is_all(&self, len: usize) -> bool {
        self.held.borrow().len() == len
    }

    /// The endpoint that keeps the connection, and how long the connect to it took, in microseconds. What it was sent of the hello counts
    /// only now: once, however many endpoints got it.
    pub(crate) fn keep(&self, choice: Choice, sent: usize, connect: u32) {
        let sent = u64::try_from(sent).unwrap_or(0);
        self.traffic.sent.set(self.traffic.sent.get() + sent);
        self.connect.set(connect);
        let _ = self.chosen.set(choice);
    }

    /// A dial to this endpoint failed, for which it is to blame.
    pub(crate) fn blame(&self, choice: &Choice, now: Millis) {
        if let Some(route) = self.route.get() {
            choice.dial_failed(route, now);
        }
    }

    /// Gives the hello's buffer back.
    pub(super) fn release_hello(&self, worker: &Worker) {
        worker.release(self);
    }

    /// Bytes that have moved each way.
    pub(super) fn moved(&self) -> (u64, u64) {
        (self.traffic.sent.get(), self.traffic.received.get())
    }

    /// Bytes may have moved since there were so many: notes the upstream's first one, and who spoke last. When both did,
    /// the client may have asked again, so it counts as the last.
    pub(super) fn see_traffic(&self, before: (u64, u64), worker: &Worker) {
        let (sent, received) = self.moved();
        if (sent, received) != before {
            worker.stir();
        }
        if received > before.1 {
            if self.first_byte.get() == 0 {
                let micros = worker.clock.micros().since(self.accepted).as_micros();
                self.first_byte
                    .set(u32::try_from(micros).unwrap_or(u32::MAX).max(1));
            }
            self.answered.set(true);
        }
        if sent > before.0 {
            self.answered.set(false);
        }
    }

    /// From accept to that byte; an hour and a bit at most.
    pub(crate) fn first_byte(&self) -> Option<Duration> {
        let micros = self.first_byte.get();
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    /// Its bytes count for this flow from now on.
    pub(super) fn count_for(&self, flow: Arc<Flow>) {
        flow.opened.fetch_add(1, Relaxed);
        let _ = self.flow.set(flow);
    }

    /// The flow its bytes count for; none before the relay.
    pub(crate) fn flow(&self) -> Option<&Arc<Flow>> {
        self.flow.get()
    }

    /// Tells its flow what has moved since it was told last; whether anything has.
    pub(crate) fn tell_flow(&self) -> bool {
        let (sent, received) = self.moved();
        let (told_sent, told_received) = self.told.replace((sent, received));
        if let Some(flow) = self.flow.get() {
            if sent > told_sent {
                flow.sent.fetch_add(sent - told_sent, Relaxed);
            }
            if received > told_received {
                flow.received.fetch_add(received - told_received, Relaxed);
            }
        }
        (sent, received) != (told_sent, told_received)
    }

    /// Another round of the worker is over; in how many in a row no byte has moved, 255 for all that are more.
    pub(crate) fn count_quiet(&self, moved: bool, now: Millis) -> u8 {
        let rounds = if moved {
            self.moved.set(seconds(now));
            0
        } else {
            self.quiet.get().saturating_add(1)
        };
        self.quiet.set(rounds);
        rounds
    }

    /// How long no byte has moved, to the second and as the rounds have seen it.
    pub(crate) fn idle(&self, now: Millis) -> Duration {
        Duration::from_secs(seconds(now).saturating_sub(self.moved.get()).into())
    }

    /// Rounds have another length from now on.
    pub(crate) fn forget_quiet(&self) {
        self.quiet.set(0);
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Asks the connection to end itself, for this reason.
    pub(crate) fn ask_to_stop(&self, reason: Reason) {
        if self.stop.get().is_none() {
            self.stop.set(Some(reason));
        }
        self.wake();
    }

    /// Why it should end itself, if it should.
    pub(crate) fn asked_to_stop(&self) -> Option<Reason> {
        self.stop.get()
    }

    /// When the tick is to wake it; 0 for never.
    pub(crate) fn due(&self) -> Millis {
        self.due.get()
    }

    pub(crate) fn set_due(&self, when: Millis) {
        self.due.set(when);
    }

    /// Whether the moment it waits for has come.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.due.get() != Millis::default() && now >= self.due.get()
    }
}

/// A worker's time in seconds: 136 years of it.
fn seconds(at: Millis) -> u32 {
    u32::try_from(at.0 / 1_000).unwrap_or(u32::MAX)
}
