//! The command line of `bench`: which measurement, and against what. It must not measure anything itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use bench::backend::{self, Manner};
use bench::load::{self, Plan, Work};
use bench::syscalls;
use clap::{Parser, Subcommand};

/// Measures a gateway.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends load to an address in a closed loop and says how long each unit of work took.
    Load {
        /// Where to.
        address: SocketAddr,
        /// What one unit of work is.
        #[arg(long, value_enum, default_value = "connections")]
        work: Work,
        /// Units of work, over all connections.
        #[arg(long, default_value_t = 10_000)]
        count: usize,
        /// Connections in flight.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Bytes sent and received in a round trip.
        #[arg(long, default_value_t = 128)]
        bytes: usize,
        /// Server name of the hello.
        #[arg(long, default_value = sidecar::HELLO_NAME)]
        sni: String,
    },
    /// An endpoint: reads a hello and answers 256 bytes, or sends everything back.
    Backend {
        /// Where to listen.
        address: SocketAddr,
        /// How to answer.
        #[arg(long, value_enum, default_value = "answer")]
        manner: Manner,
    },
    /// Counts the system calls of the gateway's worker, by call, with strace.
    Syscalls {
        /// The gateway's binary.
        #[arg(long)]
        binary: PathBuf,
        /// Units of work to divide by.
        #[arg(long, default_value_t = 10_000)]
        count: usize,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Load {
            address,
            work,
            count,
            connections,
            bytes,
            sni,
        } => {
            let plan = Plan::new(address, work, count, connections, bytes, &sni)?;
            println!("{}", load::run(plan).await?);
            Ok(())
        }
        Command::Backend { address, manner } => {
            let (bound, serving) = backend::serve(address, manner).await?;
            println!("listening on {bound}");
            Ok(serving.await?)
        }
        Command::Syscalls { binary, count } => syscalls::run(&binary, count).await,
    }
}
