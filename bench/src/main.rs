//! The command line of `bench`: which measurement, and against what. It must not measure anything itself.

mod cli;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures a gateway, and its peers beside it.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Load(cli::load::Load),
    Backend(cli::backend::Backend),
    Syscalls(cli::syscalls::Syscalls),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Load(load) => load.run(),
        Command::Backend(backend) => backend.run(),
        Command::Syscalls(syscalls) => syscalls.run(),
    }
}
