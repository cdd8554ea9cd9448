//! Resources, each read by itself into what a gateway can use of it. It knows no other resource and no stream.
//!
//! What is not known within a resource (filters, extensions, typed configurations) is passed over and counted. What would let
//! more pass than its author meant, were it passed over, is left out with a reason. A resource whose name, endpoints or chains
//! cannot be read at all is refused.

mod cluster;
mod endpoints;
mod listener;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub(crate) use self::cluster::{Cluster, Discovery};
pub(crate) use self::endpoints::{Endpoints, Group, Host};
pub(crate) use self::listener::{Gate, Listener};

/// The kinds of resources that are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// CDS.
    Clusters,
    /// EDS: asked for by name.
    Endpoints,
    /// LDS.
    Listeners,
}

impl Kind {
    /// All of them, in the order in which a server sends changes.
    pub const ALL: [Self; 3] = [Self::Clusters, Self::Endpoints, Self::Listeners];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Endpoints => "endpoints",
            Self::Listeners => "listeners",
        }
    }

    /// Its type, as requests name it.
    #[must_use]
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Clusters => crate::proto::CLUSTER,
            Self::Endpoints => crate::proto::ENDPOINTS,
            Self::Listeners => crate::proto::LISTENER,
        }
    }

    /// The kind of a type.
    #[must_use]
    pub fn of(type_url: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.type_url() == type_url)
    }
}

/// What was passed over in a resource, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// What is not known and changes nothing that a gateway decides: how often each stands there.
    pub(crate) skipped: BTreeMap<Arc<str>, u64>,
    /// Parts that are not served, and why.
    pub(crate) left_out: Vec<String>,
}

impl Notes {
    fn skip(&mut self, what: &str) {
        *self.skipped.entry(what.into()).or_default() += 1;
    }

    fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }
}

/// A duration as protobuf writes it; negative ones are none.
fn span(duration: &crate::proto::protobuf::Duration) -> Option<std::time::Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    Some(std::time::Duration::new(seconds, nanos))
}
