//! Who a client is, from the node of its first request. Nothing here is believed for more than what the client is told:
//! whoever may connect may say to be anywhere.

use bytes::Bytes;
use model::{Locality, Viewpoint};
use prost::Message;

use crate::proto::core::Node;
use crate::proto::protobuf::Struct;
use crate::proto::protobuf::value::Kind;
use crate::resource::Flavour;
use crate::view::ViewKey;

/// Every gRPC client says that it cannot do this (gRFC A27); Envoy does not.
const NO_OVERPROVISIONING: &str = "envoy.lb.does_not_support_overprovisioning";

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The node's id.
    pub id: String,
    /// What it says to run: `envoy`, `gRPC Go`.
    pub agent: String,
    /// What it sees.
    pub view: ViewKey,
}

impl Client {
    /// Reads a node. Metadata `CLUSTER_ID` and `NETWORK` are as Istio's agent sets them; a client that says neither is taken
    /// to be where the gateway is, but for its locality, which stays unknown unless it says it.
    ///
    /// # Errors
    /// When the bytes are no node.
    pub fn read(node: Bytes, own: &Viewpoint) -> Result<Self, prost::DecodeError> {
        let node = Node::decode(node)?;
        let metadata = node.metadata.unwrap_or_default();
        let cluster = text(&metadata, "CLUSTER_ID").map_or_else(|| own.cluster.clone(), Into::into);
        let network = text(&metadata, "NETWORK").map_or_else(|| own.network.clone(), Into::into);
        let locality = node.locality.unwrap_or_default();
        let is_grpc = node
            .client_features
            .iter()
            .any(|feature| feature == NO_OVERPROVISIONING);
        Ok(Self {
            id: node.id,
            agent: node.user_agent_name,
            view: ViewKey {
                flavour: if is_grpc {
                    Flavour::Grpc
                } else {
                    Flavour::Envoy
                },
                cluster,
                network,
                locality: Locality {
                    region: locality.region.into(),
                    zone: locality.zone.into(),
                    subzone: locality.sub_zone.into(),
                },
            },
        })
    }
}

fn text<'a>(metadata: &'a Struct, key: &str) -> Option<&'a str> {
    match &metadata.fields.get(key)?.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::core;
    use crate::proto::protobuf::Value;

    fn own() -> Viewpoint {
        Viewpoint {
            cluster: "us".into(),
            network: "n1".into(),
            locality: "us/a".into(),
            ..Viewpoint::default()
        }
    }

    #[test]
    fn metadata_and_locality_make_the_view() {
        let value = |text: &str| Value {
            kind: Some(Kind::StringValue(text.into())),
        };
        let node = Node {
            id: "pod".into(),
            user_agent_name: "envoy".into(),
            metadata: Some(Struct {
                fields: [
                    ("CLUSTER_ID".into(), value("eu")),
                    ("NETWORK".into(), value("n2")),
                ]
                .into(),
            }),
            locality: Some(core::Locality {
                region: "eu".into(),
                zone: "b".into(),
                sub_zone: "r1".into(),
            }),
            ..Node::default()
        };
        let client = Client::read(node.encode_to_vec().into(), &own()).expect("a client");
        let view = ViewKey {
            flavour: Flavour::Envoy,
            cluster: "eu".into(),
            network: "n2".into(),
            locality: "eu/b/r1".into(),
        };
        assert_eq!((client.id.as_str(), client.view), ("pod", view));
    }

    #[test]
    fn who_says_nothing_is_where_the_gateway_is() {
        let node = Node {
            client_features: vec![NO_OVERPROVISIONING.into()],
            ..Node::default()
        };
        let client = Client::read(node.encode_to_vec().into(), &own()).expect("a client");
        let view = ViewKey {
            flavour: Flavour::Grpc,
            cluster: "us".into(),
            network: "n1".into(),
            locality: Locality::default(),
        };
        assert_eq!(client.view, view);
        assert!(Client::read(Bytes::from_static(b"\xff"), &own()).is_err());
    }
}
