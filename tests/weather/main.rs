//! Stories that need the machine for themselves: bad weather with many descriptors, or few, with the binary as a child; the
//! demo; what is counted by the kernel. One at a time, because each takes all that the machine has.

mod crowds;
mod demo;
mod descriptors;
mod hostile;
mod segments;
mod vanished;

/// Held by the story that runs.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The binary `causeway`.
const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// The crowd of clients.
const CROWD: &str = env!("CARGO_BIN_EXE_crowd");

/// Where all endpoints stand: with the gateway.
const HERE: tests::Place = tests::Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};

/// Endpoints that echo, and the mesh file that names them.
fn echoes(count: usize) -> (Vec<sidecar::RawBackend>, String) {
    let start = || sidecar::RawBackend::echo((sidecar::fresh_loopback(), 0).into());
    let backends: Vec<_> = (0..count).map(|_| start().expect("an endpoint")).collect();
    let of = |backend: &sidecar::RawBackend| tests::endpoint(backend.address(), HERE);
    let service = tests::hello_service(backends.iter().map(of).collect());
    let mesh = tests::mesh_yaml(&[service], &[], &[]);
    (backends, mesh)
}
