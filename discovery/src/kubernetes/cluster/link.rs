//! One connection of a cluster with what has been heard through it. It must not decide whether it is the one in force.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::kubernetes::facts::Kind;
use crate::kubernetes::follow::{Counts, Event};
use crate::kubernetes::identity::Known;
use crate::kubernetes::kubeconfig::Access;
use crate::kubernetes::secret::Secret;
use crate::kubernetes::session::{Read, Session, Told};
use crate::kubernetes::settings::Ceilings;
use crate::kubernetes::staged::Staged;

/// A connection, what is counted of it, and when each kind was heard of last.
pub(super) struct Link {
    pub(super) session: Session,
    /// How the cluster is reached; `None` for our own.
    pub(super) access: Option<Access>,
    pub(super) token: Option<watch::Sender<Secret>>,
    pub(super) counts: BTreeMap<Kind, Counts>,
    pub(super) heard: BTreeMap<Kind, Instant>,
}

/// A connection that is tried.
pub(super) struct Candidate {
    pub(super) link: Link,
    pub(super) staged: Staged,
    /// Which cluster it is, once it has said so.
    pub(super) known: Option<Known>,
    /// Whether it has said which of Istio's kinds it has, where that matters.
    pub(super) istio: bool,
    /// Since when it is tried.
    pub(super) begun: Instant,
    /// Whether anything has gone wrong with it.
    pub(super) failed: bool,
}

/// How long a connection that is tried is left alone before a newer kubeconfig takes its place, unless it has failed: of a
/// Secret that changes without end each version would be begun and none finished. Longer than a list that is doubted and its
/// second look take.
pub(super) const HEARING: Duration = Duration::from_secs(15);

impl Link {
    /// Takes note that a kind was heard of, and how much there is of it.
    pub(super) fn hear(&mut self, kind: Kind, event: &Event<Read>) {
        match event {
            Event::Reset(_, counts) | Event::Apply(_, counts) | Event::Delete(_, counts) => {
                self.counts.insert(kind, *counts);
                self.heard.insert(kind, Instant::now());
            }
            Event::Alive => {
                self.heard.insert(kind, Instant::now());
            }
            Event::Fault(_) | Event::Stranger => {}
        }
    }

    /// There is nothing of a kind any more.
    pub(super) fn forget(&mut self, kind: Kind) {
        self.counts.remove(&kind);
        self.heard.remove(&kind);
    }

    fn endpoints(&self) -> usize {
        endpoints(&self.counts)
    }

    /// Which ceiling is exceeded, in words.
    pub(super) fn excess(&self, ceilings: Ceilings) -> Option<String> {
        let objects: usize = self.counts.values().map(|counts| counts.objects).sum();
        let over = |what, count, ceiling, setting| {
            (count > ceiling).then(|| {
                format!("it has {count} {what}, more than the ceiling of {ceiling} (discovery.ceilings.{setting})")
            })
        };
        over("objects", objects, ceilings.objects, "objects").or_else(|| {
            over(
                "endpoints",
                self.endpoints(),
                ceilings.endpoints,
                "endpoints",
            )
        })
    }
}

/// The endpoints in all slices.
pub(super) fn endpoints(counts: &BTreeMap<Kind, Counts>) -> usize {
    counts.get(&Kind::Slice).map_or(0, |slices| slices.mass)
}

impl Candidate {
    /// Until when it is left alone; `None`: no longer.
    pub(super) fn heard_until(&self) -> Option<Instant> {
        let end = self.begun + HEARING;
        (!self.failed && Instant::now() < end).then_some(end)
    }

    /// Whether it can take over: it has said who it is, and everything that is to be read of it is there.
    pub(super) fn is_complete(&self) -> bool {
        let mut kinds = self.link.session.kinds();
        self.known.is_some() && self.istio && kinds.all(|kind| self.staged.has(kind))
    }
}

/// The next thing told through the connection in force; for ever, without one.
pub(super) async fn next_of_force(force: &mut Option<Link>) -> Told {
    match force {
        Some(link) => link.session.next().await,
        None => std::future::pending().await,
    }
}

/// The next thing told through the connection that is tried; for ever, without one.
pub(super) async fn next_of_candidate(candidate: &mut Option<Candidate>) -> Told {
    match candidate {
        Some(candidate) => candidate.link.session.next().await,
        None => std::future::pending().await,
    }
}
