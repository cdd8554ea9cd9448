//! What Causeway is to hold by itself: counts, memory, and times in which no peer has a part. It must not be loosened to fit a
//! measurement.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use sidecar::SIDECAR_ALPN;

use super::dead_tier::{self, Seen};
use crate::backend::{Backend, Manner, Serving};
use crate::cores::Cores;
use crate::load::{self, Mark, Opening, Plan, Work};
use crate::memory::What;
use crate::peers::{Found, Route};
use crate::{scale, scrape, syscalls};

/// Units of work whose system calls are counted.
const COUNTED: u64 = 5_000;
/// Workers, and connections that stay, whose spread over them is looked at.
const WORKERS: usize = 4;
const LONG: usize = 256;

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Alone {
    what: String,
    /// None where it could not be measured.
    figure: Option<f64>,
    at_most: f64,
}

impl Alone {
    /// Whether its target is held.
    pub(crate) fn held(&self) -> bool {
        self.figure.is_some_and(|figure| figure <= self.at_most)
    }

    /// For people.
    pub(crate) fn say(&self) -> String {
        let figure = self
            .figure
            .map_or_else(|| "no figure".to_owned(), |figure| format!("{figure:.2}"));
        let verdict = if self.held() { "held" } else { "MISSED" };
        let (what, at_most) = (&self.what, self.at_most);
        format!("  {what:<66} {figure:>9}  target {at_most}: {verdict}")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({"what": self.what, "figure": self.figure, "atMost": self.at_most, "held": self.held()})
    }
}

/// Measures all of it. What fails is said, and has no figure.
pub(crate) fn measure(found: &Found, cores: &Cores) -> Vec<Alone> {
    let mut all = Vec::new();
    let mut add = |what: &str, at_most: f64, figure: Result<f64>| {
        if let Err(error) = &figure {
            eprintln!("{what}: {error:#}");
        }
        let figure = figure.ok();
        let what = what.to_owned();
        let one = Alone {
            what,
            figure,
            at_most,
        };
        eprintln!("{}", one.say().trim_start());
        all.push(one);
    };
    let calls = |work| {
        let calls = syscalls::count(found, work, COUNTED, cores)?;
        Ok(calls.values().sum())
    };
    add(
        "system calls of a new connection",
        18.0,
        calls(Work::Connections),
    );
    add(
        "system calls of a 128 B round trip",
        4.3,
        calls(Work::RoundTrips),
    );
    for what in What::ALL {
        let title = format!("memory of {}, bytes", what.with_article());
        add(&title, what.target(), what.cost(found, cores));
    }
    add(
        "most loaded of 4 workers with 256 long connections, to the mean",
        1.2,
        spread(found, cores),
    );
    let micros = |span: Duration| span.as_secs_f64() * 1e6;
    add(
        "one of 50,000 endpoints changes, to a pick that sees it: p99, us",
        1_000.0,
        scale::change_of_one().map(micros),
    );
    let nanos = |span: Duration| span.as_secs_f64() * 1e9;
    add(
        "a pick among 10,000 endpoints, ns",
        50.0,
        scale::pick_among(10_000).map(nanos),
    );
    let tier = dead_tier::measure(found, cores);
    // One measurement for three rows: where it fails, each says why.
    let seen = |figure: fn(&Seen) -> f64| match &tier {
        Ok(seen) => Ok(figure(seen)),
        Err(error) => Err(anyhow!("{error:#}")),
    };
    let (first, later) = (dead_tier::ALL_FIRST, dead_tier::ALL_LATER);
    add(
        &format!("failed clients with a first tier that is dead, of {first}"),
        0.0,
        seen(|seen| seen.failed.into()),
    );
    add(
        "the slowest of those that do not fail, s",
        1.5,
        seen(|seen| seen.slowest.as_secs_f64()),
    );
    add(
        &format!("dials of the dead once all are ejected, {later} clients"),
        0.0,
        seen(|seen| seen.dead_dials as f64),
    );
    all
}

/// Connections of the most loaded worker, as a multiple of the mean.
fn spread(found: &Found, cores: &Cores) -> Result<f64> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let backend = Backend::start(local, Serving::new(Manner::Echo), 0)?;
    let route = Route::new("hello", vec![backend.address]);
    let stats = TcpListener::bind(local)?.local_addr()?;
    let arguments = [
        "--set".to_owned(),
        format!("stats.address={stats}"),
        "--set".to_owned(),
        format!("workers={WORKERS}"),
    ];
    let running = found.start_with(std::slice::from_ref(&route), cores, &arguments)?;
    let plan = Plan {
        connections: LONG,
        time: Some(Duration::from_millis(1)),
        ..Plan::new(
            running.address,
            Work::Idle,
            Opening::bare(&route.sni(), SIDECAR_ALPN)?,
        )
    };
    let mut text = String::new();
    let outcome = load::run(plan, false, &mut |mark| {
        if mark == Mark::Begin {
            text = scrape::scrape(stats)?;
        }
        Ok(())
    })?;
    ensure!(
        outcome.failed() == 0,
        "connections failed{}",
        outcome.complaint()
    );
    let each: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("causeway_worker_open_connections{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    ensure!(
        each.len() == WORKERS,
        "{} workers are in the metrics",
        each.len()
    );
    let most = each.iter().copied().reduce(f64::max).context("no worker")?;
    Ok(most / (each.iter().sum::<f64>() / WORKERS as f64))
}
