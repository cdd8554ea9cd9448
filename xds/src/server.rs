//! The xDS server: the snapshot for Envoy and gRPC clients, over ADS. It must not know where snapshots come from.

pub mod session;
pub mod wire;
