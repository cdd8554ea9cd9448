//! What this process takes: memory and processor time, by the kernel's account. It must not decide when to look.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Bytes resident now.
pub(super) fn resident() -> Result<usize> {
    status("VmRSS:")
}

/// The most bytes that were ever resident.
pub(super) fn peak() -> Result<usize> {
    status("VmHWM:")
}

/// Waits until the allocator has given back what it holds for nobody, which its own thread does within half a second
/// (`.cargo/config.toml`).
pub(super) fn settle() {
    std::thread::sleep(Duration::from_secs(1));
}

/// Processor time of the process so far, in the kernel and outside.
pub(super) fn cpu() -> Duration {
    of(ClockId::ProcessCPUTime)
}

/// Processor time of this thread so far.
pub(super) fn cpu_of_thread() -> Duration {
    of(ClockId::ThreadCPUTime)
}

fn of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

fn status(field: &str) -> Result<usize> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: usize = kib
        .with_context(|| format!("/proc/self/status has no {field}"))?
        .parse()?;
    Ok(kib << 10)
}
