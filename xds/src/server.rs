//! The xDS server: the snapshot for Envoy and gRPC clients, over ADS. It must not know where snapshots come from, and runs on
//! the control runtime.
//!
//! ```text
//!  snapshots, dead gateways --> views --watch<Arc<Shelves>>--> stream: Session (no IO) <--> framing, HTTP/2, TLS
//! ```

mod behind;
mod client;
mod framing;
mod registry;
mod serve;
pub mod session;
mod stream;
mod tls;
mod views;
pub mod wire;

pub use self::client::{Client, NodeError};
pub use self::registry::{Counts, KindCounts, KindView, Registry, StreamView};
pub use self::serve::{Config, Server, StartError, TlsFiles, listen};

#[cfg(test)]
mod tests;
