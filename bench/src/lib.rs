//! bench: a load generator, an endpoint to send it to, and a count of the gateway's system calls under it. No other crate
//! may depend on this one.

pub mod backend;
pub mod load;
pub mod syscalls;
