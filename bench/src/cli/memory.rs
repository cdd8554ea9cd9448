//! `bench memory`: its arguments, and the table of what was measured. It measures nothing itself.

use std::path::PathBuf;

use anyhow::Result;
use bench::machine::Machine;
use bench::memory::What;
use bench::peers::Peer;
use clap::Args;
use serde_json::json;

use super::measured::Measured;

/// Bytes of user-space memory for each connection, route and endpoint.
#[derive(Args)]
pub(crate) struct Memory {
    #[command(flatten)]
    measured: Measured,
    /// Only these, with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = What::ALL)]
    only: Vec<What>,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench", value_name = "FOLDER")]
    into: PathBuf,
}

impl Memory {
    pub(crate) fn run(self) -> Result<()> {
        let (cores, found) = self.measured.prepare()?;
        let machine = Machine::here();
        let mut all = Vec::new();
        for what in self.only {
            println!("{}: bytes each; target {:.0}", what.name(), what.target());
            for found in &found {
                let name = found.peer.name();
                // One that cannot do it does not keep the others from being measured.
                let bytes = match what.cost(found, &cores) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        println!("  {name:<15} left out: {error:#}");
                        continue;
                    }
                };
                let verdict = match (found.peer, bytes <= what.target()) {
                    (Peer::Causeway, true) => "  held",
                    (Peer::Causeway, false) => "  MISSED",
                    _ => "",
                };
                println!("  {name:<15} {bytes:9.0}{verdict}");
                all.push(json!({"what": what.name(), "proxy": name, "version": found.version, "bytes": bytes}));
            }
        }
        std::fs::create_dir_all(&self.into)?;
        let file = self.into.join("memory.json");
        let json = json!({"machine": machine.json(), "figures": all});
        std::fs::write(&file, format!("{json:#}\n"))?;
        println!("written: {}", file.display());
        Ok(())
    }
}
