//! One resource as bytes, made once for all streams of a view. It must not know what the bytes say.

use std::hash::Hasher;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, string};
use prost::{Message, Name};

/// What a resource is called and which version of it this is. Streams remember these of what they have sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name, unique in its kind.
    pub name: Arc<str>,
    /// A hash of its contents: equal after a restart and on another gateway that knows the same, so that a client that
    /// reconnects gets nothing twice. Another release of the compiler may hash differently; then it does.
    pub version: u64,
    /// A hash of both; the sum over a set of resources names a state of that set.
    pub mark: u64,
}

impl Tag {
    /// A name without a version.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self {
            name: name.into(),
            version: 0,
            mark: 0,
        }
    }

    /// Whether it is [of a name](Self::of_name) alone. (A resource whose mark is 0 is as likely as two with the same version.)
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.mark == 0
    }
}

/// A resource, encoded.
#[derive(Debug)]
pub struct Resource {
    /// Name and version.
    pub tag: Arc<Tag>,
    /// A field `resources` of a delta response: an `envoy.service.discovery.v3.Resource`, whose last field is the `Any`.
    delta: Bytes,
    /// Where that field starts. It has the number and the type of `resources` in a state-of-the-world response, so from there on
    /// the bytes are that, too.
    any_at: usize,
}

/// Field numbers of responses, of `envoy.service.discovery.v3.Resource` and of `google.protobuf.Any`.
const RESOURCES: u32 = 2;
const VERSION: u32 = 1;
const RESOURCE: u32 = RESOURCES;
const NAME: u32 = 3;
const TYPE_URL: u32 = 1;
const VALUE: u32 = 2;

impl Resource {
    /// Encodes a message under this name.
    #[must_use]
    pub fn new<M: Message + Name>(name: &str, message: &M) -> Self {
        let url = M::type_url();
        let value_len = message.encoded_len();
        let mut value = BytesMut::with_capacity(value_len);
        // A buffer of the right size does not refuse.
        let _ = message.encode(&mut value);
        let version = hash(&value);
        let version_text = version_text(version);
        let name_text = name.to_owned();
        let any_len = string::encoded_len(TYPE_URL, &url) + field_len(VALUE, value.len());
        let resource_len = string::encoded_len(NAME, &name_text)
            + string::encoded_len(VERSION, &version_text)
            + field_len(RESOURCE, any_len);
        let mut all = BytesMut::with_capacity(field_len(RESOURCES, resource_len));
        begin_field(RESOURCES, resource_len, &mut all);
        string::encode(NAME, &name_text, &mut all);
        string::encode(VERSION, &version_text, &mut all);
        let any_at = all.len();
        begin_field(RESOURCE, any_len, &mut all);
        string::encode(TYPE_URL, &url, &mut all);
        begin_field(VALUE, value.len(), &mut all);
        all.put_slice(&value);
        Self {
            tag: Arc::new(Tag {
                name: name.into(),
                version,
                mark: mark(name, version),
            }),
            delta: all.freeze(),
            any_at,
        }
    }

    /// As delta responses carry it: a field `resources`, an `envoy.service.discovery.v3.Resource` with key and length before it.
    #[must_use]
    pub fn delta(&self) -> Bytes {
        self.delta.clone()
    }

    /// As state-of-the-world responses carry it: a field `resources`, a `google.protobuf.Any` with key and length before it.
    #[must_use]
    pub fn any(&self) -> Bytes {
        self.delta.slice(self.any_at..)
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.delta.len()
    }

    /// Never: a resource has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delta.is_empty()
    }
}

/// A version as clients see it.
#[must_use]
pub fn version_text(version: u64) -> String {
    format!("{version:016x}")
}

/// Bytes of a field with so many bytes in it.
fn field_len(number: u32, bytes: usize) -> usize {
    key_len(number) + encoded_len_varint(bytes as u64) + bytes
}

/// What stands before these bytes.
fn begin_field(number: u32, bytes: usize, to: &mut BytesMut) {
    encode_key(number, WireType::LengthDelimited, to);
    encode_varint(bytes as u64, to);
}

fn mark(name: &str, version: u64) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.write_u64(version);
    hasher.finish()
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::discovery;
    use crate::proto::endpoint::ClusterLoadAssignment;

    #[test]
    fn both_forms_are_what_prost_reads() {
        let message = ClusterLoadAssignment {
            cluster_name: "c".repeat(200),
            ..ClusterLoadAssignment::default()
        };
        let resource = Resource::new("a name", &message);
        let response = discovery::DeltaDiscoveryResponse::decode(resource.delta());
        let response = response.expect("a response");
        let [delta] = &response.resources[..] else {
            panic!("one resource");
        };
        assert_eq!(delta.name, "a name");
        assert_eq!(delta.version, version_text(resource.tag.version));
        let any = crate::proto::pack(&message);
        assert_eq!(delta.resource.as_ref(), Some(&any));
        let response = discovery::DiscoveryResponse::decode(resource.any()).expect("a response");
        assert_eq!(response.resources, [any]);
        assert_eq!(resource.len(), resource.delta().len());
    }

    #[test]
    fn the_version_is_that_of_the_contents() {
        let of = |name: &str, cluster: &str| {
            let message = ClusterLoadAssignment {
                cluster_name: cluster.into(),
                ..ClusterLoadAssignment::default()
            };
            Resource::new(name, &message).tag.version
        };
        assert_eq!(of("a", "x"), of("b", "x"));
        assert_ne!(of("a", "x"), of("a", "y"));
    }
}
