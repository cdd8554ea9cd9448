//! The data path: bytes in, bytes out. It must know nothing of Kubernetes, xDS, HTTP or TLS secrets.
//!
//! ```text
//! accept -> hello -> route -> pick -> dial -> relay -> close      one connection, top to bottom: conn.rs
//!   ^                  ^       ^
//! listener.rs       table.rs  balance.rs      <- control.rs compiles each Snapshot into the RouteTable
//! ```

pub mod clock;
pub mod close;
pub mod config;
pub mod hello;
pub mod relay;
pub mod sni;
