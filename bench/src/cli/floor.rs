//! `bench floor`: its arguments. It measures nothing itself.

use std::net::SocketAddr;

use anyhow::Result;
use bench::floor::{self, Route};
use clap::Args;

/// Relays like a gateway that has nothing else to do: what the kernel costs.
#[derive(Args)]
pub(crate) struct Floor {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Bytes of a hello, and where it goes: NAME=ADDRESS, or several addresses with commas.
    #[arg(required = true, value_parser = route, value_name = "NAME=ADDRESS")]
    routes: Vec<(String, Vec<SocketAddr>)>,
}

impl Floor {
    pub(crate) fn run(self) -> Result<()> {
        let routes = self.routes.into_iter();
        let routes = routes.map(|(name, endpoints)| Route::new(&name, endpoints));
        floor::run(self.listen, routes.collect())
    }
}

fn route(text: &str) -> Result<(String, Vec<SocketAddr>), String> {
    let (name, addresses) = text.split_once('=').ok_or("NAME=ADDRESS is wanted")?;
    let address = |text: &str| text.parse().map_err(|_| format!("'{text}' is no address"));
    let addresses: Result<Vec<SocketAddr>, String> = addresses.split(',').map(address).collect();
    Ok((name.to_owned(), addresses?))
}
