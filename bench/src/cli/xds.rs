//! `bench xds`: its arguments. It measures nothing itself.

use anyhow::Result;
use bench::xds::{self, Plan};
use clap::Args;

/// Says what many xDS clients cost: memory of one, and how soon the last one hears of a change.
#[derive(Args)]
pub(crate) struct Xds {
    /// Clients, each with a connection and a stream of its own.
    #[arg(long, default_value_t = 1_000)]
    streams: usize,
    /// Services, each with one port; a client subscribes to all of them.
    #[arg(long, default_value_t = 1_000)]
    services: u32,
    /// Endpoints of each service.
    #[arg(long, default_value_t = 3)]
    endpoints: u32,
    /// Changes of one endpoint, one after the other.
    #[arg(long, default_value_t = 50)]
    changes: u32,
    /// Speaks the state-of-the-world protocol instead of delta.
    #[arg(long)]
    sotw: bool,
    /// Only the server, in this process.
    #[arg(long, hide = true)]
    serve: bool,
}

impl Xds {
    pub(crate) fn run(self) -> Result<()> {
        let plan = Plan {
            streams: self.streams,
            services: self.services,
            endpoints: self.endpoints,
            changes: self.changes,
            sotw: self.sotw,
        };
        match self.serve {
            true => xds::serve(plan),
            false => xds::run(plan),
        }
    }
}
