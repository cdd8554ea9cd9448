//! How much at once: open connections of all workers, and of one source. It must not know what a connection does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;
use crate::control;

/// Descriptors that are not there for connections: runtimes, listeners, logs, the control plane, the reserve; and our own
/// connects, but for the probes.
const OWN_DESCRIPTORS: usize = 128 + control::CONNECTS_AT_ONCE;

/// Probes at once, at least and at most.
const PROBES: (usize, usize) = (64, 1_024);

/// The share of the file limit that they may have.
const PROBES_SHARE: usize = 16;

/// Descriptors of a worker that are not there for connections: its listeners, its runtime, its pool of pipes.
const WORKER_DESCRIPTORS: usize = 80;

/// Clients beyond the limit that are told so at the same time; further ones are just closed.
const REFUSALS: usize = 256;

/// Of one source beyond its own limit: what it is told must not use up what is there for others.
const REFUSALS_PER_SOURCE: usize = 8;

/// The gateway's gauges, shared by all workers.
#[derive(Debug)]
pub(crate) struct Gauges {
    /// Open connections of each worker, on cache lines of their own.
    workers: Vec<Padded>,
    limit: usize,
    per_source: Option<(usize, Mutex<HashMap<IpAddr, usize>>)>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicUsize);

/// What is done with a client that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is served.
    Serve,
    /// All places are taken: it is served in the place of a client whose hello is still incomplete, or else told so.
    Crowded,
    /// It is told that there are too many.
    Refuse,
    /// It is closed.
    Drop,
}

impl Gauges {
    pub(crate) fn new(workers: usize, limits: &Limits) -> Self {
        let limit = limits
            .connections
            .unwrap_or_else(|| from_file_limit(raise_file_limit(), workers));
        Self {
            workers: (0..workers).map(|_| Padded::default()).collect(),
            limit,
            per_source: limits
                .connections_per_source
                .map(|limit| (limit, Mutex::default())),
        }
    }

    /// Most connections that are served at once.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Open connections now.
    pub(crate) fn open(&self) -> usize {
        self.by_worker().sum()
    }

    /// The same for each worker.
    pub(crate) fn by_worker(&self) -> impl Iterator<Item = usize> {
        self.workers.iter().map(|open| open.0.load(Relaxed))
    }

    /// Judges a new client; unless it is dropped, it is counted with its source until [`Gauges::leave`]. `None`: who it is
    /// will only be said later, and then asked for by [`Gauges::enter_source`].
    pub(crate) fn enter(&self, source: Option<IpAddr>) -> Admission {
        let open = self.open();
        if open >= self.limit + REFUSALS {
            return Admission::Drop;
        }
        match source.map_or(Admission::Serve, |source| self.enter_source(source)) {
            Admission::Serve if open >= self.limit => Admission::Crowded,
            admission => admission,
        }
    }

    /// Judges one more client of this source, and counts it unless it is dropped.
    pub(crate) fn enter_source(&self, source: IpAddr) -> Admission {
        let Some((limit, sources)) = &self.per_source else {
            return Admission::Serve;
        };
        let mut sources = sources.lock();
        let count = sources.entry(source).or_insert(0);
        if *count >= *limit + REFUSALS_PER_SOURCE {
            return Admission::Drop;
        }
        *count += 1;
        if *count > *limit {
            Admission::Refuse
        } else {
            Admission::Serve
        }
    }

    /// Counts a client to a worker.
    pub(crate) fn assign(&self, worker: usize) {
        self.workers[worker].0.fetch_add(1, Relaxed);
    }

    /// A client that was counted to one worker is served by another.
    pub(crate) fn reassign(&self, from: usize, to: usize) {
        self.workers[from].0.fetch_sub(1, Relaxed);
        self.assign(to);
    }

    /// A connection of this worker is over; `source`: whom it was counted with.
    pub(crate) fn leave(&self, worker: usize, source: Option<IpAddr>) {
        self.workers[worker].0.fetch_sub(1, Relaxed);
        if let (Some((_, sources)), Some(source)) = (&self.per_source, source) {
            let mut sources = sources.lock();
            if let Some(count) = sources.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    sources.remove(&source);
                }
            }
        }
    }

    /// The worker that should serve a client accepted by `this` one: itself, unless it has more than 1.25 times the open
    /// connections of the least loaded and 2 more.
    pub(crate) fn place(&self, this: usize) -> usize {
        let load = |at: usize| self.workers[at].0.load(Relaxed);
        let least = (0..self.workers.len())
            .min_by_key(|at| load(*at))
            .unwrap_or(this);
        let (own, low) = (load(this), load(least));
        if own * 4 > low * 5 && own > low + 2 {
            least
        } else {
            this
        }
    }
}

/// Raises the soft limit of descriptors to the hard one, as every server of many connections does; gives what holds.
fn raise_file_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let holds = if setrlimit(Resource::Nofile, raised).is_ok() {
        maximum
    } else {
        current
    };
    descriptors(holds)
}

/// The limit of descriptors that holds now.
pub(crate) fn file_limit() -> usize {
    descriptors(getrlimit(Resource::Nofile).current)
}

fn descriptors(limit: Option<u64>) -> usize {
    limit.map_or(1 << 20, |limit| usize::try_from(limit).unwrap_or(1 << 20))
}

/// How many gateways of other networks may be probed at the same time, each with one descriptor. A network whose addresses all
/// swallow is found dead within three limits of a probe only if they can all be asked together; and a multitude that is gone
/// must not take what clients need.
pub(crate) fn probes_at_once(files: usize) -> usize {
    let (least, most) = PROBES;
    (files / PROBES_SHARE).clamp(least, most)
}

/// Two descriptors for each connection.
fn from_file_limit(files: usize, workers: usize) -> usize {
    let own = OWN_DESCRIPTORS + probes_at_once(files) + workers * WORKER_DESCRIPTORS;
    (files.saturating_sub(own) / 2).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauges(workers: usize, connections: usize, per_source: Option<usize>) -> Gauges {
        let limits = Limits {
            connections: Some(connections),
            connections_per_source: per_source,
            ..Limits::default()
        };
        Gauges::new(workers, &limits)
    }

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn beyond_the_limit_clients_are_refused_then_dropped() {
        let gauges = gauges(1, 2, None);
        let mut seen = Vec::new();
        for _ in 0..2 + REFUSALS + 1 {
            let admission = gauges.enter(Some(SOURCE));
            if admission != Admission::Drop {
                gauges.assign(0);
            }
            seen.push(admission);
        }
        assert_eq!(
            seen[..3],
            [Admission::Serve, Admission::Serve, Admission::Crowded]
        );
        assert_eq!(seen.last(), Some(&Admission::Drop));
    }

    #[test]
    fn probes_have_a_small_share_of_the_descriptors() {
        for (files, probes, connections) in [
            (1_024, 64, 344),
            (4_096, 256, 1_784),
            (65_536, 1_024, 32_120),
            (100, 64, 16),
        ] {
            assert_eq!(probes_at_once(files), probes, "{files} descriptors");
            assert_eq!(
                from_file_limit(files, 1),
                connections,
                "{files} descriptors"
            );
        }
    }

    #[test]
    fn one_source_cannot_take_all() {
        let gauges = gauges(1, 100, Some(1));
        assert_eq!(gauges.enter(Some(SOURCE)), Admission::Serve);
        gauges.assign(0);
        assert_eq!(gauges.enter(None), Admission::Serve, "not known yet");
        assert_eq!(gauges.enter(Some(SOURCE)), Admission::Refuse);
        gauges.assign(0);
        gauges.leave(0, Some(SOURCE));
        gauges.leave(0, Some(SOURCE));
        assert_eq!(gauges.enter(Some(SOURCE)), Admission::Serve);
    }

    /// Design section 5: more than 1.25 times the least loaded, and 2 more.
    #[test]
    fn work_is_handed_over_when_it_is_uneven() {
        for (own, other, handed) in [
            (0, 0, false),
            (2, 0, false),
            (3, 0, true),
            (12, 10, false),
            (13, 10, true),
            (125, 100, false),
            (126, 100, true),
        ] {
            let gauges = gauges(2, 1_000, None);
            (0..own).for_each(|_| gauges.assign(0));
            (0..other).for_each(|_| gauges.assign(1));
            assert_eq!(gauges.place(0) == 1, handed, "{own} against {other}");
        }
    }

    /// 256 long connections over 4 workers, whichever of them the kernel gives each one to: the most loaded has at most 1.2
    /// times its share.
    #[test]
    fn long_connections_are_shared_evenly() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut patterns = vec![vec![0; 256], (0..256).map(|n| n / 64).collect::<Vec<_>>()];
        patterns.extend((0..100).map(|_| (0..256).map(|_| rng.usize(..4)).collect()));
        for pattern in patterns {
            let gauges = gauges(4, 1_000, None);
            for accepted_by in &pattern {
                gauges.assign(gauges.place(*accepted_by));
            }
            let loads = (0..4).map(|at| gauges.workers[at].0.load(Relaxed));
            let most = loads.max().unwrap_or_default();
            assert!(most * 4 * 10 <= 256 * 12, "{most} of 256: {pattern:?}");
        }
    }
}
