//! The streams that are open and what they have done, for people and metrics. It must not change any.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::behind::Behind;
use super::client::Client;
use super::session::{Mode, Session, Standing};
use crate::resource::Kind;
use crate::resource::assignment::LeftOut;

/// All streams of a server, and counts since its start.
#[derive(Debug, Default)]
pub struct Registry {
    streams: Mutex<BTreeMap<u64, Arc<Record>>>,
    opened: AtomicU64,
    kinds: [KindCounters; 4],
    pub(super) refused_connections: AtomicU64,
    pub(super) tls_fault: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct KindCounters {
    pushes: AtomicU64,
    resources: AtomicU64,
    bytes: AtomicU64,
    acks: AtomicU64,
    nacks: AtomicU64,
}

/// What a server has done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Streams since the start.
    pub opened: u64,
    /// Connections that ended in their TLS handshake, opened no stream or were over the limit.
    pub refused_connections: u64,
    /// By [`Kind`].
    pub kinds: [KindCounts; 4],
}

/// What a server has done of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct KindCounts {
    /// Responses.
    pub pushes: u64,
    /// Resources in them.
    pub resources: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Responses that were accepted.
    pub acks: u64,
    /// Responses that were refused.
    pub nacks: u64,
}

/// One stream, as it stands.
#[derive(Clone, Debug)]
pub struct StreamView {
    /// Who.
    pub client: Client,
    /// From where.
    pub peer: SocketAddr,
    /// Which protocol.
    pub mode: Mode,
    /// Since when.
    pub age: Duration,
    /// How long the client has lacked a change: it was not sent, is not answered, or was refused and nothing has taken its place;
    /// zero if it lacks none.
    pub lag: Duration,
    /// Endpoints that it is not told of.
    pub left_out: LeftOut,
    /// The kinds that it asked for.
    pub kinds: Vec<KindView>,
}

/// One kind of a stream.
#[derive(Clone, Debug)]
pub struct KindView {
    /// Which.
    pub kind: Kind,
    /// How it stands.
    pub standing: Standing,
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) client: Client,
    pub(super) peer: SocketAddr,
    pub(super) mode: Mode,
    pub(super) since: Instant,
    pub(super) session: Mutex<Session>,
    /// By [`Kind`]: since when the client lacks something.
    pub(super) behind: Mutex<[Behind; 4]>,
}

/// A stream's place in the registry, until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    number: u64,
    registry: Arc<Registry>,
    pub(super) record: Arc<Record>,
}

impl Registry {
    /// Adds a stream.
    pub(super) fn open(self: &Arc<Self>, record: Record) -> Registered {
        let number = self.opened.fetch_add(1, Relaxed);
        let record = Arc::new(record);
        self.streams.lock().insert(number, record.clone());
        Registered {
            number,
            registry: Arc::clone(self),
            record,
        }
    }

    pub(super) fn pushed(&self, kind: Kind, resources: usize, bytes: usize) {
        let counters = &self.kinds[kind as usize];
        counters.pushes.fetch_add(1, Relaxed);
        let add = |to: &AtomicU64, count| to.fetch_add(u64::try_from(count).unwrap_or(0), Relaxed);
        add(&counters.resources, resources);
        add(&counters.bytes, bytes);
    }

    pub(super) fn answered(&self, kind: Kind, accepted: bool) {
        let counters = &self.kinds[kind as usize];
        let counter = if accepted {
            &counters.acks
        } else {
            &counters.nacks
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Why the certificates on disk are not in force, if they are not.
    #[must_use]
    pub fn tls_fault(&self) -> Option<String> {
        self.tls_fault.lock().clone()
    }

    /// What the server has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            opened: self.opened.load(Relaxed),
            refused_connections: self.refused_connections.load(Relaxed),
            kinds: std::array::from_fn(|at| {
                let of = &self.kinds[at];
                KindCounts {
                    pushes: of.pushes.load(Relaxed),
                    resources: of.resources.load(Relaxed),
                    bytes: of.bytes.load(Relaxed),
                    acks: of.acks.load(Relaxed),
                    nacks: of.nacks.load(Relaxed),
                }
            }),
        }
    }

    /// The open streams, the oldest first.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamView> {
        let records: Vec<_> = self.streams.lock().values().cloned().collect();
        records.iter().map(|record| record.view()).collect()
    }
}

impl Record {
    /// Notes what the client lacks now, after a response of the kind `sent`, if one goes out.
    pub(super) fn note(&self, session: &mut Session, sent: Option<Kind>) {
        let now = Instant::now();
        let mut behind = self.behind.lock();
        for kind in Kind::ALL {
            let lacks = session.lacks(kind);
            behind[kind as usize].note(now, sent == Some(kind), lacks);
        }
    }

    /// Notes the answer to a response.
    pub(super) fn answered(&self, kind: Kind, accepted: bool) {
        self.behind.lock()[kind as usize].answered(accepted);
    }

    fn view(&self) -> StreamView {
        let session = self.session.lock();
        let kinds = Kind::ALL.map(|kind| KindView {
            kind,
            standing: session.standing(kind),
        });
        StreamView {
            client: self.client.clone(),
            peer: self.peer,
            mode: self.mode,
            age: self.since.elapsed(),
            lag: {
                let now = Instant::now();
                let behind = self.behind.lock();
                let ages = behind.iter().map(|behind| behind.age(now));
                ages.max().unwrap_or_default()
            },
            left_out: session.left_out(),
            kinds: kinds
                .into_iter()
                .filter(|kind| kind.standing.open)
                .collect(),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.streams.lock().remove(&self.number);
    }
}
