//! Which core runs what: the measured proxy has one to itself, everything else has the others. It must not move processes that
//! are not ours.

use std::io;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How the cores are shared out.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// The proxy's.
    pub proxy: CpuSet,
    /// The load's and the endpoints'.
    pub load: CpuSet,
}

impl Cores {
    /// The last core that we may use is the proxy's, the others are the load's. With one core both have the same.
    ///
    /// # Errors
    /// When the kernel does not say which cores we may use.
    pub fn share_out() -> Result<Self> {
        let ours = sched_getaffinity(None).context("which cores may we use?")?;
        let mut cores: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|core| ours.is_set(*core))
            .collect();
        let proxy = cores.pop().context("no core may be used")?;
        if cores.is_empty() {
            cores.push(proxy);
        }
        Ok(Self {
            proxy: set(&[proxy]),
            load: set(&cores),
        })
    }

    /// Keeps this thread, and the threads and processes that it starts, on the load's cores.
    ///
    /// # Errors
    /// When that is not permitted.
    pub fn keep_to_load(&self) -> Result<()> {
        sched_setaffinity(None, &self.load).context("cannot keep to some cores")
    }

    /// Starts a process on the proxy's core.
    ///
    /// # Errors
    /// When it cannot be started there.
    pub fn start_proxy(&self, command: &mut Command) -> io::Result<Child> {
        // A process inherits the cores of the thread that starts it, so a thread is moved, and ends.
        std::thread::scope(|scope| {
            let started = scope.spawn(|| {
                sched_setaffinity(None, &self.proxy)?;
                command.spawn()
            });
            started
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
        })
    }
}

/// How many cores are in it, for people.
#[must_use]
pub fn numbers(cores: &CpuSet) -> String {
    let numbers = (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core));
    let numbers: Vec<String> = numbers.map(|core| core.to_string()).collect();
    numbers.join(",")
}

/// Lets this thread step back for others by this much (nice(2)).
///
/// # Errors
/// When that is not permitted.
pub fn step_back(by: i32) -> io::Result<()> {
    if by > 0 {
        nice(by)?;
    }
    Ok(())
}

/// Asks for so many descriptors: thousands of connections at both ends. What we start inherits it.
const FILES: u64 = 100_000;

/// As many descriptors as are wanted, or may be had.
pub fn raise_file_limit() {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: Some(FILES),
        maximum: now.maximum.map(|maximum| maximum.max(FILES)),
    };
    // Only root may go beyond the maximum. Where both are refused, whoever runs out of descriptors says so.
    if setrlimit(Resource::Nofile, wanted).is_err() {
        let most = Rlimit {
            current: now.maximum,
            ..now
        };
        setrlimit(Resource::Nofile, most).ok();
    }
}

/// How many descriptors a process that we start may have.
#[must_use]
pub fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(FILES)
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    set
}
