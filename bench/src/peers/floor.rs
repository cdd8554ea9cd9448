//! The bare relay as a subject: this very program, with `floor`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Route, Setup};

pub(super) fn find() -> Result<(PathBuf, String)> {
    let binary = std::env::current_exe().context("where is this program?")?;
    Ok((binary, "bare relay, epoll, no splice".into()))
}

pub(super) fn setup(address: SocketAddr, routes: &[Route]) -> Setup {
    let route = |route: &Route| {
        let addresses = route.endpoints.iter().map(SocketAddr::to_string);
        let addresses: Vec<String> = addresses.collect();
        OsString::from(format!("{}={}", route.sni(), addresses.join(",")))
    };
    let listen = [
        "floor".into(),
        "--listen".into(),
        address.to_string().into(),
    ];
    Setup {
        files: Vec::new(),
        arguments: listen.into_iter().chain(routes.iter().map(route)).collect(),
    }
}
