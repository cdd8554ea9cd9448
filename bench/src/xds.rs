//! What many xDS clients cost the server: memory of an idle one, and one endpoint's change: how soon the last one has it, and for
//! how much processor time. The server has a process and a core of its own, the clients have the others. It must not judge by
//! anything but the targets, which stand here.

mod clients;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use self::clients::Clients;
pub use self::server::serve;
use crate::cores::{self, Cores};
use crate::process::{self, Ended};

/// From the snapshot to the last of the streams (issue "xds/", Cost).
const LAST: Duration = Duration::from_millis(50);

/// Bytes of an idle stream, of which the resources are shared with all others.
const STREAM: u64 = 64 << 10;

/// How long the server has to read the answers, and to give back what it needed only for a moment.
const SETTLE: Duration = Duration::from_millis(200);

/// Streams that are there when the first look at the memory is taken: what is made once is made.
const FIRST: usize = 10;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients, each with a connection and a stream.
    pub streams: usize,
    /// Services that each of them subscribes to.
    pub services: u32,
    /// Endpoints of a service.
    pub endpoints: u32,
    /// Changes.
    pub changes: u32,
    /// State of the world instead of delta.
    pub sotw: bool,
}

/// Measures it.
///
/// # Errors
/// When the server cannot be started, or a client loses it.
pub fn run(plan: Plan) -> Result<()> {
    ensure!(plan.streams > FIRST, "more than {FIRST} streams are needed");
    cores::raise_file_limit();
    let cores = Cores::share_out()?;
    cores.keep_to_load()?;
    let mut server = Child::start(plan, &cores)?;
    println!(
        "{} streams x {} services of {} endpoints, {}; server on core {}, clients on core {}",
        plan.streams,
        plan.services,
        plan.endpoints,
        if plan.sotw {
            "state of the world"
        } else {
            "delta"
        },
        cores::numbers(&cores.proxy),
        cores::numbers(&cores.load),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(plan, &mut server))
}

async fn measure(plan: Plan, server: &mut Child) -> Result<()> {
    let mut clients = Clients::new(plan, server.address.clone());
    clients.grow(FIRST).await?;
    let few = server.memory().await?;
    let before = server.ask("look")?;
    clients.grow(plan.streams).await?;
    let many = server.memory().await?;
    let after = server.ask("look")?;
    let of_stream = (many.saturating_sub(few)) / (plan.streams - FIRST) as u64;
    let joined = (after.cpu - before.cpu) / u64::try_from(plan.streams - FIRST)?;
    row(
        "an idle stream, bytes",
        &of_stream.to_string(),
        &verdict("< 65,536", of_stream < STREAM),
    );
    row(
        "a client that comes: CPU",
        &format!("{} us", joined / 1_000),
        "",
    );
    let mut last = Histogram::<u64>::new(3)?;
    let mut cpu = Histogram::<u64>::new(3)?;
    let (mut bytes, mut pushes) = (0, 0);
    for _ in 0..plan.changes {
        let begun = server.ask("change")?;
        let arrived = clients.all_hear().await?;
        tokio::time::sleep(SETTLE).await;
        let done = server.ask("look")?;
        last.record(arrived.saturating_sub(begun.at))?;
        cpu.record(done.cpu - begun.cpu)?;
        bytes += done.bytes - begun.bytes;
        pushes += done.pushes - begun.pushes;
    }
    let of = |histogram: &Histogram<u64>| {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        format!(
            "p50 {:.1} ms, p90 {:.1} ms, max {:.1} ms",
            millis(histogram.value_at_quantile(0.5)),
            millis(histogram.value_at_quantile(0.9)),
            millis(histogram.max())
        )
    };
    let met = Duration::from_nanos(last.value_at_quantile(0.5)) < LAST;
    row(
        "one endpoint changes: to the last stream",
        &of(&last),
        &verdict("< 50 ms", met),
    );
    row("  CPU of the server, answers included", &of(&cpu), "");
    let changes = u64::from(plan.changes.max(1));
    row(
        "  responses, bytes of resources in them",
        &format!("{}, {}", pushes / changes, bytes / changes),
        "",
    );
    let grown = server.memory().await?.saturating_sub(few) / (plan.streams - FIRST) as u64;
    row("an idle stream after that, bytes", &grown.to_string(), "");
    Ok(())
}

fn row(what: &str, value: &str, target: &str) {
    println!("  {what:<42} {value:<46} {target}");
}

fn verdict(target: &str, met: bool) -> String {
    let word = if met { "met" } else { "MISSED" };
    format!("target {target}: {word}")
}

/// Nanoseconds by the clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + nanos
}

/// What the server says of itself.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Said {
    /// When, by [`now`].
    at: u64,
    /// Its processor time so far, nanoseconds.
    cpu: u64,
    /// Bytes of resources in its responses so far.
    bytes: u64,
    /// Its responses so far.
    pushes: u64,
}

/// The server's process.
struct Child {
    process: Ended,
    from: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Child {
    fn start(plan: Plan, cores: &Cores) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["xds", "--serve", "--services", &plan.services.to_string()])
            .args(["--endpoints", &plan.endpoints.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Ended(cores.start_proxy(&mut command)?);
        let from = process.0.stdout.take().context("the server's output")?;
        let mut child = Self {
            process,
            from: BufReader::new(from),
            address: String::new(),
        };
        child.address = child.line()?;
        Ok(child)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the server has ended");
        Ok(line.trim().to_owned())
    }

    fn ask(&mut self, what: &str) -> Result<Said> {
        let input = self
            .process
            .0
            .stdin
            .as_mut()
            .context("the server's input")?;
        writeln!(input, "{what}")?;
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Once it has nothing to do any more.
    async fn memory(&mut self) -> Result<u64> {
        tokio::time::sleep(SETTLE).await;
        process::memory(self.process.0.id())
    }
}
