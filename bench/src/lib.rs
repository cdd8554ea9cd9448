//! bench: will hold the load generator, the peers it compares with, and the reports.
//!
//! Nothing is built yet but the library `sidecar` beside it; no other crate may depend on this one.
