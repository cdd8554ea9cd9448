//! The client: follows an xDS server as istiod's `router` does, and turns what it says into snapshots.
//!
//! ```text
//!  stream --responses--> session: protocol, acks --bytes--> facts: one resource each --> world --> Arc<Snapshot>
//! ```
//!
//! What the server says is neither added to nor decided anew: exposure, subsets, tiers and weights are its own. The session
//! and everything behind it do no IO.

mod backoff;
#[cfg(test)]
mod book;
mod facts;
mod follow;
mod link;
mod name;
mod node;
#[cfg(test)]
mod samples;
mod session;
mod status;
mod world;

pub use self::facts::Kind;
pub use self::follow::{Settings, Source, start};
pub use self::link::{Server, Tls};
pub use self::node::Node;
pub use self::session::{Mode, Received, Request, Response, Session};
pub use self::status::{KindStatus, Refused, State, Status, now};
pub use self::world::{Ceilings, LeftOut, Refusal, Unused, World};
