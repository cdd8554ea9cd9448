//! xDS: serves the snapshot to Envoy and gRPC clients, and follows another xDS server (istiod first) as a source. It must
//! never know Kubernetes or the data path.

pub mod client;
pub mod proto;
pub mod resource;
pub mod server;
pub mod view;
