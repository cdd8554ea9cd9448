//! What a worker remembers of one open connection. It must not decide anything about it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::task::Waker;

use crate::balance::Choice;
use crate::clock::Millis;
use crate::close::{Blame, Close, Reason, Stage};
use crate::relay::Traffic;
use crate::tick::Key;
use crate::worker::Worker;

/// One open connection. Lives on its worker's thread; made at accept, so that nothing is allocated after the hello.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Where the worker keeps it.
    pub(crate) key: Key,
    /// The client, or whom a PROXY header named.
    pub(crate) peer: SocketAddr,
    /// Index of the listener it came from.
    pub(crate) listener: u16,
    /// When it was accepted.
    pub(crate) accepted: Millis,
    /// Live byte counts.
    pub(crate) traffic: Traffic,
    /// The client's bytes so far, while a hello may still be sent to another endpoint; empty otherwise.
    pub(crate) held: RefCell<Vec<u8>>,
    /// Whether the upstream's keepalive is set.
    pub(crate) settled: Cell<bool>,
    /// Whether the last answer that was passed on was another gateway's TLS alert.
    pub(crate) gateway_alert: Cell<bool>,
    /// The endpoint in use; holds its open-connection count.
    pub(crate) chosen: RefCell<Option<Choice>>,
    stage: Cell<Stage>,
    failed_name: RefCell<Option<Box<str>>>,
    due: Cell<Millis>,
    stop: Cell<Option<Reason>>,
    waker: RefCell<Option<Waker>>,
}

impl Conn {
    /// A connection that was just accepted.
    pub(crate) fn new(key: Key, peer: SocketAddr, listener: u16, accepted: Millis) -> Self {
        Self {
            key,
            peer,
            listener,
            accepted,
            traffic: Traffic::default(),
            held: RefCell::default(),
            settled: Cell::new(false),
            gateway_alert: Cell::new(false),
            chosen: RefCell::new(None),
            stage: Cell::new(Stage::Accept),
            failed_name: RefCell::new(None),
            due: Cell::default(),
            stop: Cell::new(None),
            waker: RefCell::new(None),
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

    /// The server name that led nowhere. One that was routed is the route's.
    pub(crate) fn failed_name(&self) -> Option<Box<str>> {
        self.failed_name.borrow().clone()
    }

    pub(super) fn set_failed_name(&self, name: &str) {
        *self.failed_name.borrow_mut() = Some(name.into());
    }

    pub(super) fn set_chosen(&self, choice: Choice) {
        *self.chosen.borrow_mut() = Some(choice);
    }

    /// Whether the hello is everything that the client has sent.
    pub(super) fn hello_is_all(&self, len: usize) -> bool {
        self.held.borrow().len() == len
    }

    /// The hello counts as sent once, to the endpoint that kept it.
    pub(super) fn count_hello(&self, sent: usize) {
        let sent = u64::try_from(sent).unwrap_or(0);
        self.traffic.sent.set(self.traffic.sent.get() + sent);
    }

    /// Gives the hello's buffer back.
    pub(super) fn release_hello(&self, worker: &Worker) {
        worker.release(self.held.take());
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn set_waker(&self, waker: Waker) {
        *self.waker.borrow_mut() = Some(waker);
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
