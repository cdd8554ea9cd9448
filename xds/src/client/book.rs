//! A server by the book (Envoy's `xds_protocol.rst`), for one client: what it holds, and what its client knows of that. Its
//! versions can be empty, as istiod's are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Request, Response};
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use crate::proto::protobuf::Any;

/// What a server holds, and one stream.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) resources: BTreeMap<Kind, BTreeMap<String, (u64, Any)>>,
    version: u64,
    /// Resources have no versions, so everything is sent with every stream.
    pub(super) unversioned: bool,
    stream: BTreeMap<Kind, Watch>,
    nonce: u64,
    /// So many refusals are passed over: the same is sent again, as go-control-plane does in state of the world.
    pub(super) stubborn: usize,
    /// What the client complained of, by kind.
    pub(super) nacks: Vec<(Kind, String)>,
    /// The first request of each kind on the latest stream.
    pub(super) opened: BTreeMap<Kind, Request>,
    /// Names of the resources that were sent, in order.
    pub(super) told: Vec<String>,
}

/// What one kind's client has asked for and been sent on this stream.
#[derive(Debug, Default)]
struct Watch {
    nonce: String,
    wildcard: bool,
    names: BTreeSet<String>,
    sent: BTreeMap<String, u64>,
    /// The version of the last response (state of the world).
    version: u64,
}

impl Book {
    /// Puts a resource, or takes it away.
    pub(super) fn set(&mut self, kind: Kind, name: &str, resource: Option<Any>) {
        self.version += 1;
        let held = self.resources.entry(kind).or_default();
        match resource {
            Some(resource) => held.insert(name.to_owned(), (self.version, resource)),
            None => held.remove(name),
        };
    }

    /// The stream is gone, and everything that was known of it.
    pub(super) fn disconnect(&mut self) {
        self.stream.clear();
        self.opened.clear();
    }

    /// Answers a request.
    pub(super) fn request(&mut self, request: Request) -> Option<Response> {
        let type_url = match &request {
            Request::Delta(request) => &request.type_url,
            Request::Sotw(request) => &request.type_url,
        };
        let kind = Kind::of(type_url).expect("a kind");
        let first = self.opened.entry(kind);
        first.or_insert_with(|| request.clone());
        match request {
            Request::Delta(request) => self.delta(request),
            Request::Sotw(request) => self.sotw(request),
        }
    }

    /// What has changed since it was last sent.
    pub(super) fn push(&mut self, delta: bool) -> Vec<Response> {
        let kinds: Vec<Kind> = self.stream.keys().copied().collect();
        let push = |kind| match delta {
            true => self.changes(kind, &BTreeSet::new()),
            false => self.state(kind, false),
        };
        kinds.into_iter().filter_map(push).collect()
    }

    fn delta(&mut self, request: DeltaDiscoveryRequest) -> Option<Response> {
        let kind = Kind::of(&request.type_url).expect("a kind");
        self.note(kind, request.error_detail.map(|status| status.message));
        let first = !self.stream.contains_key(&kind);
        let watch = self.stream.entry(kind).or_default();
        if first {
            watch.wildcard = request.resource_names_subscribe.is_empty();
            for (name, version) in request.initial_resource_versions {
                // A version that is no number of ours is one that is not known.
                watch.sent.insert(name, version.parse().unwrap_or(0));
            }
        } else {
            assert!(
                request.initial_resource_versions.is_empty(),
                "only a first request has them"
            );
            let answers: u64 = request.response_nonce.parse().unwrap_or(0);
            assert!(answers <= self.nonce, "{kind:?}: this nonce was not given");
        }
        let again: BTreeSet<String> = request.resource_names_subscribe.into_iter().collect();
        for name in &again {
            assert!(
                watch.names.insert(name.clone()),
                "{name} is subscribed once"
            );
        }
        for name in request.resource_names_unsubscribe {
            assert!(watch.names.remove(&name), "{name} was subscribed");
            watch.sent.remove(&name);
        }
        if !first && again.is_empty() {
            return None;
        }
        self.changes(kind, &again)
    }

    /// `fresh` names are answered in any case, if only to say that they are not there.
    fn changes(&mut self, kind: Kind, fresh: &BTreeSet<String>) -> Option<Response> {
        let held = self.resources.entry(kind).or_default();
        let watch = self.stream.get_mut(&kind)?;
        let mut response = DeltaDiscoveryResponse {
            type_url: kind.type_url().into(),
            ..DeltaDiscoveryResponse::default()
        };
        let wanted: BTreeSet<String> = match watch.wildcard {
            true => held.keys().cloned().collect(),
            false => watch.names.clone(),
        };
        for name in &wanted {
            let Some((version, body)) = held.get(name) else {
                let known = watch.sent.remove(name).is_some();
                if known || fresh.contains(name) {
                    response.removed_resources.push(name.clone());
                }
                continue;
            };
            if watch.sent.get(name) != Some(version) {
                watch.sent.insert(name.clone(), *version);
                self.told.push(name.clone());
                response.resources.push(Resource {
                    name: name.clone(),
                    version: match self.unversioned {
                        true => String::new(),
                        false => version.to_string(),
                    },
                    resource: Some(body.clone()),
                    ..Resource::default()
                });
            }
        }
        if watch.wildcard {
            let gone: Vec<String> = watch
                .sent
                .keys()
                .filter(|name| !held.contains_key(*name))
                .cloned()
                .collect();
            for name in gone {
                watch.sent.remove(&name);
                response.removed_resources.push(name);
            }
        }
        let first = watch.nonce.is_empty();
        if response.resources.is_empty() && response.removed_resources.is_empty() && !first {
            return None;
        }
        self.nonce += 1;
        watch.nonce = self.nonce.to_string();
        response.nonce = watch.nonce.clone();
        response.system_version_info = self.version.to_string();
        Some(Response::Delta(response))
    }

    fn sotw(&mut self, request: DiscoveryRequest) -> Option<Response> {
        let kind = Kind::of(&request.type_url).expect("a kind");
        let is_nack = request.error_detail.is_some();
        self.note(kind, request.error_detail.map(|status| status.message));
        let first = !self.stream.contains_key(&kind);
        let watch = self.stream.entry(kind).or_default();
        if !first && request.response_nonce != watch.nonce {
            return None;
        }
        let names: BTreeSet<String> = request.resource_names.into_iter().collect();
        let grown = names.difference(&watch.names).next().is_some();
        watch.wildcard = kind != Kind::Endpoints;
        let wildcard = watch.wildcard;
        watch
            .sent
            .retain(|name, _| wildcard || names.contains(name));
        watch.names = names;
        let again = is_nack && self.stubborn > 0;
        self.stubborn -= usize::from(again);
        if first || grown || again {
            return self.state(kind, true);
        }
        None
    }

    /// All clusters or listeners if any has changed; of endpoints those that have.
    fn state(&mut self, kind: Kind, asked: bool) -> Option<Response> {
        let held = self.resources.entry(kind).or_default();
        let watch = self.stream.get_mut(&kind)?;
        let mut bodies = Vec::new();
        let mut changed = false;
        for (name, (version, body)) in held.iter() {
            let wanted = watch.wildcard || watch.names.contains(name);
            let new = wanted && watch.sent.insert(name.clone(), *version) != Some(*version);
            changed |= new;
            if watch.wildcard || new {
                self.told.push(name.clone());
                bodies.push(body.clone());
            }
        }
        if watch.wildcard {
            let gone: Vec<String> = watch
                .sent
                .keys()
                .filter(|name| !held.contains_key(*name))
                .cloned()
                .collect();
            changed |= !gone.is_empty();
            watch.sent.retain(|name, _| held.contains_key(name));
        } else {
            // No endpoints, as istiod says it: an assignment without any.
            for name in &watch.names {
                let gone =
                    !held.contains_key(name) && watch.sent.insert(name.clone(), 0) != Some(0);
                if gone {
                    changed = true;
                    bodies.push(crate::proto::pack(&super::samples::endpoints(name, &[])));
                }
            }
        }
        if !changed && (!asked || !watch.wildcard) {
            return None;
        }
        self.nonce += 1;
        watch.nonce = self.nonce.to_string();
        watch.version = self.version;
        Some(Response::Sotw(DiscoveryResponse {
            version_info: self.version.to_string(),
            resources: bodies,
            type_url: kind.type_url().into(),
            nonce: watch.nonce.clone(),
            ..DiscoveryResponse::default()
        }))
    }

    fn note(&mut self, kind: Kind, complaint: Option<String>) {
        self.nacks
            .extend(complaint.map(|complaint| (kind, complaint)));
    }
}
