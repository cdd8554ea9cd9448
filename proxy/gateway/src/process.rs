//! Figures of this process, from `/proc/self`, under the names that Prometheus' clients use. What cannot be read is left
//! out.

use std::fs;

/// One figure.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// Whether it only grows.
    pub(crate) counts_up: bool,
    pub(crate) value: f64,
}

/// Clock ticks per second in `/proc`: USER_HZ, 100 on every architecture that Linux exports it for.
const TICKS: f64 = 100.0;

/// Bytes of a page on the architectures that we build for.
const PAGE: f64 = 4096.0;

/// All figures that can be read.
pub(crate) fn figures() -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name, help, counts_up, value: Option<f64>| {
        figures.extend(value.map(|value| Figure {
            name,
            help,
            counts_up,
            value,
        }));
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the name, can hold anything; the fields after it are numbers (proc(5), from the third on).
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .map(|field| field.parse().unwrap_or(0.0))
                .collect()
        })
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).copied();
    let seconds = |ticks: f64| ticks / TICKS;
    let cpu = field(14)
        .zip(field(15))
        .map(|(user, system)| seconds(user + system));
    add(
        "process_cpu_seconds_total",
        "CPU time, user and system.",
        true,
        cpu,
    );
    add("process_threads", "Threads.", false, field(20));
    let started = boot_time()
        .zip(field(22))
        .map(|(boot, ticks)| boot + seconds(ticks));
    add(
        "process_start_time_seconds",
        "When the process started, since the epoch.",
        false,
        started,
    );
    add(
        "process_virtual_memory_bytes",
        "Virtual memory.",
        false,
        field(23),
    );
    add(
        "process_resident_memory_bytes",
        "Resident memory.",
        false,
        field(24).map(|pages| pages * PAGE),
    );
    let open = fs::read_dir("/proc/self/fd")
        .ok()
        .map(|entries| entries.count() as f64);
    add("process_open_fds", "Open descriptors.", false, open);
    add(
        "process_max_fds",
        "Most open descriptors.",
        false,
        max_fds(),
    );
    figures
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
