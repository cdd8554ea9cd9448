//! xDS: will serve the snapshot to Envoy and gRPC clients, and follow another xDS server (istiod first) as a source.
//!
//! Nothing is built yet; the crate holds its place in the layout. It must never know Kubernetes or the data path.
