//! The command line of `bench`: which measurement, and against what. It must not measure anything itself.

mod cli;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The gateway's, so that `scale` counts memory and time as there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures a gateway, and its peers beside it.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compare(cli::compare::Compare),
    Load(cli::load::Load),
    Backend(cli::backend::Backend),
    Floor(cli::floor::Floor),
    Memory(cli::memory::Memory),
    Scale(cli::scale::Scale),
    Scrape(cli::scrape::Scrape),
    Syscalls(cli::syscalls::Syscalls),
    Xds(cli::xds::Xds),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Compare(compare) => compare.run(),
        Command::Load(load) => load.run(),
        Command::Backend(backend) => backend.run(),
        Command::Floor(floor) => floor.run(),
        Command::Memory(memory) => memory.run(),
        Command::Scale(scale) => scale.run(),
        Command::Scrape(scrape) => scrape.run(),
        Command::Syscalls(syscalls) => syscalls.run(),
        Command::Xds(xds) => xds.run(),
    }
}
