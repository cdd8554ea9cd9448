//! What stands on both sides of a gateway in demos, tests and measurements: a TLS client that behaves as Istio's sidecars
//! do, and endpoints that say who they are and can be made to fail. It must know nothing of the gateway itself.
//!
//! ```text
//! Client --TLS, SNI, ALPN, mutual--> (gateway) --> Backend      answers "region/zone/name"
//! RawClient --any bytes----------> (gateway) --> RawBackend   echo, or whatever a test wants
//! ```

mod backend;
mod client;
mod error;
mod hello;
mod pki;
mod raw;
mod socket;

pub use rustls::AlertDescription;

pub use self::backend::{Backend, Behaviour};
pub use self::client::{Answer, Client, Connection};
pub use self::error::{Error, Kind};
pub use self::hello::client_hello_bytes;
pub use self::pki::Pki;
pub use self::raw::{Ended, RawBackend, RawClient, pattern};
pub use self::socket::fresh_loopback;

/// The ALPN values that a sidecar offers to another one, in its order: with metadata exchange, and without.
pub const SIDECAR_ALPN: &[&str] = &["istio-peer-exchange", "istio"];

/// The server name that the demo's and most tests' clients ask for: port 5000 of the service `hello`, no subset.
pub const HELLO_NAME: &str = "outbound_.5000_._.hello.default.svc.cluster.local";
