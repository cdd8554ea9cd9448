//! What objects are called, and who may see them. Nothing here knows what is in them.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    Slice,
    /// `v1` Pod, as metadata.
    Pod,
    /// `v1` Node, as metadata.
    Node,
    /// `v1` Namespace, as metadata.
    Namespace,
    /// `networking.istio.io` Gateway.
    Gateway,
    /// `networking.istio.io` DestinationRule.
    DestinationRule,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
    /// `networking.istio.io` VirtualService.
    VirtualService,
}

impl Kind {
    /// Istio's kinds, which are read from our own cluster alone.
    pub const ISTIO: [Self; 4] = [
        Self::Gateway,
        Self::DestinationRule,
        Self::ServiceEntry,
        Self::VirtualService,
    ];

    /// The kind's name in its API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Slice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::Gateway => "Gateway",
            Self::DestinationRule => "DestinationRule",
            Self::ServiceEntry => "ServiceEntry",
            Self::VirtualService => "VirtualService",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an object is called among those of its kind and cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Empty for what stands in no namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of an object.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let text = |text: &Option<String>| Arc::from(text.as_deref().unwrap_or_default());
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
        }
    }

    /// A key by hand.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// Who may see a resource: Istio's `exportTo`. Empty: everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportTo(pub Vec<Arc<str>>);

impl ExportTo {
    /// Whether a resource of namespace `home` is seen from namespace `viewer`: `*` is everyone, `.` its own namespace, `~`
    /// nobody (Istio's visibility.Instance).
    #[must_use]
    pub fn is_visible(&self, home: &str, viewer: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|scope| match &**scope {
                "*" => true,
                "." => home == viewer,
                "~" => false,
                namespace => namespace == viewer,
            })
    }

    /// The annotation's form: names with commas between them.
    pub(super) fn from_annotation(text: Option<&String>) -> Self {
        let text = text.map_or("", String::as_str);
        let scopes = text.split(',').map(str::trim);
        Self(
            scopes
                .filter(|scope| !scope.is_empty())
                .map(Arc::from)
                .collect(),
        )
    }
}
