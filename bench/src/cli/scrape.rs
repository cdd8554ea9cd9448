//! `bench scrape`: its arguments, and the table of what was measured. It measures nothing itself.

use std::time::Duration;

use anyhow::{Context, Result};
use bench::load::Outcome;
use bench::peers::Peer;
use bench::scrape::{self, Measure};
use clap::Args;

use super::measured::Measured;
use super::span;

/// What a scrape of the gateway's metrics costs when very many names are in use, and what clients feel of it.
#[derive(Args)]
pub(crate) struct Scrape {
    /// The gateway's binary; without it one is built with profile dist.
    #[arg(long, value_name = "FILE")]
    binary: Option<std::path::PathBuf>,
    /// Names that are routed and used.
    #[arg(long, default_value_t = 10_000)]
    routes: usize,
    /// Round trips a second, on 64 connections.
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    /// For how long each side of a round is measured.
    #[arg(long = "for", default_value = "10s", value_parser = span)]
    time: Duration,
    /// Rounds, each without scrapes and with them.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Time from one scrape to the next.
    #[arg(long, default_value = "1s", value_parser = span)]
    every: Duration,
}

impl Scrape {
    pub(crate) fn run(self) -> Result<()> {
        let measured = Measured {
            binary: self.binary,
            peers: vec![Peer::Causeway],
        };
        let (cores, found) = measured.prepare()?;
        let found = found.first().context("the gateway is not there")?;
        let what = Measure {
            routes: self.routes,
            rate: self.rate,
            time: self.time,
            rounds: self.rounds,
            every: self.every,
        };
        let (cost, rounds) = scrape::run(found, &cores, &what)?;
        println!(
            "a scrape: {} series, {:.1} MB, {:.0} ms of CPU, {:.0} ms on the clock; PSS {:.1} MB before, {:.1} MB after",
            cost.series,
            cost.bytes as f64 / 1e6,
            cost.cpu.as_secs_f64() * 1e3,
            cost.took.as_secs_f64() * 1e3,
            cost.memory.0 as f64 / 1e6,
            cost.memory.1 as f64 / 1e6,
        );
        println!("round trips, us         p50      p99    p99.9      max");
        for round in &rounds {
            println!("  nobody scrapes {}", latencies(&round.quiet));
            println!(
                "  {:>3} scrapes    {}",
                round.scrapes,
                latencies(&round.scraped)
            );
        }
        Ok(())
    }
}

fn latencies(outcome: &Outcome) -> String {
    let of = |quantile| format!("{:>9.0}", outcome.micros(quantile));
    [0.5, 0.99, 0.999, 1.0].map(of).concat()
}
