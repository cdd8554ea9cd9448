//! Who a client is, from the node of its first request. Nothing here is believed for more than what the client is told:
//! whoever may connect may say to be anywhere.

use bytes::Bytes;
use model::{Locality, Viewpoint};
use prost::Message;

use super::wire::Node;
use crate::proto::protobuf::Struct;
use crate::proto::protobuf::value::Kind;
use crate::resource::Flavour;
use crate::view::ViewKey;

/// Every gRPC client says that it cannot do this (gRFC A27); Envoy does not.
const NO_OVERPROVISIONING: &str = "envoy.lb.does_not_support_overprovisioning";

/// Bytes of a node; Envoy's has 61 KB.
const NODE: usize = 1 << 20;

/// Characters that are kept of a client's id and of what it says to run.
const LABEL: usize = 256;

/// Bytes of each part of its place: views are kept by them. DNS and Kubernetes have no longer names.
const PLACE: usize = 253;

/// Why a client cannot be known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The bytes are no node.
    #[error("the node cannot be read: {0}")]
    Unreadable(#[from] prost::DecodeError),
    /// More bytes than any node has.
    #[error("the node has {0} bytes, more than {NODE}")]
    TooLarge(usize),
    /// A part of the place is longer than any name of a place.
    #[error("the node's {what} has {len} bytes, more than {PLACE}")]
    LongPlace {
        /// Which part.
        what: &'static str,
        /// Its bytes.
        len: usize,
    },
}

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
    /// When the bytes are no node, or say more than one has to.
    pub fn read(node: Bytes, own: &Viewpoint) -> Result<Self, NodeError> {
        if node.len() > NODE {
            return Err(NodeError::TooLarge(node.len()));
        }
        let node = Node::decode(node)?;
        let metadata = node.metadata.unwrap_or_default();
        let cluster = text(&metadata, "CLUSTER_ID").map_or_else(|| own.cluster.clone(), Into::into);
        let network = text(&metadata, "NETWORK").map_or_else(|| own.network.clone(), Into::into);
        let locality = node.locality.unwrap_or_default();
        for (what, part) in [
            ("CLUSTER_ID", cluster.as_str()),
            ("NETWORK", network.as_str()),
            ("region", &*locality.region),
            ("zone", &*locality.zone),
            ("sub_zone", &*locality.sub_zone),
        ] {
            if part.len() > PLACE {
                let len = part.len();
                return Err(NodeError::LongPlace { what, len });
            }
        }
        let is_grpc = node
            .client_features
            .iter()
            .any(|feature| feature == NO_OVERPROVISIONING);
        Ok(Self {
            id: shortened(node.id),
            agent: shortened(node.user_agent_name),
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

fn shortened(text: String) -> String {
    match text.char_indices().nth(LABEL) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
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
    use crate::proto::core::{self, Node};
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

    #[test]
    fn who_says_too_much_of_himself_is_refused_or_cut() {
        let place = |len: usize| Node {
            locality: Some(core::Locality {
                sub_zone: "z".repeat(len),
                ..core::Locality::default()
            }),
            ..Node::default()
        };
        let read = |node: Node| Client::read(node.encode_to_vec().into(), &own());
        assert!(read(place(PLACE)).is_ok());
        let what = "sub_zone";
        assert_eq!(
            read(place(PLACE + 1)),
            Err(NodeError::LongPlace { what, len: 254 })
        );
        let client = read(Node {
            id: "\u{e9}".repeat(1_000),
            ..Node::default()
        });
        assert_eq!(client.expect("a client").id, "\u{e9}".repeat(LABEL));
        let endless = Bytes::from(vec![0; NODE + 1]);
        assert_eq!(
            Client::read(endless, &own()),
            Err(NodeError::TooLarge(NODE + 1))
        );
    }
}
