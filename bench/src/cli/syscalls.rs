//! `bench syscalls`: its arguments, and the table of what was counted. It counts nothing itself.

use anyhow::Result;
use bench::load::Work;
use bench::syscalls;
use clap::Args;

use super::measured::Measured;

/// Counts the system calls of each proxy's worker for a new connection and for a 128-byte round trip, with strace, 64 in
/// flight.
#[derive(Args)]
pub(crate) struct Syscalls {
    #[command(flatten)]
    measured: Measured,
    /// Units of work to count.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
}

impl Syscalls {
    pub(crate) fn run(self) -> Result<()> {
        let (cores, found) = self.measured.prepare()?;
        for (what, work) in [
            ("new connection", Work::Connections),
            ("128 B round trip", Work::RoundTrips),
        ] {
            println!("{what}: system calls each, over {}", self.count);
            for found in &found {
                let calls = syscalls::count(found, work, self.count, &cores)?;
                let total: f64 = calls.values().sum();
                let mut by_number: Vec<_> = calls.iter().collect();
                by_number.sort_by(|a, b| b.1.total_cmp(a.1));
                let named: Vec<String> = by_number
                    .iter()
                    .filter(|(_, calls)| **calls >= 0.005)
                    .map(|(name, calls)| format!("{name} {calls:.2}"))
                    .collect();
                let name = found.peer.name();
                println!("  {name:<15} {total:6.2}   {}", named.join(", "));
            }
        }
        Ok(())
    }
}
