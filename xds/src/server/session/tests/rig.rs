//! Views of invented resources, and requests and responses as short texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;

use super::super::*;
use crate::proto::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use crate::proto::endpoint::ClusterLoadAssignment;
use crate::proto::protobuf::Any;
use crate::proto::rpc::Status;
use crate::resource::Resource;
use crate::view::Shelf;

/// What is there: by kind and name, some content.
pub(super) type World = [BTreeMap<String, u32>; 4];

/// `a=1 b=2` of each kind.
pub(super) fn world(clusters: &str, endpoints: &str) -> World {
    let read = |text: &str| {
        let parts = text.split_whitespace();
        let parts = parts.map(|part| part.split_once('=').expect("name=content"));
        parts
            .map(|(name, content)| (name.into(), content.parse().expect("a number")))
            .collect()
    };
    [
        read(clusters),
        read(endpoints),
        BTreeMap::new(),
        BTreeMap::new(),
    ]
}

/// The view of a world; whatever is the same in the one before is the same `Arc`, as in real views.
pub(super) fn shelves(world: &World, before: Option<&Shelves>) -> Arc<Shelves> {
    let mut shelves = Shelves::default();
    for kind in Kind::ALL {
        let old = before.map(|before| before.of(kind));
        let items = world[kind as usize].iter().map(|(name, content)| {
            let message = ClusterLoadAssignment {
                cluster_name: format!("{name}={content}"),
                ..ClusterLoadAssignment::default()
            };
            let made = Arc::new(Resource::new(name, &message));
            let known = old.and_then(|old| old.find(name));
            known
                .filter(|known| known.tag == made.tag)
                .cloned()
                .unwrap_or(made)
        });
        let shelf = Shelf::of(items.collect());
        let same = |old: &&Arc<Shelf>| {
            let both = old.items().iter().zip(shelf.items());
            old.items().len() == shelf.items().len()
                && both.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
        };
        shelves.kinds[kind as usize] = match old.filter(same) {
            Some(old) => Arc::clone(old),
            None => Arc::new(shelf),
        };
    }
    Arc::new(shelves)
}

impl Session {
    /// Whether everything that was subscribed to is told and answered.
    pub(super) fn is_settled(&mut self) -> bool {
        let lacks = Kind::ALL.map(|kind| self.lacks(kind));
        lacks.iter().all(|lacks| !lacks.sending && !lacks.answer)
    }
}

/// A stream with the server's end of it.
pub(super) struct Rig {
    pub(super) session: Session,
    view: Arc<Shelves>,
    /// Whether the client forgets what it does not want any more.
    pub(super) forgets: bool,
}

impl Rig {
    pub(super) fn new(clusters: &str, endpoints: &str) -> Self {
        Self::of(&world(clusters, endpoints))
    }

    pub(super) fn of(world: &World) -> Self {
        let view = shelves(world, None);
        Self {
            session: Session::new(view.clone(), false),
            view,
            forgets: false,
        }
    }

    pub(super) fn change(&mut self, clusters: &str, endpoints: &str) {
        self.view = shelves(&world(clusters, endpoints), Some(&self.view));
        self.session.offer(self.view.clone());
    }

    /// A new stream of the same view.
    pub(super) fn reconnect(&mut self) {
        self.session = Session::new(self.view.clone(), self.forgets);
    }

    pub(super) fn sotw(&mut self, kind: Kind, names: &str, version: &str, nonce: &str) -> Said {
        let said = self.session.sotw(sotw_request(kind, names, version, nonce));
        said.expect("the stream goes on")
    }

    pub(super) fn delta(&mut self, kind: Kind, text: &str, nonce: &str) -> Said {
        let said = self.session.delta(delta_request(kind, text, nonce));
        said.expect("the stream goes on")
    }

    /// The next response: `kind: a=1 b=2`, and its nonce and version.
    pub(super) fn next_sotw(&mut self) -> Option<(String, String, String)> {
        let (kind, response) = self.session.next_sotw()?;
        assert_eq!(response.type_url, kind.type_url());
        let contents: Vec<_> = response
            .resources
            .iter()
            .map(|any| content_of_any(any))
            .collect();
        let text = format!("{}: {}", kind.as_str(), contents.join(" "));
        Some((
            text.trim_end().into(),
            response.nonce,
            response.version_info,
        ))
    }

    /// The next response: `kind: a=1 b=2 -c`, and its nonce.
    pub(super) fn next_delta(&mut self) -> Option<(String, String)> {
        let (kind, response) = self.session.next_delta()?;
        assert_eq!(response.type_url, kind.type_url());
        let mut text = format!("{}:", kind.as_str());
        for resource in &response.resources {
            let (_, content, _) = content_of_resource(resource);
            text += &format!(" {content}");
        }
        for name in &response.removed_resources {
            text += &format!(" -{name}");
        }
        Some((text, response.nonce))
    }

    /// All that is due, each accepted at once.
    pub(super) fn drain_delta(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((text, nonce)) = self.next_delta() {
            let kind = kind_of(&text);
            assert_eq!(self.delta(kind, "", &nonce), Said::Ack(kind));
            all.push(text);
        }
        all
    }

    /// All that is due, each accepted at once, with these names.
    pub(super) fn drain_sotw(&mut self, names: &str) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((text, nonce, version)) = self.next_sotw() {
            let kind = kind_of(&text);
            assert_eq!(self.sotw(kind, names, &version, &nonce), Said::Ack(kind));
            all.push(text);
        }
        all
    }
}

fn kind_of(text: &str) -> Kind {
    let kinds = Kind::ALL.into_iter();
    let mut found = kinds.filter(|kind| text.starts_with(kind.as_str()));
    found.next().expect("a kind")
}

/// A resource of a state-of-the-world response; it is a field, so a response of its own.
pub(super) fn content_of_any(field: &[u8]) -> String {
    let response = DiscoveryResponse::decode(field).expect("a field");
    content(&response.resources[0])
}

fn content(any: &Any) -> String {
    let message = ClusterLoadAssignment::decode(&*any.value).expect("the message");
    message.cluster_name
}

/// Name, content and version.
pub(super) fn content_of_resource(field: &[u8]) -> (String, String, String) {
    let mut response = DeltaDiscoveryResponse::decode(field).expect("a field");
    let resource = response.resources.pop().expect("a resource");
    let content = content(&resource.resource.expect("a body"));
    (resource.name, content, resource.version)
}

/// Names apart by spaces; a nonce with a `!` before it is a refusal.
pub(super) fn sotw_request(kind: Kind, names: &str, version: &str, nonce: &str) -> SotwRequest {
    let (nonce, error_detail) = answer(nonce);
    SotwRequest {
        version_info: version.into(),
        resource_names: names.split_whitespace().map(str::to_owned).collect(),
        type_url: kind.type_url().into(),
        response_nonce: nonce,
        error_detail,
        ..SotwRequest::default()
    }
}

/// `+name`, `-name`, `name@version`, apart by spaces; a nonce with a `!` before it is a refusal.
pub(super) fn delta_request(kind: Kind, text: &str, nonce: &str) -> DeltaRequest {
    let (nonce, error_detail) = answer(nonce);
    let mut request = DeltaRequest {
        type_url: kind.type_url().into(),
        response_nonce: nonce,
        error_detail,
        ..DeltaRequest::default()
    };
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix('+') {
            request.resource_names_subscribe.push(name.into());
        } else if let Some(name) = word.strip_prefix('-') {
            request.resource_names_unsubscribe.push(name.into());
        } else if let Some((name, version)) = word.split_once('@') {
            let versions = &mut request.initial_resource_versions;
            versions.insert(name.into(), version.into());
        }
    }
    request
}

fn answer(nonce: &str) -> (String, Option<Status>) {
    match nonce.strip_prefix('!') {
        None => (nonce.into(), None),
        Some(nonce) => {
            let status = Status {
                code: 3,
                message: format!("refused {nonce}"),
                ..Status::default()
            };
            (nonce.into(), Some(status))
        }
    }
}
