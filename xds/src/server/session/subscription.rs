//! One kind on one stream: what both protocols have in common.

use std::sync::Arc;

use super::ledger::{Entry, Ledger, Told};
use super::{Fault, MAX_NAMES, Said, Standing};
use crate::proto::rpc::Status;
use crate::resource::{Kind, Tag};

/// One kind on one stream.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) kind: Kind,
    pub(super) ledger: Ledger,
    /// The client has asked for the kind.
    pub(super) open: bool,
    /// It wants everything.
    pub(super) wildcard: bool,
    /// It has named something on this stream, so that naming nothing means nothing (xDS protocol, "How the client specifies
    /// what resources to return").
    pub(super) named: bool,
    /// An answer is due, be it empty.
    pub(super) must_answer: bool,
    /// Something may be due: the view or the subscription has changed since everything was told.
    pub(super) unsettled: bool,
    /// Most resources in a response: less than all only while a refused response is sent again in parts.
    pub(super) most: usize,
    /// Nonce of the last response, and whether its answer is out.
    last: Option<u64>,
    waiting: bool,
    /// Resources in the response that waits for its answer; some may not be subscribed to any more.
    flying: usize,
    sent: u64,
    accepted: u64,
    nack: Option<Arc<str>>,
}

impl Subscription {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            ledger: Ledger::default(),
            open: false,
            wildcard: false,
            named: false,
            must_answer: false,
            unsettled: false,
            most: usize::MAX,
            last: None,
            waiting: false,
            flying: 0,
            sent: 0,
            accepted: 0,
            nack: None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether a response can go out now.
    pub(super) fn is_due(&self) -> bool {
        self.open && self.unsettled && !self.waiting
    }

    /// Whether this nonce answers the last response.
    pub(super) fn is_last(&self, nonce: &str) -> bool {
        self.last.is_some_and(|last| nonce == nonce_text(last))
    }

    /// Whether a response has been sent on this stream.
    pub(super) fn has_sent(&self) -> bool {
        self.last.is_some()
    }

    /// The answer to the response that waits for one. Of a refused response every resource is sent once more with fewer
    /// beside it, down to alone: a client may have dropped the good ones together with the bad one. What is refused alone is
    /// not sent again until it changes. Where responses hold everything there are no parts.
    pub(super) fn answered(&mut self, error: Option<&Status>, in_parts: bool) -> Said {
        self.waiting = false;
        let flying = self.flying;
        if let Some(error) = error {
            self.nack = Some(error.message.as_str().into());
            if flying > 1 && in_parts {
                self.most = flying / 2;
                self.unsettled = true;
            }
        } else {
            self.accepted = self.sent;
            self.most = self.most.saturating_mul(2);
        }
        for entry in self.ledger.iter_mut().filter(|entry| entry.flying) {
            entry.flying = false;
            entry.forced |= error.is_some() && flying > 1 && in_parts;
        }
        match error {
            Some(_) => Said::Nack(self.kind),
            None => Said::Ack(self.kind),
        }
    }

    /// Notes a response that goes out; `state` names what the client has after it.
    pub(super) fn sends(&mut self, nonce: u64, state: u64) -> String {
        self.must_answer = false;
        self.waiting = true;
        self.flying = self.ledger.iter().filter(|entry| entry.flying).count();
        self.last = Some(nonce);
        self.sent = state;
        nonce_text(nonce)
    }

    /// A name for what the client has been told.
    pub(super) fn state(&self) -> u64 {
        let told = self
            .ledger
            .iter()
            .filter(|entry| entry.told == Told::Version);
        told.fold(0, |sum, entry| sum.wrapping_add(entry.tag.mark))
    }

    /// Notes that the client has a state from an earlier stream.
    pub(super) fn resumes(&mut self, state: u64) {
        self.sent = state;
        self.accepted = state;
    }

    /// What the response that was just made holds and the client did not have.
    pub(super) fn just_sent(&self) -> impl Iterator<Item = &Arc<Tag>> {
        let sent = |entry: &&Entry| entry.flying && entry.fresh && entry.told == Told::Version;
        self.ledger.iter().filter(sent).map(|entry| &entry.tag)
    }

    /// Sends an entry again, if there is one.
    pub(super) fn force(&mut self, name: &str) {
        if let Some(entry) = self.ledger.find(name) {
            entry.forced = true;
            self.unsettled = true;
        }
    }

    pub(super) fn check_size(&self) -> Result<(), Fault> {
        let named = self.ledger.len();
        if named > MAX_NAMES && self.ledger.iter().filter(|entry| entry.named).count() > MAX_NAMES {
            return Err(Fault::TooManyNames(self.kind));
        }
        Ok(())
    }

    pub(super) fn standing(&self) -> Standing {
        let told = self
            .ledger
            .iter()
            .filter(|entry| entry.told == Told::Version);
        Standing {
            open: self.open,
            wildcard: self.wildcard,
            resources: told.count(),
            sent: self.sent,
            accepted: self.accepted,
            waiting: self.waiting,
            nack: self.nack.clone(),
        }
    }
}

/// A nonce as the client sees it; it names a response of this stream and nothing else.
fn nonce_text(nonce: u64) -> String {
    nonce.to_string()
}
