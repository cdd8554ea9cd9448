//! Causeway as it is measured: its defaults, one worker, endpoints from a file; with a busy poll where that is asked for.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{HELLO_SECONDS, Route, Setup, said};

/// The profile of the binaries that are shipped.
const PROFILE: &str = "dist";

/// The workspace's folder.
#[must_use]
pub fn workspace() -> PathBuf {
    // The folder that bench itself was built from; it is run where it was built.
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench).to_path_buf()
}

/// Builds the binary that is measured where no other is named: fat LTO, as shipped.
///
/// # Errors
/// When cargo fails.
pub fn build() -> Result<()> {
    eprintln!("building the gateway with profile {PROFILE}; --binary PATH measures another");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--package",
            "gateway",
            "--profile",
            PROFILE,
        ])
        .current_dir(workspace())
        .status()
        .context("cannot run cargo; --binary PATH measures a binary that is there")?;
    ensure!(status.success(), "the gateway does not build");
    Ok(())
}

pub(super) fn find(given: Option<&Path>) -> Result<(PathBuf, String)> {
    let built = workspace().join("target").join(PROFILE).join("causeway");
    let binary = given.map_or(built, Path::to_path_buf);
    let binary = binary
        .canonicalize()
        .with_context(|| format!("no gateway at {}", binary.display()))?;
    let version = said(&binary, "--version")?;
    Ok((binary, version))
}

pub(super) fn setup(
    folder: &Path,
    address: SocketAddr,
    routes: &[Route],
    busy_poll_micros: u32,
) -> Setup {
    let gateway = format!(
        "cluster: us\n\
         network: network1\n\
         locality: us/a\n\
         workers: 1\n\
         busyPollMicros: {busy_poll_micros}\n\
         listeners:\n  - {{address: \"{address}\", role: inbound}}\n\
         admin: {{address: \"127.0.0.1:0\"}}\n\
         stats: {{address: \"127.0.0.1:0\"}}\n\
         ready: {{address: \"127.0.0.1:0\"}}\n\
         timeouts: {{hello: {HELLO_SECONDS}s}}\n\
         source: {{file: mesh.yaml}}\n"
    );
    let mut mesh = "services:\n".to_owned();
    for route in routes {
        let host = &route.host;
        // Writing to a string cannot fail, here and in the other peers' files.
        let _ = write!(
            mesh,
            "  - host: {host}\n    ports:\n      - {{number: 5000, name: tls}}\n    endpoints:\n"
        );
        let near = route.endpoints.iter().map(|endpoint| (endpoint, "us/a"));
        let farther = route.farther.iter().map(|endpoint| (endpoint, "eu/a"));
        for (endpoint, locality) in near.chain(farther) {
            let (ip, port) = (endpoint.ip(), endpoint.port());
            let _ = writeln!(
                mesh,
                "      - {{address: {ip}, ports: {{tls: {port}}}, cluster: us, network: network1, locality: {locality}}}"
            );
        }
    }
    Setup {
        files: vec![("gateway.yaml", gateway), ("mesh.yaml", mesh)],
        arguments: vec![
            "run".into(),
            "--config".into(),
            folder.join("gateway.yaml").into(),
        ],
    }
}
