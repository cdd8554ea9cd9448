//! One kind on one stream: what both protocols have in common.

use std::sync::Arc;

use super::ledger::{Ledger, Seen, Told};
use super::{Fault, MAX_NAME_BYTES, MAX_NAMES, Said, Standing};
use crate::proto::rpc::Status;
use crate::resource::{Kind, Tag};
use crate::view::Shelf;

/// Characters that are kept of why a client refused a response.
const NACK: usize = 1_000;

/// One kind on one stream.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) kind: Kind,
    /// See [`super::Session::new`].
    pub(super) forgets: bool,
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
    /// An entry may be marked as refused.
    refuses: bool,
    nack: Option<Arc<str>>,
    nacks: u64,
    /// Stands for the names of the last state-of-the-world request, in their order.
    pub(super) said: Option<u64>,
}

impl Subscription {
    pub(super) fn new(kind: Kind, forgets: bool) -> Self {
        Self {
            kind,
            forgets,
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
            refuses: false,
            nack: None,
            nacks: 0,
            said: None,
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
        let again = error.is_some() && flying > 1 && in_parts;
        let refused = error.is_some() && !again;
        self.refuses |= refused;
        if let Some(error) = error {
            self.nack = Some(shortened(&error.message));
            self.nacks += 1;
            if again {
                self.most = flying / 2;
                self.unsettled = true;
            }
        } else {
            self.accepted = self.sent;
            self.most = self.most.saturating_mul(2);
        }
        for mut entry in self.ledger.flying() {
            entry.flying = false;
            entry.forced |= again;
            entry.refused = refused;
        }
        match error {
            Some(_) => Said::Nack(self.kind),
            None => Said::Ack(self.kind),
        }
    }

    /// Whether the client has refused what is newest of something that it wants. (Where responses hold everything, all of it is
    /// refused together.)
    pub(super) fn is_refusing(&mut self) -> bool {
        self.refuses = self.refuses && self.ledger.iter().any(|entry| is_refused(&entry));
        self.refuses
    }

    /// Notes a response that goes out; `state` names what the client has after it.
    pub(super) fn sends(&mut self, nonce: u64, state: u64) -> String {
        self.must_answer = false;
        self.waiting = true;
        self.flying = self.ledger.flying().count();
        self.last = Some(nonce);
        self.sent = state;
        nonce_text(nonce)
    }

    /// Notes that the client has a state from an earlier stream.
    pub(super) fn resumes(&mut self, state: u64) {
        self.sent = state;
        self.accepted = state;
    }

    /// What the response that was just made holds and the client did not have.
    pub(super) fn just_sent(&self) -> impl Iterator<Item = &Arc<Tag>> {
        let sent = (self.ledger.iter())
            .filter(|entry| entry.flying && entry.fresh && entry.told == Told::Version);
        sent.map(|entry| entry.tag)
    }

    /// Sends an entry again, if there is one.
    pub(super) fn force(&mut self, name: &str) {
        if let Some(mut entry) = self.ledger.find(name) {
            entry.forced = true;
            self.unsettled = true;
        }
    }

    /// Whether what the client made us remember stays within bounds; what was on the shelf is not of its making.
    pub(super) fn check_size(&self) -> Result<(), Fault> {
        let unknown = self.ledger.iter().filter(|entry| entry.tag.is_bare());
        let (count, bytes) = unknown.fold((0, 0), |(count, bytes), entry| {
            (count + 1, bytes + entry.tag.name.len())
        });
        match count > MAX_NAMES || bytes > MAX_NAME_BYTES {
            true => Err(Fault::TooManyNames(self.kind)),
            false => Ok(()),
        }
    }

    /// Whether a request names so few that it may be looked into.
    pub(super) fn check_request(&self, shelf: &Shelf, names: usize) -> Result<(), Fault> {
        match names > MAX_NAMES + shelf.items().len() {
            true => Err(Fault::TooManyNames(self.kind)),
            false => Ok(()),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let told = || (self.ledger.iter()).filter(|entry| entry.told == Told::Version);
        let refused = told().filter(is_refused);
        let refused = refused.fold(0, |sum: u64, entry| sum.wrapping_add(entry.tag.mark));
        // What was refused alone is not accepted by taking something else.
        let accepted = match self.accepted == self.sent {
            true => self.sent.wrapping_sub(refused),
            false => self.accepted,
        };
        Standing {
            open: self.open,
            wildcard: self.wildcard,
            resources: told().count(),
            sent: self.sent,
            accepted,
            waiting: self.waiting,
            nack: self.nack.clone(),
            nacks: self.nacks,
        }
    }
}

/// Whether it is something that the client has refused; that something is gone is refused only beside that.
fn is_refused(entry: &Seen<'_>) -> bool {
    entry.refused && entry.told == Told::Version
}

/// The beginning of what a client said, as far as people read it.
fn shortened(text: &str) -> Arc<str> {
    let end = text
        .char_indices()
        .nth(NACK)
        .map_or(text.len(), |(at, _)| at);
    text[..end].into()
}

/// A nonce as the client sees it; it names a response of this stream and nothing else.
fn nonce_text(nonce: u64) -> String {
    nonce.to_string()
}
