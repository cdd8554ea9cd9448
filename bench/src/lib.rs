//! bench: load, endpoints to send it to, and measurements of the gateway and its peers under it. No other crate may depend on
//! this one.

pub mod backend;
pub mod compare;
pub mod cores;
pub mod floor;
pub mod load;
pub mod machine;
pub mod memory;
pub mod namespace;
pub mod peers;
mod process;
pub mod scale;
pub mod scrape;
pub mod syscalls;
pub mod xds;
