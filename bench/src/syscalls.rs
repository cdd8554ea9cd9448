//! Counts what system calls a proxy's worker makes for a unit of work, with strace. The count has no clock in it.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::backend::{Backend, Manner, Serving};
use crate::cores::Cores;
use crate::load::{self, Mark, Opening, Plan, Work};
use crate::peers::{Found, Route, Running};
use crate::process::Ended;

/// Connections in flight, as the targets want it.
const CONNECTIONS: usize = 64;

/// System calls of one kind for each unit of work, by name.
pub type Calls = BTreeMap<String, f64>;

/// Counts `count` new connections or 128-byte round trips over 64 connections.
///
/// # Errors
/// When the proxy or strace does not start, and when a unit of work fails.
pub fn count(found: &Found, work: Work, count: u64, cores: &Cores) -> Result<Calls> {
    let manner = match work {
        Work::Connections => Manner::Answer,
        _ => Manner::Echo,
    };
    let backend = Backend::start((Ipv4Addr::LOCALHOST, 0).into(), Serving::new(manner), 0)?;
    let route = Route::new("hello", vec![backend.address]);
    let running = found.start(std::slice::from_ref(&route), cores)?;
    let opening = Opening::bare(&route.sni(), sidecar::SIDECAR_ALPN)?;
    let plan = Plan {
        connections: CONNECTIONS,
        count: Some(count),
        ..Plan::new(running.address, work, opening)
    };
    // What happens once, at the first connection, is not to be counted.
    let warm = Plan {
        count: Some(CONNECTIONS as u64),
        ..plan.clone()
    };
    load::run(warm, false, &mut |_| Ok(()))?;
    let mut tracing = None;
    let mut table = String::new();
    let outcome = load::run(plan, false, &mut |mark| {
        match mark {
            Mark::Begin => tracing = Some(Tracing::attach(&running)?),
            Mark::End => {
                if let Some(tracing) = tracing.take() {
                    table = tracing.detach()?;
                }
            }
        }
        Ok(())
    })?;
    if outcome.failed() > 0 {
        bail!("units of work failed{}", outcome.complaint());
    }
    let calls = parse(&table)?;
    let each = |(name, calls): (String, u64)| (name, calls as f64 / count as f64);
    Ok(calls.into_iter().map(each).collect())
}

/// strace on a proxy's workers.
struct Tracing {
    strace: Ended,
    output: std::path::PathBuf,
}

impl Tracing {
    fn attach(running: &Running) -> Result<Self> {
        let workers = running.workers()?;
        let output = std::env::temp_dir().join(format!("bench-strace-{}", std::process::id()));
        let mut command = Command::new("strace");
        command.args(["-c", "-U", "calls,name", "-o"]).arg(&output);
        for worker in &workers {
            command.args(["-p", &worker.to_string()]);
        }
        let strace = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start strace: install it")?;
        let mut tracing = Self {
            strace: Ended(strace),
            output,
        };
        for worker in workers {
            tracing.until_it_traces(worker)?;
        }
        Ok(tracing)
    }

    fn until_it_traces(&mut self, thread: u32) -> Result<()> {
        for _ in 0..1000 {
            let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
            if !status.contains("TracerPid:\t0\n") {
                return Ok(());
            }
            if let Some(status) = self.strace.0.try_wait()? {
                bail!("strace ended with {status}: is ptrace allowed?");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("strace did not attach to thread {thread} in 10 s: is ptrace allowed?")
    }

    /// Its table. Interrupted, strace lets go of what it traces, and writes it.
    fn detach(mut self) -> Result<String> {
        let strace = Pid::from_child(&self.strace.0);
        kill_process(strace, Signal::INT).context("cannot interrupt strace")?;
        self.strace.0.wait()?;
        let table = read(&self.output)?;
        fs::remove_file(&self.output)?;
        Ok(table)
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("strace wrote no {}", path.display()))
}

/// strace's table, by call: a head, a line, a line for each call, a line, the total.
fn parse(table: &str) -> Result<BTreeMap<String, u64>> {
    let mut calls = BTreeMap::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [count, name] = words[..]
            && let Ok(count) = count.parse()
            && name != "total"
        {
            calls.insert(name.to_owned(), count);
        }
    }
    if calls.is_empty() {
        bail!("strace counted nothing; it wrote: {table}");
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_strace_is_read_without_its_total() {
        let table = "    calls syscall\n--------- -------\n 20000 recvfrom\n  5000 close\n--------- -------\n 25000 total\n";
        let calls = parse(table).unwrap();
        assert_eq!(calls["recvfrom"], 20_000);
        assert_eq!(calls["close"], 5_000);
        assert_eq!(calls.len(), 2);
        assert!(parse("nothing").is_err());
    }
}
