//! The rules of the protocol one by one, and what Envoy was seen to need. `converge` has them in any order.

mod converge;
mod delta;
mod rig;
mod sotw;
