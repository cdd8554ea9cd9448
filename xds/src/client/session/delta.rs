//! The delta protocol: subscriptions by name, resources one by one with a version each, removals said.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Session, State};
use crate::client::facts::Kind;
use crate::client::world::Refusal;
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::proto::rpc::Status;

impl Session {
    /// Takes over what changed; the other resources stay.
    pub(super) fn take_delta(
        &mut self,
        kind: Kind,
        response: DeltaDiscoveryResponse,
    ) -> Vec<Refusal> {
        let mut refused = Vec::new();
        let mut seen = HashSet::new();
        for resource in response.resources {
            if !resource.name.is_empty() && !seen.insert(resource.name.clone()) {
                let why = "it stands twice in one response".to_owned();
                let name = resource.name;
                refused.push(Refusal { name, why });
                continue;
            }
            // Without a body it only says that what is known goes on (a time to live).
            let Some(body) = resource.resource else {
                continue;
            };
            let taken = match body.type_url == kind.type_url() {
                true => self.put(kind, &body.value, &resource.name),
                false => Err(Refusal {
                    name: resource.name,
                    why: format!("its type is {}", body.type_url),
                }),
            };
            match taken {
                Ok(name) => {
                    let state = self.kinds.entry(kind).or_default();
                    state.versions.insert(name, resource.version);
                }
                Err(refusal) => refused.push(refusal),
            }
        }
        let names = response.removed_resource_names.into_iter();
        let names = names.map(|resource| resource.name);
        for name in response.removed_resources.into_iter().chain(names) {
            self.remove(kind, &name);
        }
        for error in response.resource_errors {
            self.take_error(kind, error);
        }
        let state = self.kinds.entry(kind).or_default();
        state.nonce = response.nonce;
        state.version = response.system_version_info;
        refused
    }
}

/// The first request of a kind on a stream, or an answer.
pub(super) fn request(kind: Kind, state: &State, error: Option<Status>) -> DeltaDiscoveryRequest {
    let mut request = DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        response_nonce: state.nonce.clone(),
        error_detail: error,
        ..DeltaDiscoveryRequest::default()
    };
    if !state.asked {
        // No name at all asks for everything; what is known is told, so that only the rest comes, and what is gone is said.
        request.initial_resource_versions = versions(state);
    }
    request
}

/// The change from what is subscribed to what is wanted; it answers nothing, so it bears no nonce.
pub(super) fn subscription(state: &mut State, wanted: BTreeSet<Arc<str>>) -> DeltaDiscoveryRequest {
    let names = |names: Vec<&Arc<str>>| names.into_iter().map(ToString::to_string).collect();
    let mut request = DeltaDiscoveryRequest {
        type_url: Kind::Endpoints.type_url().to_owned(),
        resource_names_subscribe: names(wanted.difference(&state.subscribed).collect()),
        resource_names_unsubscribe: names(state.subscribed.difference(&wanted).collect()),
        ..DeltaDiscoveryRequest::default()
    };
    if !state.asked {
        request.initial_resource_versions = versions(state);
    }
    state.asked = true;
    state.subscribed = wanted;
    request
}

fn versions(state: &State) -> std::collections::HashMap<String, String> {
    let known = state.versions.iter();
    known
        .map(|(name, version)| (name.to_string(), version.clone()))
        .collect()
}
