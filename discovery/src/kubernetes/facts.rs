//! What is kept of an API object: one small struct a kind. Reading an object never panics and decides nothing; what it
//! means is `meaning`'s business.

mod entry;
mod gateway;
mod key;
mod place;
mod pod;
mod read;
mod rule;
mod service;
mod slice;
mod span;
mod traffic;
mod virtual_service;

pub use self::entry::{EntryAddress, EntryEndpoint, EntryPort, Resolution, ServiceEntryFact};
pub use self::gateway::{GatewayFact, Server, ServerMode};
pub use self::key::{ExportTo, Key, Kind};
pub use self::place::{NamespaceFact, NodeDetails, NodeFact};
pub use self::pod::PodFact;
pub use self::rule::{DestinationRuleFact, SubsetFact};
pub use self::service::{Family, GatewayService, ServiceFact, ServiceGateway};
pub use self::slice::{SliceEndpoint, SliceFact};
pub use self::traffic::{
    ConnectionPool, LoadBalancerSettings, LocalitySetting, TrafficPolicy, TrafficSettings,
};
pub use self::virtual_service::{RouteTarget, TlsMatch, TlsRoute, VirtualServiceFact};

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is kept of one object, in memory and on disk: with another form of it the version of `disk` changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// A Service.
    Service(ServiceFact),
    /// An EndpointSlice.
    Slice(SliceFact),
    /// A Pod's metadata.
    Pod(PodFact),
    /// A Node's metadata, and more of it where a NodePort gateway needs it.
    Node(NodeFact),
    /// A Namespace's metadata.
    Namespace(NamespaceFact),
    /// Istio's Gateway.
    Gateway(GatewayFact),
    /// Istio's DestinationRule.
    DestinationRule(DestinationRuleFact),
    /// Istio's ServiceEntry.
    ServiceEntry(ServiceEntryFact),
    /// Istio's VirtualService.
    VirtualService(VirtualServiceFact),
}

/// What happened to the objects of one cluster.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is new or different.
    Put(Fact),
    /// An object is gone.
    Delete(Kind, Key),
    /// An object cannot be read: the last good version of it stays in force, and it is reported.
    Unreadable(Unreadable),
    /// These are all objects of a kind: what is not among them is gone. Of one that cannot be read the last good version
    /// stays.
    Reset(Kind, Vec<Result<Fact, Unreadable>>),
}

/// An object that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {key}: {field}: {why}; the version before it stays in force")]
pub struct Unreadable {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub key: Key,
    /// The field, as a path: `spec.servers[0].tls.mode`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl Change {
    /// A change from the result of reading an object that is new or different.
    #[must_use]
    pub fn put(read: Result<Fact, Unreadable>) -> Self {
        match read {
            Ok(fact) => Self::Put(fact),
            Err(unreadable) => Self::Unreadable(unreadable),
        }
    }
}

impl Fact {
    /// Reads a Service.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn service(object: &Service) -> Result<Self, Unreadable> {
        let read = || service::read(object);
        named(Kind::Service, &object.metadata, read).map(Self::Service)
    }

    /// Reads an EndpointSlice.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn slice(object: &EndpointSlice) -> Result<Self, Unreadable> {
        let read = || slice::read(object);
        named(Kind::Slice, &object.metadata, read).map(Self::Slice)
    }

    /// Reads a Pod's metadata.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn pod(metadata: &ObjectMeta) -> Result<Self, Unreadable> {
        named(Kind::Pod, metadata, || Ok(pod::read(metadata))).map(Self::Pod)
    }

    /// Reads a Node's metadata.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn node(metadata: &ObjectMeta) -> Result<Self, Unreadable> {
        named(Kind::Node, metadata, || Ok(place::node(metadata))).map(Self::Node)
    }

    /// Reads a whole Node, as a NodePort gateway needs it.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn whole_node(object: &Node) -> Result<Self, Unreadable> {
        let read = || Ok(place::whole_node(object));
        named(Kind::Node, &object.metadata, read).map(Self::Node)
    }

    /// Reads a Namespace's metadata.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn namespace(metadata: &ObjectMeta) -> Result<Self, Unreadable> {
        named(Kind::Namespace, metadata, || Ok(place::namespace(metadata))).map(Self::Namespace)
    }

    /// Reads one of Istio's resources, in whichever version the server has: v1, v1beta1 and v1alpha3 have the same fields.
    /// `data` is the object without its type and metadata, as `kube::core::DynamicObject::data` is.
    ///
    /// # Errors
    /// The field that cannot be read, or that the kind is none of Istio's.
    pub fn istio(kind: Kind, metadata: &ObjectMeta, data: &Value) -> Result<Self, Unreadable> {
        let key = Key::of(metadata);
        let spec = read::Field::root(data).get("spec");
        named(kind, metadata, || match kind {
            Kind::Gateway => gateway::read(key, &spec).map(Self::Gateway),
            Kind::DestinationRule => rule::read(key, metadata, &spec).map(Self::DestinationRule),
            Kind::ServiceEntry => entry::read(key, &spec).map(Self::ServiceEntry),
            Kind::VirtualService => {
                virtual_service::read(key, metadata, &spec).map(Self::VirtualService)
            }
            Kind::Service | Kind::Slice | Kind::Pod | Kind::Node | Kind::Namespace => Err(
                read::Fault::new("kind", "this is none of Istio's resources"),
            ),
        })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Slice(_) => Kind::Slice,
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::Namespace(_) => Kind::Namespace,
            Self::Gateway(_) => Kind::Gateway,
            Self::DestinationRule(_) => Kind::DestinationRule,
            Self::ServiceEntry(_) => Kind::ServiceEntry,
            Self::VirtualService(_) => Kind::VirtualService,
        }
    }

    /// Which one.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Service(fact) => &fact.key,
            Self::Slice(fact) => &fact.key,
            Self::Pod(fact) => &fact.key,
            Self::Node(fact) => &fact.key,
            Self::Namespace(fact) => &fact.key,
            Self::Gateway(fact) => &fact.key,
            Self::DestinationRule(fact) => &fact.key,
            Self::ServiceEntry(fact) => &fact.key,
            Self::VirtualService(fact) => &fact.key,
        }
    }
}

/// Reads with the object's name in the error; an object without a name cannot be told from others.
fn named<T>(
    kind: Kind,
    metadata: &ObjectMeta,
    read: impl FnOnce() -> Result<T, read::Fault>,
) -> Result<T, Unreadable> {
    let key = Key::of(metadata);
    let fact = if key.name.is_empty() {
        Err(read::Fault::new("metadata.name", "it is empty"))
    } else {
        read()
    };
    fact.map_err(|fault| Unreadable {
        kind,
        key,
        field: fault.field,
        why: fault.why,
    })
}

#[cfg(test)]
mod tests;
