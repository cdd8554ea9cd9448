//! One ADS stream: what the client subscribed to, what it was sent, what it said to that; in, requests and the view's newest
//! state; out, responses. No IO, no clock. It must not know how a resource is made.
//!
//! Nothing is queued: what is due is found by comparing the view's newest state with what was sent, at the moment when the
//! stream can take a response. At most one response of a kind waits for its answer.

mod delta;
mod ledger;
mod sotw;
mod subscription;

use std::sync::Arc;

use self::subscription::Subscription;
use super::wire::{DeltaRequest, DeltaResponse, SotwRequest, SotwResponse};
use crate::resource::Kind;
use crate::resource::assignment::LeftOut;
use crate::view::Shelves;

/// Most names of one kind that a stream may subscribe to beyond those that are there, which cost next to nothing: a client that
/// asks for more is ended, so that it cannot grow without bound. Ten times the largest service count that a mesh is known to
/// have.
pub const MAX_NAMES: usize = 200_000;

/// And bytes of those names: as many of the usual length.
pub const MAX_NAME_BYTES: usize = 16 << 20;

/// Bytes of resources in one delta response or one state-of-the-world response of a kind that may come in parts, at least one
/// resource: clients decode a message as a whole, and gRPC's usual limit for one is 4 MiB.
const RESPONSE: usize = 1 << 20;

/// Removals come last, and whoever names others goes before whom he names.
const REMOVALS: [Kind; 4] = [Kind::Listener, Kind::Routes, Kind::Cluster, Kind::Endpoints];

/// Which of the two protocols a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `StreamAggregatedResources`.
    Sotw,
    /// `DeltaAggregatedResources`.
    Delta,
}

/// A stream that has to be ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More names than [`MAX_NAMES`], or longer ones than [`MAX_NAME_BYTES`].
    #[error("more than {MAX_NAMES} names of {}, or {MAX_NAME_BYTES} bytes of them, are asked for that are not there", .0.as_str())]
    TooManyNames(Kind),
}

/// What a client said to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing to a response: it subscribed, or answered one that is long forgotten.
    Nothing,
    /// It took the response.
    Ack(Kind),
    /// It refused the response.
    Nack(Kind),
}

/// How a kind stands, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the client has asked for it at all.
    pub open: bool,
    /// Whether it asked for everything.
    pub wildcard: bool,
    /// Resources that it was told of.
    pub resources: usize,
    /// A name for the state that was sent last.
    pub sent: u64,
    /// And for the one that was accepted last.
    pub accepted: u64,
    /// Whether a response waits for its answer.
    pub waiting: bool,
    /// The text of the last refusal, its beginning.
    pub nack: Option<Arc<str>>,
    /// Refusals on this stream.
    pub nacks: u64,
}

/// What a client lacks of a kind: by what it is held up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Something may have to be sent.
    pub sending: bool,
    /// A response waits for its answer.
    pub answer: bool,
    /// It has refused what is newest of something.
    pub refused: bool,
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    kinds: [Subscription; 4],
    shelves: Arc<Shelves>,
    nonce: u64,
}

impl Session {
    /// A stream of a view. `forgets`: whether the client may have dropped a resource that it had under the version it comes back
    /// with, and now wants again. gRPC may, as its names are those that the program uses at the moment
    /// (<https://github.com/grpc/grpc-go/issues/7013>); Envoy's are those of its clusters, which come by the same stream.
    #[must_use]
    pub fn new(shelves: Arc<Shelves>, forgets: bool) -> Self {
        Self {
            kinds: Kind::ALL.map(|kind| Subscription::new(kind, forgets)),
            shelves,
            nonce: 0,
        }
    }

    /// The view's newest state; whatever was not sent of the one before is forgotten.
    pub fn offer(&mut self, shelves: Arc<Shelves>) {
        for kind in Kind::ALL {
            if !Arc::ptr_eq(self.shelves.of(kind), shelves.of(kind)) {
                self.kinds[kind as usize].unsettled = true;
            }
        }
        self.shelves = shelves;
    }

    /// A request of a state-of-the-world stream. One for a kind that is not served is ignored.
    ///
    /// # Errors
    /// When the stream has to be ended.
    pub fn sotw(&mut self, request: SotwRequest) -> Result<Said, Fault> {
        let Some(kind) = Kind::of_url(&request.type_url) else {
            return Ok(Said::Nothing);
        };
        let shelf = self.shelves.of(kind);
        self.kinds[kind as usize].sotw(shelf, request)
    }

    /// A request of a delta stream. One for a kind that is not served is ignored.
    ///
    /// # Errors
    /// When the stream has to be ended.
    pub fn delta(&mut self, request: DeltaRequest) -> Result<Said, Fault> {
        let Some(kind) = Kind::of_url(&request.type_url) else {
            return Ok(Said::Nothing);
        };
        let shelf = self.shelves.of(kind);
        self.kinds[kind as usize].delta(shelf, request)
    }

    /// The next state-of-the-world response, if one is due.
    pub fn next_sotw(&mut self) -> Option<(Kind, SotwResponse)> {
        for kind in Kind::ALL {
            let shelf = Arc::clone(self.shelves.of(kind));
            let nonce = self.nonce + 1;
            if let Some(response) = self.kinds[kind as usize].next_sotw(&shelf, nonce) {
                self.nonce = nonce;
                self.follow(kind);
                return Some((kind, response));
            }
        }
        None
    }

    /// The next delta response, if one is due: what is new first, and removals when nothing is new.
    pub fn next_delta(&mut self) -> Option<(Kind, DeltaResponse)> {
        let news = Kind::ALL.map(|kind| (kind, false));
        let removals = REMOVALS.map(|kind| (kind, true));
        for (kind, removals) in news.into_iter().chain(removals) {
            let shelf = Arc::clone(self.shelves.of(kind));
            let nonce = self.nonce + 1;
            if let Some(response) = self.kinds[kind as usize].next_delta(&shelf, nonce, removals) {
                self.nonce = nonce;
                self.follow(kind);
                return Some((kind, response));
            }
        }
        None
    }

    /// Endpoints that the client is not told of.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        self.shelves.left_out
    }

    /// How a kind stands.
    #[must_use]
    pub fn standing(&self, kind: Kind) -> Standing {
        self.kinds[kind as usize].standing()
    }

    /// What the client lacks of a kind. What changes in a kind that was never asked for is no news.
    pub fn lacks(&mut self, kind: Kind) -> Lacks {
        let of = &mut self.kinds[kind as usize];
        Lacks {
            sending: of.open && of.unsettled,
            answer: of.is_waiting(),
            refused: of.is_refusing(),
        }
    }

    /// Endpoints follow their cluster: a changed cluster warms up only once its endpoints come again, and Envoy does not ask
    /// for them (in delta not at all, in state-of-the-world with a request like one before).
    fn follow(&mut self, kind: Kind) {
        if kind != Kind::Cluster {
            return;
        }
        let [clusters, endpoints, ..] = &mut self.kinds;
        for cluster in clusters.just_sent() {
            endpoints.force(&cluster.name);
        }
    }
}

#[cfg(test)]
mod tests;
