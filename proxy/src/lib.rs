//! The data path: bytes in, bytes out. It must know nothing of Kubernetes, xDS, HTTP or TLS secrets.
//!
//! ```text
//! accept -> hello -> route -> pick -> dial -> relay -> close      one connection, top to bottom: conn.rs
//!   ^                  ^       ^
//! listener.rs       table.rs  balance.rs      <- control.rs compiles each Snapshot into the RouteTable
//! ```

pub mod access;
pub mod balance;
pub mod clock;
pub mod close;
mod closer;
pub mod config;
mod conn;
pub mod control;
mod dial;
pub mod flows;
pub mod hello;
pub mod host;
mod limits;
mod listener;
mod open;
pub mod outlier;
mod own;
pub mod probe;
pub mod proxy_protocol;
pub mod relay;
mod serve;
pub mod sni;
mod sockets;
mod stats;
pub mod table;
mod tick;
mod worker;

pub use self::open::{OpenConnection, Query};
pub use self::serve::Proxy;
pub use self::stats::{BOUNDS, Latencies, TIERS, Totals};
pub use self::worker::Bound;
