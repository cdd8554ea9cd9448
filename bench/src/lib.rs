//! bench: load, endpoints to send it to, and measurements of the gateway and its peers under it. No other crate may depend on
//! this one.

pub mod backend;
pub mod cores;
pub mod load;
pub mod namespace;
pub mod peers;
mod process;
pub mod syscalls;
