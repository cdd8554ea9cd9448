//! The data path as a whole: binds, starts the workers and the control task, and stops them. It must not know where
//! snapshots come from.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use model::{NetworkId, Snapshot};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, unbounded_channel};
use tokio::sync::{oneshot, watch};

use crate::access::{Quota, Report, WAITING};
use crate::clock::{Clock, Millis};
use crate::close::Reason;
use crate::closer::Batch;
use crate::config::Config;
use crate::control::{Control, GatewayHealth, NetworkHealth, Progress};
use crate::limits::Gauges;
use crate::open::{OpenConnection, Query};
use crate::probe::Outcome;
use crate::sockets;
use crate::stats::{Stats, Totals, total};
use crate::table::Tables;
use crate::worker::{self, Bound, Message, Shared};

/// A running data path.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    control: tokio::task::JoinHandle<()>,
    progress: Arc<Progress>,
    reports: Mutex<Option<mpsc::Receiver<Report>>>,
}

impl Proxy {
    /// Binds every listener and starts to serve. Needs a tokio runtime, on which the control task runs; the workers have
    /// their own threads and runtimes.
    ///
    /// # Errors
    /// When an address cannot be bound (the error names it) or a thread cannot be started.
    pub fn start(config: Config, snapshots: watch::Receiver<Arc<Snapshot>>) -> io::Result<Self> {
        let workers = config.workers.max(1);
        let mut bound = Vec::new();
        let mut sockets: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for listener in &config.listeners {
            let (address, all) = sockets::listen(
                listener.address,
                workers,
                &config.timeouts,
                sockets::saves_acks(listener.role),
            )
            .map_err(|fault| cannot_bind(listener.address, &fault))?;
            bound.push(Bound {
                address,
                role: listener.role,
            });
            for (of_worker, socket) in sockets.iter_mut().zip(all) {
                of_worker.push(socket);
            }
        }
        let clock = Clock::start();
        let own = bound.iter().map(|b| b.address).collect();
        // It raises the limit of descriptors, which control shares out.
        let gauges = Gauges::new(workers, &config.limits);
        let (mut control, tables) = Control::new(&config, own, clock);
        // Before anybody is accepted: an empty table would refuse names that are known.
        control.apply(&snapshots.borrow(), clock.now());
        let (outboxes, inboxes): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| unbounded_channel()).unzip();
        let (reporter, reports) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared {
            reports: reporter,
            quota: Quota::new(config.reports.failures_per_second, config.reports.successes),
            gauges,
            config,
            listeners: bound,
            tables,
            stats: (0..workers).map(|_| Stats::new()).collect(),
            clock,
            inboxes: outboxes,
        });
        let progress = control.progress().clone();
        let threads = start_workers(&shared, sockets, inboxes)?;
        let control = tokio::spawn(control.run(snapshots));
        Ok(Self {
            shared,
            threads: Mutex::new(threads),
            control,
            progress,
            reports: Mutex::new(Some(reports)),
        })
    }

    /// The listeners as they were bound, in the order of the configuration.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.shared.listeners
    }

    /// The route tables in force.
    #[must_use]
    pub fn tables(&self) -> &Arc<Tables> {
        &self.shared.tables
    }

    /// The present moment, as states of addresses name moments.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.shared.clock.now()
    }

    /// Open connections now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.gauges.open()
    }

    /// Open connections of each worker.
    pub fn open_by_worker(&self) -> impl Iterator<Item = usize> {
        self.shared.gauges.by_worker()
    }

    /// Most connections that are served at once.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.shared.gauges.limit()
    }

    /// What the workers have counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        total(&self.shared.stats)
    }

    /// Version of the snapshot that the routes follow.
    #[must_use]
    pub fn snapshot_version(&self) -> u64 {
        self.progress.snapshot.load(Relaxed)
    }

    /// Ejections so far.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.progress.ejections.load(Relaxed)
    }

    /// Addresses that are ejected now.
    #[must_use]
    pub fn ejected(&self) -> u64 {
        self.progress.ejected.load(Relaxed)
    }

    /// What is thought of every gateway's address of other networks, in their order.
    #[must_use]
    pub fn gateways(&self) -> BTreeMap<SocketAddr, GatewayHealth> {
        self.progress.gateways.lock().clone()
    }

    /// What is thought of one gateway's address.
    #[must_use]
    pub fn gateway(&self, address: SocketAddr) -> Option<GatewayHealth> {
        self.progress.gateways.lock().get(&address).cloned()
    }

    /// What is thought of every other network that is entered through gateways.
    #[must_use]
    pub fn networks(&self) -> BTreeMap<NetworkId, NetworkHealth> {
        self.progress.networks.lock().clone()
    }

    /// Probes so far, by what they found.
    pub fn probes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let counts = self.progress.probes.iter();
        let counts = counts.map(|count| count.load(Relaxed));
        Outcome::ALL.into_iter().zip(counts)
    }

    /// Dials that were begun so far.
    #[must_use]
    pub fn dials(&self) -> u64 {
        self.shared.stats.iter().map(Stats::dials).sum()
    }

    /// The reports of connections that ended; there is one receiver, so only the first call gives it.
    pub fn reports(&self) -> Option<mpsc::Receiver<Report>> {
        self.reports.lock().take()
    }

    /// What is open now, the oldest first, up to `query.limit`.
    pub async fn connections(&self, query: Query) -> Vec<OpenConnection> {
        let limit = query.limit;
        let query = Arc::new(query);
        let mut answers = Vec::new();
        for inbox in &self.shared.inboxes {
            let (reply, answer) = oneshot::channel();
            let query = query.clone();
            if inbox.send(Message::List { query, reply }).is_ok() {
                answers.push(answer);
            }
        }
        let mut all = Vec::new();
        for answer in answers {
            all.extend(answer.await.unwrap_or_default());
        }
        all.sort_by_key(|open| std::cmp::Reverse(open.age));
        all.truncate(limit);
        all
    }

    /// Accepts who has come so far and nobody after them; what is open goes on.
    pub fn close_listeners(&self) {
        self.tell(|| Message::CloseListeners);
    }

    /// Closes everything that is open: at quiet moments, paced over the window, and at its end what is left.
    pub fn drain(&self, over: Duration) {
        self.tell(|| {
            Message::Close(Batch {
                reason: Reason::Drained,
                rest: Some(Reason::DrainDeadline),
                percent: 100,
                over,
            })
        });
    }

    /// Closes so many of 100 open connections at quiet moments, paced over the window, and spares those that have none.
    pub fn shed(&self, percent: u8, over: Duration) {
        self.tell(|| {
            Message::Close(Batch {
                reason: Reason::Shed,
                rest: None,
                percent,
                over,
            })
        });
    }

    /// Ends every connection and waits for the workers.
    pub async fn stop(&self) {
        self.tell(|| Message::Stop);
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended with a panic");
                }
            }
        });
        let _ = joined.await;
    }

    fn tell(&self, message: impl Fn() -> Message) {
        tell(&self.shared, message);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tell(|| Message::Stop);
        self.control.abort();
    }
}

/// Starts the workers, and waits for each until it can serve: a listener without its worker would attract clients that
/// nobody ever takes. When one cannot, those already running are stopped.
fn start_workers(
    shared: &Arc<Shared>,
    sockets: Vec<Vec<TcpListener>>,
    inboxes: Vec<UnboundedReceiver<Message>>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    for (index, (listeners, inbox)) in (0..).zip(sockets.into_iter().zip(inboxes)) {
        let (started, outcome) = std::sync::mpsc::channel();
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || worker::run(index, own, listeners, inbox, &started));
        let outcome = thread.and_then(|thread| {
            threads.push(thread);
            outcome.recv().map_err(io::Error::other)?
        });
        if let Err(fault) = outcome {
            tell(shared, || Message::Stop);
            for thread in threads {
                // How it ended changes nothing any more.
                let _ = thread.join();
            }
            let hint = "fewer 'workers' or a higher limit of open files and threads may help";
            let problem = format!("worker {index} cannot start: {fault}; {hint}");
            return Err(io::Error::new(fault.kind(), problem));
        }
    }
    Ok(threads)
}

fn tell(shared: &Shared, message: impl Fn() -> Message) {
    for inbox in &shared.inboxes {
        // A worker that is gone needs no telling.
        let _ = inbox.send(message());
    }
}

fn cannot_bind(address: SocketAddr, fault: &io::Error) -> io::Error {
    let hint = match fault.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process listens there: stop it, or choose another address"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    io::Error::new(
        fault.kind(),
        format!("cannot listen on {address}: {fault}{hint}"),
    )
}

#[cfg(test)]
mod tests;
