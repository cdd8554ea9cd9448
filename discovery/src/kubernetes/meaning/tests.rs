//! One test a rule: objects as users write them in, a snapshot out.

mod distribution;
mod endpoints;
mod entries;
mod exposure;
mod findings;
mod kept;
mod networks;
mod passthrough;
mod policy;
mod ports;
mod random;
mod scenario;
mod stage;
mod world;
