//! What a fleet costs: memory, changes and a cold start with a million endpoints, by the code that reads real clusters. It
//! must not judge by anything but the targets, which stand here.

mod changes;
mod objects;
mod picks;
mod process;
mod progress;
mod server;
mod setup;
mod shape;
mod steps;
mod whole;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;

use self::shape::{ALL, Measured, Shape};
use self::steps::Timings;
use self::whole::Whole;

/// Bytes of an endpoint in snapshot and table together.
const OF_ENDPOINT: usize = 200;

/// Bytes of a route in snapshot and table together, its one endpoint included.
const OF_ROUTE: usize = 1_000;

/// From a decoded event to the first pick that sees it.
const VISIBLE: Duration = Duration::from_millis(1);

/// One half of a measurement, which has a process of its own: what one has freed would hide what the next one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Half {
    /// Each step by itself.
    Steps,
    /// Discovery and data path as they run.
    Whole,
}

/// Measures the shapes of these names, all without any, each half in a process of its own.
///
/// # Errors
/// When there is no such shape, or a process fails.
pub fn run(names: &[String]) -> Result<()> {
    let known = |name: &String| Shape::named(name).with_context(|| unknown(name));
    let mut shapes = names.iter().map(known).collect::<Result<Vec<_>>>()?;
    if shapes.is_empty() {
        shapes = ALL.into();
    }
    let program = std::env::current_exe()?;
    for shape in shapes {
        println!(
            "{}: {}; clusters x services x endpoints: {} x {} x {}",
            shape.name, shape.about, shape.clusters, shape.services, shape.endpoints
        );
        let halves: &[&str] = match shape.measured {
            Measured::Everything => &["steps", "whole"],
            Measured::Routes => &["steps"],
        };
        for half in halves {
            let status = Command::new(&program)
                .args(["scale", shape.name, "--half", half])
                .envs((*half == "steps").then_some(APART))
                .status()?;
            ensure!(status.success(), "{}: {half}: {status}", shape.name);
        }
        println!();
    }
    Ok(())
}

/// A step's thread has an arena of the allocator's to itself, so that it does not fill what another has left half empty. The gateway
/// has one for all.
const APART: (&str, &str) = ("_RJEM_MALLOC_CONF", "narenas:100");

/// Measures one half of one shape in this process.
///
/// # Errors
/// When there is no such shape, or it cannot be measured.
pub fn run_half(names: &[String], half: Half) -> Result<()> {
    let [name] = names else {
        bail!("a half is measured of one shape, not of {}", names.len());
    };
    let shape = Shape::named(name).with_context(|| unknown(name))?;
    match half {
        Half::Steps => print_steps(shape),
        Half::Whole => whole::run(shape).map(|whole| print_whole(&whole)),
    }
}

/// From one endpoint's decoded change in a service of 50,000 to the first pick that sees it; 99 of 100 changes take no longer.
///
/// # Errors
/// When it cannot be measured.
pub fn change_of_one() -> Result<Duration> {
    let steps = steps::run(shape::ONE, true)?;
    let changes = steps.changes.context("no change was measured")?;
    Ok(Duration::from_nanos(
        changes.visible.value_at_quantile(0.99),
    ))
}

/// What a pick takes in a service of so many endpoints.
///
/// # Errors
/// When nothing can be picked.
pub fn pick_among(endpoints: usize) -> Result<Duration> {
    let shape = Shape {
        endpoints,
        ..shape::ONE
    };
    steps::pick(shape)
}

fn unknown(name: &str) -> String {
    let names = ALL.map(|shape| shape.name).join(", ");
    format!("there is no shape {name}, only {names}")
}

fn print_steps(shape: Shape) -> Result<()> {
    let everything = shape.measured == Measured::Everything;
    let steps = steps::run(shape, everything)?;
    let (count, what, target) = match shape.measured {
        Measured::Everything => (shape.total(), "endpoint", OF_ENDPOINT),
        Measured::Routes => (shape.routes(), "route", OF_ROUTE),
    };
    let both = (steps.snapshot + steps.table) / count;
    row(
        &format!("snapshot and table, bytes an {what}"),
        &format!(
            "{both} ({} + {})",
            steps.snapshot / count,
            steps.table / count
        ),
        &verdict(&format!("< {target}"), both < target),
    );
    row(
        &format!("facts of objects, bytes an {what}"),
        &(steps.facts / count).to_string(),
        "",
    );
    if let Some(changes) = &steps.changes {
        print_changes(changes);
    }
    Ok(())
}

fn print_changes(changes: &Timings) {
    let met = Duration::from_nanos(changes.visible.value_at_quantile(0.99)) < VISIBLE;
    row(
        "one change, decoded to picked",
        &spread(&changes.visible),
        &verdict("< 1 ms at p99", met),
    );
    row("  its processor time", &spread(&changes.visible_cpu), "");
    for (what, spans) in [
        ("decode (before)", &changes.decode),
        ("apply", &changes.apply),
        ("publish", &changes.publish),
        ("table", &changes.table),
        ("pick", &changes.pick),
    ] {
        row(&format!("  {what}"), &spread(spans), "");
    }
}

fn print_whole(whole: &Whole) {
    row(
        "cold sync",
        &format!(
            "{:.1} s, {:.1} s of CPU",
            whole.sync.as_secs_f64(),
            whole.sync_cpu.as_secs_f64()
        ),
        "",
    );
    row(
        "memory of the process",
        &format!(
            "peak {} MiB, then {} MiB",
            whole.peak >> 20,
            whole.resident >> 20
        ),
        "",
    );
    row("one change, bytes to table", &spread(&whole.alone), "");
    row(
        "1,000 changes a second",
        &format!(
            "{:.0} % of a core, {:.0} snapshots a second",
            whole.stream_cpu * 100.0,
            whole.published
        ),
        "",
    );
}

fn row(what: &str, value: &str, target: &str) {
    println!("  {what:<42} {value:<46} {target}");
}

fn verdict(target: &str, met: bool) -> String {
    let word = if met { "met" } else { "MISSED" };
    format!("target {target}: {word}")
}

/// Median, 99th percentile and most, in microseconds.
fn spread(spans: &Histogram<u64>) -> String {
    let micros = |nanos: u64| nanos as f64 / 1_000.0;
    format!(
        "p50 {:.0} us, p99 {:.0} us, max {:.0} us",
        micros(spans.value_at_quantile(0.5)),
        micros(spans.value_at_quantile(0.99)),
        micros(spans.max())
    )
}
