//! Causeway beside its peers, in the same minutes, with the same routes, load and endpoints. It must not compare what was not
//! measured in the same run, nor a figure that has failures in it.

mod alone;
mod chart;
mod dead_tier;
mod report;
mod targets;
mod workload;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sidecar::SIDECAR_ALPN;

use crate::backend::{Backend, Manner, Serving};
use crate::cores::Cores;
use crate::load::Opening;
use crate::machine::Machine;
use crate::namespace;
use crate::peers::{Found, Peer, Route, Running};

use self::report::Report;
pub use self::workload::Workload;
use self::workload::{Aim, Sample};

/// Endpoints of a route: addresses of the one process that serves it.
const ENDPOINTS: u8 = 4;
/// How far the threads of bulk endpoints step back, so that on a shared core round trips are measured, not their queue.
pub(crate) const BULK_STEPS_BACK: i32 = 10;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rounds; each has every workload for every proxy.
    pub rounds: usize,
    /// How long one measurement takes.
    pub time: Duration,
    /// Which workloads.
    pub workloads: Vec<Workload>,
    /// Whether Causeway is then held to the targets that need no peer.
    pub alone: bool,
}

/// What was measured: for each workload and subject, one sample for each round; none where it failed.
pub(crate) type Samples = BTreeMap<(Workload, Subject), Vec<Option<Sample>>>;

/// A proxy, or none: the load straight at the endpoints, for what the generator itself can do.
pub(crate) type Subject = Option<Peer>;

/// Measures all of it, prints the table, and writes `compare.json` and a chart for each workload into `folder`.
///
/// # Errors
/// When a proxy does not start, or a file cannot be written; at the end when a measurement of Causeway failed. One that fails is
/// said and left out.
pub fn run(settings: &Settings, found: &[Found], cores: &Cores, folder: &Path) -> Result<()> {
    let endpoints = Endpoints::start()?;
    let routes: Vec<Route> = endpoints
        .each
        .iter()
        .map(|(_, route)| route.clone())
        .collect();
    let mut found = found.to_vec();
    let ours = found.iter().find(|found| found.peer == Peer::Causeway);
    if let Some(ours) = ours.cloned()
        && settings.workloads.contains(&Workload::Lone)
    {
        let peer = Peer::CausewayPolling;
        found.push(Found { peer, ..ours });
    }
    let running = found
        .iter()
        .map(|found| found.start(&routes, cores))
        .collect::<Result<Vec<Running>>>()?;
    let mut samples = Samples::new();
    for round in 0..settings.rounds {
        for workload in &settings.workloads {
            let measured = running.iter().filter(|one| workload.measures(one.peer));
            let mut subjects: Vec<Option<&Running>> = measured.map(Some).chain([None]).collect();
            // Whoever comes first in one round comes last in the next, so that a drift favours nobody.
            let first = round % subjects.len();
            subjects.rotate_left(first);
            for running in subjects {
                let subject = running.map(|running| running.peer);
                let aim = endpoints.aim(*workload, running)?;
                let sample = workload.measure(&aim, settings.time);
                let said = match &sample {
                    Ok(sample) => workload.say(sample),
                    Err(error) => format!("left out: {error:#}"),
                };
                let (round, of) = (round + 1, settings.rounds);
                let (workload_name, name) = (workload.name(), name(subject));
                eprintln!("round {round}/{of}  {workload_name:<18} {name:<16} {said}");
                let all = samples.entry((*workload, subject)).or_default();
                all.push(sample.ok());
            }
        }
    }
    // Memory is measured with all of a core, and nobody else needs to be there.
    drop(running);
    let ours = found.iter().find(|found| found.peer == Peer::Causeway);
    let alone = match ours {
        Some(ours) if settings.alone => alone::measure(ours, cores),
        _ => Vec::new(),
    };
    let report = Report {
        machine: Machine::here(),
        settings,
        found: &found,
        samples: &samples,
        alone: &alone,
    };
    report.print();
    fs::create_dir_all(folder)?;
    let file = folder.join("compare.json");
    fs::write(&file, format!("{:#}\n", report.json()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    for workload in &settings.workloads {
        let file = folder.join(format!("{}.svg", workload.name()));
        fs::write(&file, chart::svg(&report, *workload))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!(
        "\nwritten: compare.json and a chart for each workload in {}",
        folder.display()
    );
    let failed = report.failed();
    ensure!(failed == 0, "{failed} measurements of Causeway failed");
    Ok(())
}

pub(crate) fn name(subject: Subject) -> &'static str {
    subject.map_or("no proxy", Peer::name)
}

/// The endpoints, one for each manner, each behind a route of its own; and one more for the streams that stand beside something.
struct Endpoints {
    each: Vec<(Backend, Route)>,
}

/// Their names, and the order in which they are kept.
const NAMES: [(&str, Manner, i32); 5] = [
    ("answer", Manner::Answer, 0),
    ("echo", Manner::Echo, 0),
    ("stream", Manner::Stream, 0),
    ("sink", Manner::Sink, 0),
    (BESIDE, Manner::Stream, BULK_STEPS_BACK),
];
const BESIDE: &str = "beside";

impl Endpoints {
    fn start() -> Result<Self> {
        // In a network of our own every loopback address is served; outside nobody else is to reach them.
        let (ip, addresses) = match namespace::inside() {
            true => (Ipv4Addr::UNSPECIFIED, ENDPOINTS),
            false => (Ipv4Addr::LOCALHOST, 1),
        };
        let mut each = Vec::new();
        for (name, manner, nice) in NAMES {
            let backend = Backend::start((ip, 0).into(), Serving::new(manner), nice)?;
            let port = backend.address.port();
            let endpoints = (1..=addresses)
                .map(|last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port)))
                .collect();
            each.push((backend, Route::new(name, endpoints)));
        }
        Ok(Self { each })
    }

    /// Where the load goes, through this proxy or straight.
    fn aim<'a>(&self, workload: Workload, running: Option<&'a Running>) -> Result<Aim<'a>> {
        let to = |wanted: &str| -> Result<(SocketAddr, Opening)> {
            let mut named = NAMES.iter().zip(&self.each);
            let (_, (_, route)) = named
                .find(|((name, ..), _)| *name == wanted)
                .with_context(|| format!("no endpoint is called {wanted}"))?;
            let address = running.map_or(route.endpoints[0], |running| running.address);
            Ok((address, Opening::bare(&route.sni(), SIDECAR_ALPN)?))
        };
        Ok(Aim {
            main: to(workload.endpoint())?,
            beside: to(BESIDE)?,
            proxy: running,
        })
    }
}
