//! Snapshot -> named, versioned resources, each encoded once. It must know neither streams nor what has been sent.
//!
//! ```text
//! Service --assignment--> tiers of hosts --endpoints--> ClusterLoadAssignment --encoded--> Resource
//!         --cluster-----> Cluster ------------------------------------------^
//! ```

pub mod assignment;
mod cluster;
mod encoded;
mod endpoints;
mod grpc;
mod service;

pub use self::cluster::{Naming, cluster};
pub use self::encoded::{Resource, Tag, version_text};
pub use self::endpoints::load_assignment;
pub use self::service::{Compiled, Setting, compile};

/// The kinds of resources that are served, in the order in which they are pushed (xDS protocol, "Eventual consistency
/// considerations"): whoever is named comes before whoever names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CDS.
    Cluster = 0,
    /// EDS.
    Endpoints = 1,
    /// LDS.
    Listener = 2,
    /// RDS.
    Routes = 3,
}

impl Kind {
    /// Every kind, in the order of pushes.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Endpoints, Self::Listener, Self::Routes];

    /// Its `type_url`.
    #[must_use]
    pub const fn type_url(self) -> &'static str {
        use crate::proto::{CLUSTER, ENDPOINTS, LISTENER, ROUTES};
        match self {
            Self::Cluster => CLUSTER,
            Self::Endpoints => ENDPOINTS,
            Self::Listener => LISTENER,
            Self::Routes => ROUTES,
        }
    }

    /// The kind of this `type_url`, if it is served.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// Its name in metrics and admin answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoints => "eds",
            Self::Listener => "lds",
            Self::Routes => "rds",
        }
    }

    /// Whether a state-of-the-world response says everything there is, so that what it lacks is gone (LDS and CDS), and
    /// whether a client that names nothing means all.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

/// For whom resources are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavour {
    /// Envoy, or whoever understands what Envoy does.
    Envoy,
    /// Proxyless gRPC: fewer fields, and no way through gateways, as it can offer neither the mesh's server name nor its
    /// ALPN.
    Grpc,
}

/// The certificates for the mesh's TLS, as the client finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshTls {
    /// None: clients speak no TLS to anybody. Only for tests of plain meshes.
    Off,
    /// Secrets by name.
    Secrets {
        /// Certificate and key.
        certificate: String,
        /// The roots that servers are verified with.
        ca: String,
        /// Who has them.
        source: SecretSource,
    },
    /// Files on the client's machine.
    Files {
        /// Certificate chain, PEM.
        certificate: String,
        /// Its key, PEM.
        key: String,
        /// The roots that servers are verified with, PEM.
        ca: String,
    },
}

/// Where a client finds secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In its bootstrap (`static_resources.secrets`).
    Bootstrap,
    /// From the SDS server behind this cluster of its bootstrap.
    Cluster(String),
}

/// The cluster of a service port and subset in Istio's words.
#[must_use]
pub fn cluster_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}
