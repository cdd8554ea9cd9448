//! One server, seen as a client of ADS sees it: what to ask, what to acknowledge, what is known. It does no IO and reads no
//! clock, so whoever has a stream hands over what comes and sends what is returned.
//!
//! Clusters and listeners are asked for as a whole, endpoints by the names that chains lead to. Everything known outlives a
//! stream; a new stream tells the server which resources that is. The rules are those of Envoy's `xds_protocol.rst`.

mod delta;
mod sotw;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{NetworkId, Snapshot};
use serde::Serialize;

use super::facts::Kind;
use super::world::{Ceilings, Refusal, World};
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    ResourceError,
};
use crate::proto::rpc::Status;

/// gRPC's INVALID_ARGUMENT, which clients of xDS say of a resource that they refuse.
const INVALID_ARGUMENT: i32 = 3;

/// gRPC's NOT_FOUND, by which a server says of a resource that it is not there.
const NOT_FOUND: i32 = 5;

/// How much of what is wrong goes to the server: its log is read by people.
const REPORTED: usize = 5;

/// Refused resources that are kept on record, and characters of the name and the reason of each: a server may send anything.
const LISTED: usize = 1_000;
const QUOTED: usize = 1_000;

/// Which of the two protocols is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Changes alone.
    #[default]
    Delta,
    /// State of the world: all resources of a kind with every change of one, as far as the kind demands it.
    Sotw,
}

/// What to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// In mode [`Mode::Delta`].
    Delta(DeltaDiscoveryRequest),
    /// In mode [`Mode::Sotw`].
    Sotw(DiscoveryRequest),
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// In mode [`Mode::Delta`].
    Delta(DeltaDiscoveryResponse),
    /// In mode [`Mode::Sotw`].
    Sotw(DiscoveryResponse),
}

impl Response {
    /// The version of what it says, of the whole kind.
    #[must_use]
    pub fn version(&self) -> &str {
        match self {
            Self::Delta(response) => &response.system_version_info,
            Self::Sotw(response) => &response.version_info,
        }
    }
}

/// What followed from a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Received {
    /// What to send now, in this order.
    pub requests: Vec<Request>,
    /// The kind, if it is one that is followed.
    pub kind: Option<Kind>,
    /// What was refused of it.
    pub refused: Vec<Refusal>,
}

/// One server, as its client sees it.
#[derive(Debug)]
pub struct Session {
    mode: Mode,
    world: World,
    kinds: BTreeMap<Kind, State>,
    /// What cannot be read at present, or not be said by the server, the first [`LISTED`]; by name, since the last good one
    /// of each stays.
    refused: BTreeMap<(Kind, String), String>,
}

/// What is known of one kind.
#[derive(Clone, Debug, Default)]
struct State {
    /// Names that are subscribed on this stream; clusters and listeners are asked for as a whole.
    subscribed: BTreeSet<Arc<str>>,
    /// Versions of resources that are known (delta).
    versions: BTreeMap<Arc<str>, String>,
    /// Version of the last response that was taken as a whole (state of the world), for people too.
    version: String,
    /// The last response's; dies with its stream.
    nonce: String,
    /// The kind was asked for on this stream.
    asked: bool,
    /// A response has come, on this or an earlier stream.
    answered: bool,
}

impl Session {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(mode: Mode, network: NetworkId) -> Self {
        Self {
            mode,
            world: World::new(network),
            kinds: Kind::ALL.map(|kind| (kind, State::default())).into(),
            refused: BTreeMap::new(),
        }
    }

    /// Takes no more than this from now on.
    pub fn limit(&mut self, ceilings: Ceilings) {
        self.world.limit(ceilings);
    }

    /// Which protocol is spoken.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Speaks the other protocol from the next stream on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        for state in self.kinds.values_mut() {
            // Versions of one protocol say nothing in the other.
            state.version.clear();
            state.versions.clear();
        }
    }

    /// A new stream: what to send first. What is known stays, and the server is told of it.
    pub fn open(&mut self) -> Vec<Request> {
        for state in self.kinds.values_mut() {
            state.nonce.clear();
            state.asked = false;
            state.subscribed.clear();
        }
        let mut requests = vec![
            self.request(Kind::Clusters, Vec::new()),
            self.request(Kind::Listeners, Vec::new()),
        ];
        requests.extend(self.subscribe());
        requests
    }

    /// Takes a response over. What can be read of it counts, whatever else is wrong with it.
    pub fn receive(&mut self, response: Response) -> Received {
        let mut received = Received::default();
        let type_url = match &response {
            Response::Delta(response) => &response.type_url,
            Response::Sotw(response) => &response.type_url,
        };
        let Some(kind) = Kind::of(type_url) else {
            // Never asked for; there is nothing that it could be answered with.
            return received;
        };
        received.kind = Some(kind);
        let mut refused = match response {
            Response::Delta(response) => self.take_delta(kind, response),
            Response::Sotw(response) => self.take_sotw(kind, response),
        };
        for refusal in &mut refused {
            shorten(&mut refusal.name);
            shorten(&mut refusal.why);
        }
        if let Some(state) = self.kinds.get_mut(&kind) {
            state.answered = true;
        }
        let acknowledged = self.request(kind, refused.clone());
        received.requests.push(acknowledged);
        received.refused = refused;
        received.requests.extend(self.subscribe());
        received
    }

    /// What is waited for does not come, though the server answers (it has sent clusters): it is taken for not there, until
    /// it does. A server without listeners need not say so; but `is_kept`, where what it said to an earlier run is in force,
    /// its listeners are waited for without end, since nothing at all would take the place of what is served.
    pub fn give_up(&mut self, is_kept: bool) {
        let answers = self.kinds.get(&Kind::Clusters);
        if answers.is_none_or(|state| !state.answered) {
            return;
        }
        if let Some(state) = self.kinds.get_mut(&Kind::Listeners) {
            state.answered |= !is_kept;
        }
        self.world.give_up();
    }

    /// Whether everything that was asked for has been answered once: before that, a snapshot would lack what exists.
    pub fn is_complete(&mut self) -> bool {
        let whole = [Kind::Clusters, Kind::Listeners];
        let mut answered = whole.iter().filter_map(|kind| self.kinds.get(kind));
        answered.all(|state| state.answered) && self.waiting().is_empty()
    }

    /// Endpoints that were asked for and are neither there nor refused.
    pub fn waiting(&mut self) -> Vec<Arc<str>> {
        self.world.missing()
    }

    /// What follows from everything that is known; the same as `before` where nothing has changed.
    pub fn snapshot(&mut self, before: &Arc<Snapshot>) -> Arc<Snapshot> {
        self.world.snapshot(before)
    }

    /// What the server has said.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What cannot be read at present, or the server has an error in the place of, and why; the last good one of each name
    /// is in force.
    pub fn refused(&self) -> impl Iterator<Item = (Kind, &str, &str)> {
        let all = self.refused.iter();
        all.map(|((kind, name), why)| (*kind, name.as_str(), why.as_str()))
    }

    /// The server's version of a kind, empty before the first.
    #[must_use]
    pub fn version(&self, kind: Kind) -> &str {
        self.kinds.get(&kind).map_or("", |state| &state.version)
    }

    /// Takes over one resource; a refusal stays on record until a good one of that name comes, or it goes.
    fn put(&mut self, kind: Kind, bytes: &[u8], expected: &str) -> Result<Arc<str>, Refusal> {
        let taken = self.world.put(kind, bytes, expected);
        match &taken {
            Ok(name) => {
                self.refused.remove(&key(kind, name));
            }
            Err(refusal) => self.record(kind, &refusal.name, refusal.why.clone()),
        }
        taken
    }

    /// Takes over what a server says in the place of a resource: that it is not there, which is a removal (delta xDS says so of
    /// `resource_errors`), or why it cannot say it, and then the last good one stays. That is no fault of the response, so it
    /// is acknowledged. Gives the name of what stays.
    fn take_error(&mut self, kind: Kind, error: ResourceError) -> Option<String> {
        let name = error.resource_name.unwrap_or_default().name;
        let status = error.error_detail.unwrap_or_default();
        if status.code == NOT_FOUND {
            self.remove(kind, &name);
            return None;
        }
        let why = format!("the server says: {} (code {})", status.message, status.code);
        self.record(kind, &name, why);
        if kind == Kind::Endpoints {
            self.world.cannot_have(&name);
        }
        Some(name)
    }

    /// Has on record that a resource cannot be had.
    fn record(&mut self, kind: Kind, name: &str, mut why: String) {
        let key = key(kind, name);
        if self.refused.len() < LISTED || self.refused.contains_key(&key) {
            shorten(&mut why);
            self.refused.insert(key, why);
        }
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        self.refused.remove(&key(kind, name));
        if let Some(state) = self.kinds.get_mut(&kind) {
            state.versions.remove(name);
        }
        self.world.remove(kind, name);
    }

    /// Asks for endpoints that are wanted now, and no more for others. Before a chain leads anywhere nothing is asked.
    fn subscribe(&mut self) -> Option<Request> {
        let wanted = self.world.wanted();
        let state = self.kinds.get_mut(&Kind::Endpoints)?;
        state.versions.retain(|name, _| wanted.contains(name));
        self.refused
            .retain(|(kind, name), _| *kind != Kind::Endpoints || wanted.contains(name.as_str()));
        if state.subscribed == wanted {
            return None;
        }
        Some(match self.mode {
            Mode::Delta => Request::Delta(delta::subscription(state, wanted)),
            Mode::Sotw => Request::Sotw(sotw::subscription(state, wanted)),
        })
    }

    /// The first request of a kind, or the answer to a response.
    fn request(&mut self, kind: Kind, refused: Vec<Refusal>) -> Request {
        let state = self.kinds.entry(kind).or_default();
        let error = (!refused.is_empty()).then(|| complaint(&refused));
        let request = match self.mode {
            Mode::Delta => Request::Delta(delta::request(kind, state, error)),
            Mode::Sotw => Request::Sotw(sotw::request(kind, state, error)),
        };
        state.asked = true;
        request
    }
}

/// Under which a refusal is on record.
fn key(kind: Kind, name: &str) -> (Kind, String) {
    let mut name = name.to_owned();
    shorten(&mut name);
    (kind, name)
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(QUOTED) {
        text.truncate(end);
    }
}

/// What a server is told of resources that cannot be read.
fn complaint(refused: &[Refusal]) -> Status {
    let first = refused.iter().take(REPORTED);
    let mut told: Vec<String> = first
        .map(|refusal| format!("{}: {}", refusal.name, refusal.why))
        .collect();
    if refused.len() > REPORTED {
        told.push(format!("and {} more", refused.len() - REPORTED));
    }
    Status {
        code: INVALID_ARGUMENT,
        message: told.join("; "),
        details: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
