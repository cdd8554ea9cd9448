//! The messages of a stream with what is not looked into left as bytes: resources that are shared by all streams, and the
//! node, which Envoy repeats with 60 KB in every request. Field numbers are those of `envoy.service.discovery.v3`; it must
//! hold no rule.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use prost::encoding::string;

use crate::proto::core::Locality;
use crate::proto::protobuf::Struct;
use crate::proto::rpc::Status;

/// `envoy.config.core.v3.Node`, as far as it is looked into: Envoy's names 516 extensions beside it.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Node {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What else it says of itself.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
    /// Where it stands.
    #[prost(message, optional, tag = "4")]
    pub locality: Option<Locality>,
    /// What it runs.
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
    /// What it can do, or cannot.
    #[prost(string, repeated, tag = "10")]
    pub client_features: Vec<String>,
}

/// `DiscoveryRequest`.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct SotwRequest {
    /// The last version that was accepted.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Who asks; the first request of a stream has it.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub node: Option<Bytes>,
    /// All names that are wanted.
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    /// What is wanted.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// The response that this answers.
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    /// Why that was refused.
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// `DiscoveryResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SotwResponse {
    /// Names a state of the resources that the client has after this.
    pub version_info: String,
    /// Each a field `resources` as it stands on the wire, a `google.protobuf.Any`, key and length before it.
    pub resources: Vec<Bytes>,
    /// What they are.
    pub type_url: String,
    /// Names this response.
    pub nonce: String,
}

impl SotwResponse {
    /// Everything but the resources, as it stands on the wire.
    #[must_use]
    pub fn fields(&self) -> BytesMut {
        let mut fields = BytesMut::new();
        put(1, &self.version_info, &mut fields);
        put(4, &self.type_url, &mut fields);
        put(5, &self.nonce, &mut fields);
        fields
    }
}

/// `DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeltaRequest {
    /// Who asks; the first request of a stream has it.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub node: Option<Bytes>,
    /// What is wanted.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names that are wanted from now on.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names that are not wanted any more.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// What the client has from an earlier stream, with versions.
    #[prost(map = "string, string", tag = "5")]
    pub initial_resource_versions: HashMap<String, String>,
    /// The response that this answers.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Why that was refused.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaResponse {
    /// For people only.
    pub system_version_info: String,
    /// Each a field `resources` as it stands on the wire, an `envoy.service.discovery.v3.Resource`, key and length before it.
    pub resources: Vec<Bytes>,
    /// What they are.
    pub type_url: String,
    /// Names this response.
    pub nonce: String,
    /// Names that are gone, or were never there.
    pub removed_resources: Vec<String>,
}

impl DeltaResponse {
    /// Everything but the resources, as it stands on the wire.
    #[must_use]
    pub fn fields(&self) -> BytesMut {
        let mut fields = BytesMut::new();
        put(1, &self.system_version_info, &mut fields);
        put(4, &self.type_url, &mut fields);
        put(5, &self.nonce, &mut fields);
        string::encode_repeated(6, &self.removed_resources, &mut fields);
        fields
    }
}

/// A text that is empty is not there (proto3).
fn put(tag: u32, text: &String, to: &mut BytesMut) {
    if !text.is_empty() {
        string::encode(tag, text, to);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::{core, discovery};
    use crate::resource::Resource;

    #[test]
    fn they_are_read_as_envoys_messages() {
        let resource = Resource::new("r", &core::Node::default());
        let sotw = SotwResponse {
            version_info: "v".into(),
            resources: vec![resource.any(), resource.any()],
            type_url: "u".into(),
            nonce: "n".into(),
        };
        let bytes = [&sotw.fields()[..], &sotw.resources.concat()].concat();
        let read = discovery::DiscoveryResponse::decode(&*bytes).expect("read");
        assert_eq!(
            (&*read.version_info, &*read.type_url, &*read.nonce),
            ("v", "u", "n")
        );
        let any = crate::proto::pack(&core::Node::default());
        assert_eq!(read.resources, [any.clone(), any.clone()]);

        let delta = DeltaResponse {
            system_version_info: "s".into(),
            resources: vec![resource.delta()],
            type_url: "u".into(),
            nonce: "n".into(),
            removed_resources: vec!["gone".into(), "too".into()],
        };
        let bytes = [&delta.fields()[..], &delta.resources.concat()].concat();
        let read = discovery::DeltaDiscoveryResponse::decode(&*bytes).expect("read");
        assert_eq!((&*read.type_url, &*read.nonce), ("u", "n"));
        assert_eq!(read.system_version_info, "s");
        let [read_resource] = &read.resources[..] else {
            panic!("one resource: {read:?}");
        };
        assert_eq!(
            (&*read_resource.name, read_resource.resource.as_ref()),
            ("r", Some(&any))
        );
        assert_eq!(read.removed_resources, ["gone", "too"]);
        assert!(SotwResponse::default().fields().is_empty());
    }

    #[test]
    fn they_read_envoys_messages() {
        let node = core::Node {
            id: "me".into(),
            ..core::Node::default()
        };
        let status = Status {
            code: 3,
            message: "no".into(),
            ..Status::default()
        };
        let sotw = discovery::DiscoveryRequest {
            version_info: "v".into(),
            node: Some(node.clone()),
            resource_names: vec!["a".into(), "b".into()],
            type_url: "u".into(),
            response_nonce: "n".into(),
            error_detail: Some(status.clone()),
            ..discovery::DiscoveryRequest::default()
        };
        let read = SotwRequest::decode(&*sotw.encode_to_vec()).expect("read");
        assert_eq!(read.node, Some(node.encode_to_vec().into()));
        assert_eq!(read.resource_names, ["a", "b"]);
        assert_eq!(read.error_detail, Some(status.clone()));
        assert_eq!(
            (&*read.version_info, &*read.type_url, &*read.response_nonce),
            ("v", "u", "n")
        );

        let delta = discovery::DeltaDiscoveryRequest {
            node: Some(node.clone()),
            type_url: "u".into(),
            resource_names_subscribe: vec!["a".into()],
            resource_names_unsubscribe: vec!["b".into()],
            initial_resource_versions: [("c".into(), "1".into())].into(),
            response_nonce: "n".into(),
            error_detail: Some(status.clone()),
            ..discovery::DeltaDiscoveryRequest::default()
        };
        let read = DeltaRequest::decode(&*delta.encode_to_vec()).expect("read");
        assert_eq!(read.node, Some(node.encode_to_vec().into()));
        assert_eq!(read.resource_names_subscribe, ["a"]);
        assert_eq!(read.resource_names_unsubscribe, ["b"]);
        assert_eq!(read.initial_resource_versions["c"], "1");
        assert_eq!(read.error_detail, Some(status));
        assert_eq!((&*read.type_url, &*read.response_nonce), ("u", "n"));
    }
}
