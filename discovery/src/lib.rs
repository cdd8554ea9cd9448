//! Discovery: what is known of clusters, networks, services and endpoints, as one [`model::Snapshot`]. It must know nothing
//! of the data path or of xDS.
//!
//! So far the one source is a file; Kubernetes comes as a second producer of the same value.

pub mod file;
mod resolve;
mod span;
pub mod yaml;

pub use self::span::Span;
