//! `bench scale`: its arguments. It measures nothing itself.

use anyhow::Result;
use bench::scale::{self, Half};
use clap::Args;

/// Says what a fleet of synthetic clusters costs: memory, changes, a cold start.
#[derive(Args)]
pub(crate) struct Scale {
    /// What is measured (networks, flat, one, routes); all of it without a name.
    shapes: Vec<String>,
    /// Only half of one, in this process.
    #[arg(long, hide = true)]
    half: Option<Half>,
}

impl Scale {
    pub(crate) fn run(self) -> Result<()> {
        match self.half {
            None => scale::run(&self.shapes),
            Some(half) => scale::run_half(&self.shapes, half),
        }
    }
}
