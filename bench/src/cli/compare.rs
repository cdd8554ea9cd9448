//! `bench compare`: its arguments. It measures nothing itself.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use bench::compare::{self, Settings, Workload};
use clap::Args;

use super::measured::Measured;
use super::span;

/// Measures Causeway beside its peers and says which targets hold.
///
/// Each round has every workload for every proxy. The proxy has one core and one worker, load and endpoints have the others, all
/// in a network namespace of their own. What counts is the proxy's own CPU time for each unit of work, and only ratios of the
/// same run. With all workloads, Causeway is in the end held to the targets in which no peer has a part: system calls, memory,
/// a change, a pick, a tier whose endpoints are all dead.
#[derive(Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    measured: Measured,
    /// Rounds.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long one measurement takes, after 0.3 s that are not counted.
    #[arg(long = "for", value_parser = span, default_value = "2s", value_name = "TIME")]
    time: Duration,
    /// Only these workloads, with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Workload::ALL)]
    only: Vec<Workload>,
    /// Two rounds of 0.3 s: shows that everything works, and nothing else.
    #[arg(long)]
    quick: bool,
    /// Where the JSON and the charts go.
    #[arg(long, default_value = "target/bench", value_name = "FOLDER")]
    into: PathBuf,
}

impl Compare {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(self.rounds > 0, "--rounds must be at least 1");
        let (rounds, time) = match self.quick {
            true => (2, Duration::from_millis(300)),
            false => (self.rounds, self.time),
        };
        let (cores, found) = self.measured.prepare()?;
        let settings = Settings {
            rounds,
            time,
            alone: !self.quick && Workload::ALL.iter().all(|one| self.only.contains(one)),
            workloads: self.only,
        };
        compare::run(&settings, &found, &cores, &self.into)?;
        if self.quick {
            println!(
                "these are too short to be believed: --quick only shows that everything works"
            );
        }
        Ok(())
    }
}
