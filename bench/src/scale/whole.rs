//! Discovery and the data path as a gateway runs them, on API servers in this process: a start from nothing, one change at a
//! time, and many a second. It must not look into either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use discovery::kubernetes::api::Api;
use discovery::kubernetes::client::{ClientError, Credential, Home};
use discovery::kubernetes::cluster::Connect;
use discovery::kubernetes::secret::Secret;
use discovery::kubernetes::{Source, start_with};
use hdrhistogram::Histogram;
use model::{Health, Snapshot};
use proxy::Proxy;
use proxy::balance::Tried;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::changes::{Changed, Changes};
use super::objects;
use super::server::Server;
use super::shape::Shape;
use super::{process, progress, setup};

/// Changes that come one at a time.
const ALONE: usize = 300;

/// Between two of them, so that none waits for another (discovery gathers what comes within 10 ms).
const APART: Duration = Duration::from_millis(25);

/// Changes a second, as the target names them, and for how long.
const RATE: u32 = 1_000;
const STREAM: Duration = Duration::from_secs(10);

/// For anything to change while something is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is said how far it has come.
const SAY: Duration = Duration::from_secs(5);

/// What was measured.
pub(super) struct Whole {
    /// From nothing to a table of everything.
    pub(super) sync: Duration,
    /// Processor time of that.
    pub(super) sync_cpu: Duration,
    /// The most that was resident until then.
    pub(super) peak: usize,
    /// Resident afterwards.
    pub(super) resident: usize,
    /// Nanoseconds from an event's bytes to the table, one event at a time.
    pub(super) alone: Histogram<u64>,
    /// Processor time for each second of [`RATE`] changes.
    pub(super) stream_cpu: f64,
    /// Snapshots published in each second of those.
    pub(super) published: f64,
}

struct Rig {
    shape: Shape,
    servers: Vec<Server>,
    source: Source,
    proxy: Proxy,
    changes: Changes,
}

/// Starts a gateway without its HTTP servers, and measures it.
///
/// # Errors
/// When it does not start, or does not follow.
pub(super) fn run(shape: Shape) -> Result<Whole> {
    // As the gateway's: one thread for control plane and table, apart from the worker's.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (begun, cpu) = (Instant::now(), process::cpu());
    let mut rig = runtime.block_on(Rig::start(shape))?;
    runtime.block_on(rig.follow("cold sync", shape.total()))?;
    let sync = begun.elapsed();
    let sync_cpu = process::cpu() - cpu;
    let written: Duration = rig.servers.iter().map(Server::spent).sum();
    let peak = process::peak()?;
    process::settle();
    let resident = process::resident()?;
    progress::say(&format!("in sync; {ALONE} changes, one at a time"));
    let alone = rig.change_alone()?;
    progress::say(&format!("{RATE} changes a second for {STREAM:?}"));
    let (stream_cpu, published) = rig.change_often(&runtime)?;
    runtime.block_on(rig.proxy.stop());
    Ok(Whole {
        sync,
        sync_cpu: sync_cpu.saturating_sub(written),
        peak,
        resident,
        alone,
        stream_cpu,
        published,
    })
}

impl Rig {
    async fn start(shape: Shape) -> Result<Self> {
        let servers: Vec<_> = (0..shape.clusters)
            .map(|cluster| Server::new(shape, cluster))
            .collect();
        let known = servers.clone();
        let connect: Connect = Arc::new(move |access| {
            let number = objects::number_of(&access.server);
            let server = number.and_then(|number| known.get(number));
            let server = server.ok_or(ClientError::Unusable("server"))?;
            Ok((
                Api::new(server.client(), None),
                watch::channel(Secret::default()).0,
            ))
        });
        let home = Home {
            api: Api::new(servers[0].client(), None),
            namespace: "istio-system".into(),
            server: "in this process".into(),
            authority: None,
            credential: Credential::default(),
        };
        let source = start_with(home, setup::settings(&shape), connect).await?;
        let proxy = Proxy::start(setup::config(&shape), source.snapshots.clone())?;
        Ok(Self {
            shape,
            servers,
            source,
            proxy,
            changes: Changes::new(shape),
        })
    }

    /// Waits until the snapshot has all endpoints, so many of them ready, and the table follows it. Says how far it has come,
    /// and gives up when nothing changes for a long time, however slow the machine is.
    async fn follow(&mut self, what: &str, ready: usize) -> Result<()> {
        let wanted = (self.shape.total(), ready);
        let mut snapshots = self.source.snapshots.clone();
        let (mut seen, mut changed) = (None, Instant::now());
        let version = loop {
            let arrived = snapshots.wait_for(|snapshot| {
                // Looking at a million endpoints costs more than it takes to publish one of them.
                endpoints(snapshot) == wanted.0 && counts(snapshot) == wanted
            });
            if let Ok(arrived) = tokio::time::timeout(SAY, arrived).await {
                break arrived?.version;
            }
            let now = self.progress();
            let cpu = process::cpu();
            progress::say(&format!("{what}: {now}; {:.0} s of CPU", cpu.as_secs_f64()));
            if seen.as_ref() != Some(&now) {
                (seen, changed) = (Some(now), Instant::now());
            }
            ensure!(
                changed.elapsed() < PATIENCE,
                "{what}: {wanted:?} endpoints and ready ones never came; {}",
                self.clusters()
            );
        };
        while self.proxy.snapshot_version() < version {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// How far it has come.
    fn progress(&self) -> String {
        let snapshot = self.source.snapshots.borrow().clone();
        let (all, ready) = counts(&snapshot);
        let status = self.source.status.borrow();
        let clusters = status.clusters.values();
        let synced = clusters.filter(|cluster| cluster.synced_at.is_some());
        format!(
            "{} of {} clusters, {all} endpoints of {}, {ready} ready, snapshot {}",
            synced.count(),
            self.shape.clusters,
            self.shape.total(),
            snapshot.version
        )
    }

    /// What each cluster says of itself.
    fn clusters(&self) -> String {
        let status = self.source.status.borrow();
        let clusters = status.clusters.iter();
        let said = clusters.map(|(id, one)| {
            let error = one.last_error.as_ref();
            let error = error.map_or("", |error| error.message.as_str());
            format!("{id} {:?} {} {error}", one.state, one.endpoints)
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// From the bytes of an event to the table, each by itself.
    fn change_alone(&mut self) -> Result<Histogram<u64>> {
        let mut spans = Histogram::new(3)?;
        for _ in 0..ALONE {
            std::thread::sleep(APART);
            let changed = self.changes.next();
            let line = self.servers[changed.cluster].event(changed);
            let version = self.proxy.snapshot_version();
            let begun = Instant::now();
            self.servers[changed.cluster].tell(&line);
            while self.proxy.snapshot_version() == version {
                ensure!(begun.elapsed() < PATIENCE, "a change never arrived");
                // Not a spin: the tasks that are waited for may need this very core.
                std::thread::yield_now();
            }
            self.pick(changed)?;
            let span = u64::try_from(begun.elapsed().as_nanos())?;
            spans.record(span)?;
        }
        Ok(spans)
    }

    fn pick(&self, changed: Changed) -> Result<()> {
        let (service, _) = self.shape.slice(changed.slice);
        let route = setup::route(self.proxy.tables(), &self.shape, service)?;
        let picked = route.pick(setup::SOURCE, self.proxy.now(), &Tried::default());
        ensure!(picked.is_ok(), "nothing can be picked: {picked:?}");
        Ok(())
    }

    /// Many changes a second: processor time and publications, for each second.
    fn change_often(&mut self, runtime: &Runtime) -> Result<(f64, f64)> {
        let version = self.proxy.snapshot_version();
        let (cpu, own) = (process::cpu(), process::cpu_of_thread());
        let begun = Instant::now();
        let pause = Duration::from_secs(1) / RATE;
        let mut sent = 0;
        while begun.elapsed() < STREAM {
            // What the clock says is due is sent, so that a thread that wakes late catches up.
            while pause * sent < begun.elapsed() {
                let changed = self.changes.next();
                let server = &self.servers[changed.cluster];
                server.tell(&server.event(changed));
                sent += 1;
            }
            std::thread::sleep(pause);
        }
        let ready = self.changes.ready();
        runtime.block_on(self.follow("the last changes", ready))?;
        let seconds = STREAM.as_secs_f64();
        // This thread writes and sends the events, which is the API servers' part.
        let own = process::cpu_of_thread() - own;
        let cpu = (process::cpu() - cpu).saturating_sub(own);
        let versions = self.proxy.snapshot_version() - version;
        Ok((cpu.as_secs_f64() / seconds, versions as f64 / seconds))
    }
}

fn endpoints(snapshot: &Snapshot) -> usize {
    let services = snapshot.services.iter();
    services.map(|service| service.endpoints.len()).sum()
}

/// Endpoints, and those of them that are ready.
fn counts(snapshot: &Snapshot) -> (usize, usize) {
    let services = snapshot.services.iter();
    let endpoints = services.flat_map(|service| service.endpoints.iter());
    endpoints.fold((0, 0), |(all, ready), endpoint| {
        (
            all + 1,
            ready + usize::from(endpoint.health == Health::Healthy),
        )
    })
}
