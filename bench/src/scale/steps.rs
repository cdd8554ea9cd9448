//! What each step takes by itself, on one thread: objects -> facts -> snapshot -> table, in memory; and of one endpoint's
//! change, in time. The steps are those of `discovery` and `proxy`, called as their tasks call them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use discovery::kubernetes::facts::{Change, Fact, Kind, Unreadable};
use discovery::kubernetes::meaning::World;
use hdrhistogram::Histogram;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::WatchEvent;
use kube::core::{DynamicObject, PartialObjectMeta};
use model::ClusterId;
use proxy::balance::Tried;
use proxy::clock::Clock;
use proxy::control::Control;
use proxy::table::{Route, Tables};
use serde::de::DeserializeOwned;

use super::changes::Changes;
use super::objects::{self, List};
use super::server::Server;
use super::shape::Shape;
use super::{picks, process, progress, setup};

/// Changes that are measured.
const CHANGES: usize = 5_000;

/// Of so many of them it is looked at whether the route has followed, which takes longer than the change.
const LOOKED_AT: usize = 50;

/// It is said how far it has come each time so many clusters have been read.
const EVERY: usize = 10;

/// The kinds that are read. Whether a cluster's Pods matter is known once its Namespaces are.
const KINDS: [(Kind, List); 6] = [
    (Kind::Namespace, List::Namespaces),
    (Kind::Service, List::Services),
    (Kind::Slice, List::Slices),
    (Kind::Node, List::Nodes),
    (Kind::Pod, List::Pods),
    (Kind::Gateway, List::Gateways),
];

/// What was measured.
pub(super) struct Steps {
    /// Bytes resident for what is kept of objects.
    pub(super) facts: usize,
    /// Bytes resident for the snapshot.
    pub(super) snapshot: usize,
    /// Bytes resident for the table.
    pub(super) table: usize,
    pub(super) changes: Option<Timings>,
}

/// How long each step of a change takes, in nanoseconds.
pub(super) struct Timings {
    pub(super) decode: Histogram<u64>,
    pub(super) apply: Histogram<u64>,
    pub(super) publish: Histogram<u64>,
    pub(super) table: Histogram<u64>,
    pub(super) pick: Histogram<u64>,
    /// All but decoding.
    pub(super) visible: Histogram<u64>,
    /// The same as processor time of the thread, which other processes do not lengthen.
    pub(super) visible_cpu: Histogram<u64>,
}

struct Stage {
    shape: Shape,
    servers: Vec<Server>,
    world: World,
    control: Control,
    tables: Arc<Tables>,
    clock: Clock,
}

/// Builds everything once, and then changes it if `changes` is asked for.
///
/// # Errors
/// When an object cannot be read, or the route does not show a change.
pub(super) fn run(shape: Shape, changes: bool) -> Result<Steps> {
    let mut stage = Stage::new(shape);
    let clock = stage.clock;
    let empty = process::resident()?;
    let (mut stage, read) = apart(move || {
        let read = stage.read_everything();
        (stage, read)
    })?;
    read?;
    progress::say("snapshot and table");
    let facts = process::resident()?;
    let (mut stage, snapshot) = apart(move || {
        let snapshot = stage.world.publish();
        (stage, snapshot)
    })?;
    let snapshot = snapshot.context("there is no snapshot")?;
    let published = process::resident()?;
    let (mut stage, snapshot) = apart(move || {
        stage.control.apply(&snapshot, clock.now());
        (stage, snapshot)
    })?;
    let compiled = process::resident()?;
    let known = snapshot.services.iter().map(|one| one.endpoints.len());
    let known: usize = known.sum();
    ensure!(
        known == shape.total(),
        "the snapshot has {known} endpoints of {}",
        shape.total()
    );
    Ok(Steps {
        facts: facts.saturating_sub(empty),
        snapshot: published.saturating_sub(facts),
        table: compiled.saturating_sub(published),
        changes: changes.then(|| stage.change_often()).transpose()?,
    })
}

/// What a pick takes in the first service of a shape.
///
/// # Errors
/// When an object cannot be read, or nothing can be picked.
pub(super) fn pick(shape: Shape) -> Result<Duration> {
    let mut stage = Stage::new(shape);
    stage.read_everything()?;
    let snapshot = stage.world.publish().context("there is no snapshot")?;
    stage.control.apply(&snapshot, stage.clock.now());
    picks::time(&setup::route(&stage.tables, &shape, 0)?, stage.clock)
}

/// Does something on a thread that stays until the process ends, and so in an arena of its own where [`super::run`] has started this
/// process: what one step has freed is not what the next one takes, and does not hide it.
fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        let done = work();
        process::settle();
        // Whoever waits for it waits until it is there.
        let _ = sender.send(done);
        loop {
            std::thread::park();
        }
    })?;
    done.recv().context("a step panicked")
}

impl Stage {
    fn new(shape: Shape) -> Self {
        let clock = Clock::start();
        let (control, tables) = Control::new(&setup::config(&shape), Vec::new(), clock);
        Self {
            shape,
            servers: (0..shape.clusters)
                .map(|cluster| Server::new(shape, cluster))
                .collect(),
            world: World::new(setup::me(&shape), setup::rules(&shape)),
            control,
            tables,
            clock,
        }
    }

    fn read_everything(&mut self) -> Result<()> {
        for (number, server) in self.servers.iter().enumerate() {
            if number % EVERY == 0 {
                progress::say(&format!(
                    "reading cluster {number} of {}",
                    self.shape.clusters
                ));
            }
            let cluster = ClusterId::from(objects::cluster(number).as_str());
            for (kind, list) in KINDS {
                let wanted = kind != Kind::Pod || self.world.wants(&cluster).pods;
                if !wanted || (kind == Kind::Gateway && number > 0) {
                    continue;
                }
                let reads = server.lines(list).map(|line| read(kind, &line));
                let reads: Result<Vec<_>> = reads.collect();
                self.world.apply(&cluster, Change::Reset(kind, reads?));
            }
        }
        Ok(())
    }

    fn change_often(&mut self) -> Result<Timings> {
        let mut changes = Changes::new(self.shape);
        let mut timings = Timings::new()?;
        progress::say(&format!("{CHANGES} changes, one at a time"));
        for at in 0..CHANGES {
            let changed = changes.next();
            let line = self.servers[changed.cluster].event(changed);
            let cluster = ClusterId::from(objects::cluster(changed.cluster).as_str());
            let (service, _) = self.shape.slice(changed.slice);
            let route = setup::route(&self.tables, &self.shape, service)?;
            let before = if at < LOOKED_AT {
                self.ready(&route)
            } else {
                0
            };

            let begun = Instant::now();
            let read = read(Kind::Slice, &line)?;
            let (decoded, cpu) = (Instant::now(), process::cpu_of_thread());
            self.world.apply(&cluster, Change::put(read));
            let applied = Instant::now();
            let snapshot = self.world.publish().context("a change has no effect")?;
            let published = Instant::now();
            self.control.apply(&snapshot, self.clock.now());
            let compiled = Instant::now();
            let picked = route.pick(setup::SOURCE, self.clock.now(), &Tried::default());
            let (seen, cpu) = (Instant::now(), process::cpu_of_thread() - cpu);

            ensure!(picked.is_ok(), "nothing can be picked: {picked:?}");
            drop(picked);
            if at < LOOKED_AT {
                let after = self.ready(&route);
                ensure!(
                    before.abs_diff(after) == 1,
                    "{before} were ready, {after} are"
                );
            }
            timings.decode.record(nanos(decoded - begun))?;
            timings.apply.record(nanos(applied - decoded))?;
            timings.publish.record(nanos(published - applied))?;
            timings.table.record(nanos(compiled - published))?;
            timings.pick.record(nanos(seen - compiled))?;
            timings.visible.record(nanos(seen - decoded))?;
            timings.visible_cpu.record(nanos(cpu))?;
        }
        Ok(timings)
    }

    /// Endpoints that a route counts as ready, those behind gateways included.
    fn ready(&self, route: &Route) -> u32 {
        let view = route.balancer().view(self.clock.now());
        let tiers = view.tiers.iter();
        tiers.map(|tier| tier.availability.healthy).sum()
    }
}

impl Timings {
    fn new() -> Result<Self> {
        let empty = || Histogram::new(3);
        Ok(Self {
            decode: empty()?,
            apply: empty()?,
            publish: empty()?,
            table: empty()?,
            pick: empty()?,
            visible: empty()?,
            visible_cpu: empty()?,
        })
    }
}

/// A line of a watch, read as `follow` and `session` of discovery read it.
fn read(kind: Kind, line: &[u8]) -> Result<Result<Fact, Unreadable>> {
    Ok(match kind {
        Kind::Service => Fact::service(&object::<Service>(line)?),
        Kind::Slice => Fact::slice(&object::<EndpointSlice>(line)?),
        Kind::Pod => Fact::pod(&object::<PartialObjectMeta<Pod>>(line)?.metadata),
        Kind::Node => Fact::node(&object::<PartialObjectMeta<Node>>(line)?.metadata),
        Kind::Namespace => Fact::namespace(&object::<PartialObjectMeta<Namespace>>(line)?.metadata),
        kind => {
            let object: DynamicObject = object(line)?;
            Fact::istio(kind, &object.metadata, &object.data)
        }
    })
}

fn object<T: DeserializeOwned>(line: &[u8]) -> Result<T>
where
    WatchEvent<T>: DeserializeOwned,
{
    match serde_json::from_slice::<WatchEvent<T>>(line)? {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(object),
        _ => bail!("an event that is no object"),
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1)
}
