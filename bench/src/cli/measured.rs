//! Which proxies are measured, and where: what `compare`, `memory` and `syscalls` have in common. It measures nothing.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bench::cores::{self, Cores};
use bench::namespace;
use bench::peers::{self, Found, Peer};
use clap::Args;

#[derive(Args)]
pub(crate) struct Measured {
    /// The gateway's binary; without it one is built with profile dist.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// Only these proxies, with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::ALL)]
    pub(crate) peers: Vec<Peer>,
}

impl Measured {
    /// Builds what is missing, goes into a network namespace, shares out the cores, and finds the proxies. Those that are not
    /// there are said and left out; the gateway must be.
    pub(crate) fn prepare(&self) -> Result<(Cores, Vec<Found>)> {
        let ours = self.peers.iter().any(|peer| peer.is_ours());
        if ours && self.binary.is_none() && !namespace::inside() {
            peers::build()?;
        }
        namespace::enter();
        cores::raise_file_limit();
        let cores = Cores::share_out()?;
        cores.keep_to_load()?;
        let mut found = Vec::new();
        for peer in &self.peers {
            match peer.find(self.binary.as_deref()) {
                Ok(one) => found.push(one),
                Err(error) if peer.is_ours() => return Err(error),
                Err(error) => eprintln!("left out: {}: {error:#}", peer.name()),
            }
        }
        ensure!(!found.is_empty(), "none of the proxies is there");
        println!(
            "proxy on core {}, load and endpoints on core {}, congestion control {}",
            cores::numbers(&cores.proxy),
            cores::numbers(&cores.load),
            namespace::congestion_control()
        );
        for one in &found {
            let (name, binary) = (one.peer.name(), one.binary.display());
            println!("  {name:<15} {} ({binary})", one.version);
        }
        Ok((cores, found))
    }
}
