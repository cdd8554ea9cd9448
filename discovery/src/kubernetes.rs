//! The Kubernetes source: API servers in, one `Snapshot` out. It must not know the data path.
//!
//! ```text
//!  API objects --facts--> Change --meaning::World--> Arc<Snapshot>
//! ```
//!
//! `facts` reads objects into what is kept of them, and `meaning` holds every rule about them; neither does any IO.

pub mod facts;
pub mod meaning;
