//! The gateway as a library: configuration, wiring, HTTP servers, command line, demo. It makes no decision about traffic.
//!
//! ```text
//! cli -> config -> App { source -> snapshots -> proxy; admin, stats, ready }
//! ```

mod access;
mod app;
pub mod cli;
pub mod config;
pub mod demo;
mod drain;
mod http;
mod lines;
mod logging;
mod metrics;
mod process;
mod ready;
mod source;
mod xds;

pub use self::app::{Addresses, App};
