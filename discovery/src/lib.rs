//! Discovery: what is known of clusters, networks, services and endpoints, as one [`model::Snapshot`]. It must know nothing
//! of the data path or of xDS.
//!
//! There are two producers of that value: a file, and Kubernetes.

pub mod file;
pub mod kubernetes;
mod resolve;
mod span;
pub mod yaml;

pub use self::span::Span;
