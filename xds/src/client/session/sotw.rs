//! The state-of-the-world protocol: every request names all that is wanted; clusters and listeners come whole, so that what
//! is missing is gone; endpoints come in parts, and go with their clusters.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use prost::Message;

use super::{Session, State, key};
use crate::client::facts::Kind;
use crate::client::world::Refusal;
use crate::proto::discovery::{DiscoveryRequest, DiscoveryResponse, Resource};
use crate::proto::protobuf::Any;
use crate::proto::rpc::Status;

/// A resource in an envelope that says its name and time to live.
const ENVELOPE: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

impl Session {
    /// Takes over all resources of a kind, or some of the endpoints.
    pub(super) fn take_sotw(&mut self, kind: Kind, response: DiscoveryResponse) -> Vec<Refusal> {
        let mut refused = Vec::new();
        let mut named = HashSet::new();
        for body in response.resources {
            let taken = match opened(body) {
                Ok((name, None)) => {
                    // It only says that what is known goes on (a time to live).
                    named.insert(name);
                    continue;
                }
                Ok((expected, Some(body))) if body.type_url == kind.type_url() => {
                    self.put(kind, &body.value, &expected)
                }
                Ok((name, Some(body))) => Err(Refusal {
                    name,
                    why: format!("its type is {}", body.type_url),
                }),
                Err(refusal) => Err(refusal),
            };
            match taken {
                Ok(name) => {
                    if !named.insert(name.to_string()) {
                        let why = "it stands twice in one response".to_owned();
                        let name = name.to_string();
                        refused.push(Refusal { name, why });
                    }
                }
                Err(refusal) => {
                    named.insert(refusal.name.clone());
                    named.insert(key(kind, &refusal.name).1);
                    refused.push(refusal);
                }
            }
        }
        for error in response.resource_errors {
            if let Some(name) = self.take_error(kind, error) {
                named.insert(key(kind, &name).1);
                named.insert(name);
            }
        }
        // One whose name cannot be read may be any of those that seem to be gone.
        let nameless = refused.iter().any(|refusal| refusal.name.is_empty());
        if kind != Kind::Endpoints && !nameless {
            for name in self.world.names(kind) {
                if !named.contains(&*name) {
                    self.remove(kind, &name);
                }
            }
            // One that was refused from the beginning may have gone, too.
            self.refused
                .retain(|(of, name), _| *of != kind || named.contains(name));
        }
        let state = self.kinds.entry(kind).or_default();
        state.nonce = response.nonce;
        if refused.is_empty() {
            state.version = response.version_info;
        }
        refused
    }
}

/// The first request of a kind on a stream, or an answer.
pub(super) fn request(kind: Kind, state: &State, error: Option<Status>) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: state.version.clone(),
        resource_names: state.subscribed.iter().map(ToString::to_string).collect(),
        type_url: kind.type_url().to_owned(),
        response_nonce: state.nonce.clone(),
        error_detail: error,
        ..DiscoveryRequest::default()
    }
}

/// All that is wanted now; it acknowledges the last response once more.
pub(super) fn subscription(state: &mut State, wanted: BTreeSet<Arc<str>>) -> DiscoveryRequest {
    state.subscribed = wanted;
    state.asked = true;
    request(Kind::Endpoints, state, None)
}

/// A resource out of its envelope, if there is one in it, with the name that stands there.
fn opened(body: Any) -> Result<(String, Option<Any>), Refusal> {
    if body.type_url != ENVELOPE {
        return Ok((String::new(), Some(body)));
    }
    let envelope = Resource::decode(&*body.value).map_err(|fault| Refusal {
        name: String::new(),
        why: format!("its envelope cannot be read: {fault}"),
    })?;
    Ok((envelope.name, envelope.resource))
}
