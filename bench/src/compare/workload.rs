//! The workloads: what load each is, and which figure of it counts. It must not know of targets.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use tokio::sync::Notify;

use super::BULK_STEPS_BACK;
use crate::cores;
use crate::load::{self, Mark, Opening, Outcome, Plan, Work};
use crate::peers::{Peer, Running};
use crate::process::{self, Cpu};

/// Work before each measurement that is not counted.
const WARMUP: Duration = Duration::from_millis(300);
/// How much longer than what they stand beside streams may last: opening, warming up, and what was due at the end.
const LONGEST: Duration = Duration::from_secs(60);
/// Round trips a second beside bulk: few enough that they are no load themselves.
const BESIDE_RATE: f64 = 1000.0;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Workload {
    /// Hello, 256 bytes of answer, close; 64 in flight.
    Connections,
    /// 128 bytes there and back over 64 connections.
    RoundTrips,
    /// 16 KiB there and back over 32 connections.
    #[value(name = "round-trips-16k")]
    LargeRoundTrips,
    /// 8 streams from the endpoints.
    BulkDown,
    /// 8 streams to the endpoints.
    BulkUp,
    /// 128 bytes there and back over one connection, nothing else.
    Lone,
    /// 128 bytes there and back, 1,000 a second over 8 connections in an open loop, beside 8 streams from the endpoints.
    BesideBulk,
}

/// Where the load goes.
pub(crate) struct Aim<'a> {
    pub(crate) main: (SocketAddr, Opening),
    /// The bulk streams beside it, where the workload has some.
    pub(crate) beside: (SocketAddr, Opening),
    /// Whose CPU counts.
    pub(crate) proxy: Option<&'a Running>,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) outcome: Outcome,
    /// Gigabits a second of the streams beside it.
    pub(crate) beside: Option<f64>,
    /// The proxy's CPU time.
    pub(crate) cpu: Option<Cpu>,
    /// CPU time of the load and the endpoints, in cores: near the number of theirs, they are the limit.
    pub(crate) load: f64,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Connections,
        Self::RoundTrips,
        Self::LargeRoundTrips,
        Self::BulkDown,
        Self::BulkUp,
        Self::Lone,
        Self::BesideBulk,
    ];

    /// Its name in arguments and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::RoundTrips => "round-trips",
            Self::LargeRoundTrips => "round-trips-16k",
            Self::BulkDown => "bulk-down",
            Self::BulkUp => "bulk-up",
            Self::Lone => "lone",
            Self::BesideBulk => "beside-bulk",
        }
    }

    /// What its figure is, and of what.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Connections => "new connections, 64 in flight: proxy's CPU, us each",
            Self::RoundTrips => "128 B round trips over 64 connections: proxy's CPU, us each",
            Self::LargeRoundTrips => "16 KiB round trips over 32 connections: proxy's CPU, us each",
            Self::BulkDown => "bulk from the endpoints, 8 streams: proxy's CPU, ms per GB",
            Self::BulkUp => "bulk to the endpoints, 8 streams: proxy's CPU, ms per GB",
            Self::Lone => "128 B round trips over one connection: p50, us",
            Self::BesideBulk => "128 B round trips, 1,000/s, beside 8 bulk streams: p99, us",
        }
    }

    /// The figure that counts: less is better. None without a proxy where it is the proxy's CPU.
    pub(crate) fn figure(self, sample: &Sample) -> Option<f64> {
        // Less than a tick of the kernel's clock is no figure.
        let cpu = sample.cpu.map(|cpu| cpu.total().as_secs_f64());
        let cpu = cpu.filter(|cpu| *cpu > 0.0);
        let outcome = &sample.outcome;
        match self {
            Self::Connections | Self::RoundTrips | Self::LargeRoundTrips => {
                Some(cpu? * 1e6 / outcome.done as f64)
            }
            Self::BulkDown | Self::BulkUp => Some(cpu? * 1e3 / (outcome.bytes as f64 / 1e9)),
            Self::Lone => Some(outcome.micros(0.5)),
            Self::BesideBulk => Some(outcome.micros(0.99)),
        }
    }

    /// What of the figure is the kernel's own time, where the figure is CPU.
    pub(crate) fn kernel(self, sample: &Sample) -> Option<f64> {
        if matches!(self, Self::Lone | Self::BesideBulk) {
            return None;
        }
        let cpu = sample.cpu?;
        let share = cpu.system.as_secs_f64() / cpu.total().as_secs_f64();
        Some(self.figure(sample)? * share)
    }

    /// What stands beside the figure, and its name: the kernel's part of CPU, or what CPU a latency took, in us each.
    pub(crate) fn price(self, sample: &Sample) -> Option<(&'static str, f64)> {
        if self != Self::Lone {
            return Some(("kernel", self.kernel(sample)?));
        }
        let cpu = sample.cpu?.total().as_secs_f64();
        Some(("CPU", cpu * 1e6 / sample.outcome.done as f64))
    }

    /// Whether this proxy is measured with it: a worker that polls is meant for round trips that are alone.
    pub(crate) fn measures(self, peer: Peer) -> bool {
        peer != Peer::CausewayPolling || self == Self::Lone
    }

    /// Whether the bare relay, which copies, says what the kernel alone takes for it.
    pub(crate) fn has_floor(self) -> bool {
        matches!(self, Self::Connections | Self::RoundTrips)
    }

    /// What it came to in a second, with its unit; more is better.
    pub(crate) fn speed(self, sample: &Sample) -> (f64, &'static str) {
        match (self, sample.beside) {
            (Self::BulkDown | Self::BulkUp, _) => (sample.outcome.gigabits(), "Gbit/s"),
            (_, Some(beside)) => (beside, "Gbit/s"),
            _ => (sample.outcome.rate(), "/s"),
        }
    }

    /// One measurement, for people.
    pub(crate) fn say(self, sample: &Sample) -> String {
        let figure = self.figure(sample);
        let figure = figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"));
        let (speed, unit) = self.speed(sample);
        format!(
            "{figure:>8}  {speed:9.1} {unit}  load {:.2} cores",
            sample.load
        )
    }

    /// The endpoint that it needs.
    pub(crate) fn endpoint(self) -> &'static str {
        match self {
            Self::Connections => "answer",
            Self::BulkDown => "stream",
            Self::BulkUp => "sink",
            _ => "echo",
        }
    }

    /// Measures it once.
    pub(crate) fn measure(self, aim: &Aim<'_>, time: Duration) -> Result<Sample> {
        let plan = self.plan(aim.main.clone(), time);
        if self != Self::BesideBulk {
            return watched(aim, plan, None);
        }
        // They last until what they stand beside is over, and step back for it where they share a core.
        let end = Arc::new(Notify::new());
        let bulk = Plan {
            end: Some(end.clone()),
            ..Self::BulkDown.plan(aim.beside.clone(), time + LONGEST)
        };
        let (begun, begins) = mpsc::channel();
        std::thread::scope(|scope| {
            let streams = scope.spawn(move || {
                cores::step_back(BULK_STEPS_BACK)?;
                load::run(bulk, false, &mut |mark| {
                    if mark == Mark::Begin {
                        // Who waits for it may have given up.
                        let _ = begun.send(());
                    }
                    Ok(())
                })
            });
            // Where the streams fail instead, they say why below.
            let sample = match begins.recv() {
                Ok(()) => watched(aim, plan, Some(0.0)),
                Err(_) => Err(anyhow!("the streams beside it did not begin")),
            };
            end.notify_one();
            let streams = streams
                .join()
                .map_err(|_| anyhow!("the streams panicked"))??;
            sane(&streams)?;
            Ok(Sample {
                beside: Some(streams.gigabits()),
                ..sample?
            })
        })
    }

    fn plan(self, (address, opening): (SocketAddr, Opening), time: Duration) -> Plan {
        let (work, connections, bytes) = match self {
            Self::Connections => (Work::Connections, 64, 128),
            Self::RoundTrips => (Work::RoundTrips, 64, 128),
            Self::LargeRoundTrips => (Work::RoundTrips, 32, 16 * 1024),
            Self::BulkDown => (Work::Download, 8, 128),
            Self::BulkUp => (Work::Upload, 8, 128),
            Self::Lone => (Work::RoundTrips, 1, 128),
            Self::BesideBulk => (Work::RoundTrips, 8, 128),
        };
        Plan {
            connections,
            bytes,
            time: Some(time),
            warmup: WARMUP,
            rate: (self == Self::BesideBulk).then_some(BESIDE_RATE),
            ..Plan::new(address, work, opening)
        }
    }
}

/// Carries out a plan, with an eye on CPU time.
fn watched(aim: &Aim<'_>, plan: Plan, beside: Option<f64>) -> Result<Sample> {
    let ourselves = std::process::id();
    let mut proxy = Vec::new();
    let mut load = Vec::new();
    let outcome = load::run(plan, false, &mut |_| {
        proxy.extend(aim.proxy.map(Running::cpu).transpose()?);
        load.push(process::cpu_of(ourselves)?);
        Ok(())
    })?;
    sane(&outcome)?;
    let between = |times: &[Cpu]| match times {
        [begin, end] => Some(end.since(*begin)),
        _ => None,
    };
    let load = between(&load).unwrap_or_default().total().as_secs_f64();
    Ok(Sample {
        cpu: between(&proxy),
        load: load / outcome.took.as_secs_f64(),
        beside,
        outcome,
    })
}

/// A figure with failures in it is none.
fn sane(outcome: &Outcome) -> Result<()> {
    if outcome.failed() > 0 {
        bail!("units of work failed{}", outcome.complaint());
    }
    if outcome.done == 0 && outcome.bytes == 0 {
        bail!("nothing was done");
    }
    Ok(())
}
