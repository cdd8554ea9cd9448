//! What the kernel says of a process and its children: CPU time, memory, threads. It must not change anything in them but to
//! end those that we started.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

// proc_pid_stat(5): ppid, utime and stime are fields 4, 14 and 15; these count from the first after the name.
const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;

/// A child that is killed and waited for when it goes out of scope.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // nginx's workers outlive a master that is killed, so they go first. Any of them may have ended by itself.
        for process in family(self.0.id()).into_iter().skip(1) {
            if let Some(process) = rustix::process::Pid::from_raw(process as i32) {
                rustix::process::kill_process(process, rustix::process::Signal::KILL).ok();
            }
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In the program.
    pub user: Duration,
    /// In the kernel, for the program.
    pub system: Duration,
}

impl Cpu {
    /// Both.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.user + self.system
    }

    /// What came since then.
    #[must_use]
    pub fn since(&self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// CPU time of a process with all its threads and children, in steps of the kernel's clock tick (10 ms).
///
/// # Errors
/// When the process is gone.
pub(crate) fn cpu(process: u32) -> Result<Cpu> {
    let mut total = Cpu::default();
    for process in family(process) {
        let one = cpu_of(process)?;
        total.user += one.user;
        total.system += one.system;
    }
    Ok(total)
}

/// The same without its children.
///
/// # Errors
/// When the process is gone.
pub(crate) fn cpu_of(process: u32) -> Result<Cpu> {
    let tick = Duration::from_secs(1) / u32::try_from(clock_ticks_per_second())?;
    let stat = stat(process)?;
    let ticks =
        |index| field(&stat, index).with_context(|| format!("/proc/{process}/stat is cut short"));
    Ok(Cpu {
        user: tick * ticks(USER)?,
        system: tick * ticks(SYSTEM)?,
    })
}

/// Memory of a process and its children, in bytes: what they share is divided among those that share it (PSS).
///
/// # Errors
/// When a process is gone, or its memory may not be looked at.
pub(crate) fn memory(process: u32) -> Result<u64> {
    let mut total = 0;
    for process in family(process) {
        let path = format!("/proc/{process}/smaps_rollup");
        let rollup = fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        total += kibibytes
            .and_then(|number| number.parse::<u64>().ok())
            .with_context(|| format!("{path} has no Pss"))?
            * 1024;
    }
    Ok(total)
}

/// The process, then its children, theirs, and so on.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let everybody = numbers(Path::new("/proc"));
    // A process that has ended meanwhile has no parent any more.
    let parents: Vec<(u32, u32)> = everybody
        .into_iter()
        .filter_map(|process| Some((process, field(&stat(process).ok()?, PARENT)?)))
        .collect();
    let mut family = vec![process];
    let mut next = 0;
    while let Some(of) = family.get(next).copied() {
        let children = parents.iter().filter(|(_, parent)| *parent == of);
        family.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    family
}

/// The threads of a process and its children, each with its name.
pub(crate) fn threads(process: u32) -> Vec<(u32, String)> {
    let mut threads = Vec::new();
    for process in family(process) {
        let path = format!("/proc/{process}/task");
        for thread in numbers(Path::new(&path)) {
            let name = fs::read_to_string(format!("{path}/{thread}/comm")).unwrap_or_default();
            threads.push((thread, name.trim().to_owned()));
        }
    }
    threads
}

/// What follows the name in the kernel's line about a process; the name itself may hold blanks.
fn stat(process: u32) -> Result<String> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path}: is it gone?"))?;
    let (_, rest) = stat.rsplit_once(')').with_context(|| path.clone())?;
    Ok(rest.to_owned())
}

fn field(stat: &str, index: usize) -> Option<u32> {
    stat.split_whitespace().nth(index)?.parse().ok()
}

fn numbers(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<u32> = names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}
