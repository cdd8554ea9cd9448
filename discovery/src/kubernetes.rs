//! The Kubernetes source: API servers in, one `Snapshot` out. It must not know the data path.
//!
//! ```text
//!  kubeconfig Secrets --owners--> cluster (one task each) --session: follow each kind-->
//!  API objects --facts--> Change --hub--> meaning::World --> Arc<Snapshot>
//! ```
//!
//! `facts` reads objects into what is kept of them, and `meaning` holds every rule about them; neither does any IO.

pub mod api;
pub mod client;
pub mod cluster;
pub mod disk;
pub mod expiry;
pub mod facts;
pub mod follow;
mod gather;
mod hub;
pub mod identity;
pub mod istio;
pub mod kubeconfig;
pub mod meaning;
pub mod owners;
pub mod remote_secret;
pub mod secret;
mod secrets;
pub mod session;
pub mod settings;
mod source;
mod staged;
pub mod status;
pub mod whoami;

pub use self::source::{Source, StartError, start, start_with};

#[cfg(test)]
mod testing;
