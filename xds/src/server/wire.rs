//! The messages of a stream with what is not looked into left as bytes: resources that are shared by all streams, and the
//! node, which Envoy repeats with 60 KB in every request. Field numbers are those of `envoy.service.discovery.v3`; it must
//! hold no rule.

use std::collections::HashMap;

use bytes::Bytes;

use crate::proto::rpc::Status;

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
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct SotwResponse {
    /// Names a state of the resources that the client has after this.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Each a `google.protobuf.Any`.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub resources: Vec<Bytes>,
    /// What they are.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Names this response.
    #[prost(string, tag = "5")]
    pub nonce: String,
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
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeltaResponse {
    /// For people only.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// Each an `envoy.service.discovery.v3.Resource`.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub resources: Vec<Bytes>,
    /// What they are.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Names this response.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names that are gone, or were never there.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::{core, discovery, protobuf};

    #[test]
    fn they_are_read_as_envoys_messages() {
        let any = protobuf::Any {
            type_url: "t".into(),
            value: vec![1, 2],
        };
        let sotw = SotwResponse {
            version_info: "v".into(),
            resources: vec![any.encode_to_vec().into()],
            type_url: "u".into(),
            nonce: "n".into(),
        };
        let read = discovery::DiscoveryResponse::decode(&*sotw.encode_to_vec()).expect("read");
        assert_eq!(
            (&*read.version_info, &*read.type_url, &*read.nonce),
            ("v", "u", "n")
        );
        assert_eq!(read.resources, [any]);

        let resource = discovery::Resource {
            name: "r".into(),
            ..discovery::Resource::default()
        };
        let delta = DeltaResponse {
            system_version_info: "s".into(),
            resources: vec![resource.encode_to_vec().into()],
            type_url: "u".into(),
            nonce: "n".into(),
            removed_resources: vec!["gone".into()],
        };
        let read = discovery::DeltaDiscoveryResponse::decode(&*delta.encode_to_vec());
        let read = read.expect("read");
        assert_eq!((&*read.type_url, &*read.nonce), ("u", "n"));
        assert_eq!(read.system_version_info, "s");
        assert_eq!(read.resources, [resource]);
        assert_eq!(read.removed_resources, ["gone"]);
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
