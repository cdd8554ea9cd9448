//! Everything that is read of one cluster through one connection: a task for each kind, one stream of events. Dropping it ends
//! them all. It must not decide what is believed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::core::{DynamicObject, PartialObjectMeta};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::api::{Api, Fault};
use super::facts::{Fact, Kind, Unreadable};
use super::follow::{
    Backoff, Ceiling, Event, Follow, Memory, SharedMemory, Target, Weight, hash_of,
};
use super::identity::{Identity, Known};
use super::istio::{self, Found};
use super::meaning::Wants;

/// Time between two looks at which of Istio's kinds there are.
const LOOK: Duration = Duration::from_secs(10);

/// Events that may wait; a server that is faster than we are is read more slowly.
const WAITING: usize = 256;

/// What was read of an object.
pub type Read = Result<Fact, Unreadable>;

/// What a session tells.
#[derive(Debug)]
pub enum Told {
    /// Something about a kind.
    Kind(Kind, Event<Read>),
    /// Which of Istio's kinds the server has; only of our own cluster.
    Istio(Result<Found, Fault>),
    /// Which cluster the server is; once, as soon as it says so.
    Identity(Known),
}

/// What a session reads, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Whether Istio's kinds are read: of our own cluster alone.
    pub istio: bool,
    /// What is read of Pods and Nodes.
    pub wants: Wants,
    /// Limits of each list.
    pub ceiling: Ceiling,
}

/// The tasks of one connection.
pub struct Session {
    api: Api,
    scope: Scope,
    streaming: Arc<AtomicBool>,
    identity: Identity,
    tasks: JoinSet<()>,
    kinds: BTreeMap<Kind, Followed>,
    told_of_kinds: mpsc::Receiver<(Kind, Event<Read>)>,
    told: mpsc::Receiver<Told>,
    out: mpsc::Sender<(Kind, Event<Read>)>,
    /// Of Istio's kinds that were not found: for how many looks.
    missing: BTreeMap<Kind, u32>,
    /// What was known of each kind before this session.
    before: BTreeMap<Kind, Memory>,
}

/// A kind that is read.
struct Followed {
    path: String,
    task: AbortHandle,
    memory: SharedMemory,
}

impl Session {
    /// Begins to read; what was known `before` is taken away only as carefully as by any later list. Needs a tokio runtime.
    #[must_use]
    pub fn start(
        api: Api,
        scope: Scope,
        identity: Identity,
        before: BTreeMap<Kind, Memory>,
    ) -> Self {
        let (out, told_of_kinds) = mpsc::channel(WAITING);
        let (sender, told) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(identify(api.clone(), identity.clone(), sender.clone()));
        if scope.istio {
            tasks.spawn(find_istio(api.clone(), identity.clone(), sender));
        }
        let mut session = Self {
            api,
            scope,
            streaming: Arc::new(AtomicBool::new(true)),
            identity,
            tasks,
            kinds: BTreeMap::new(),
            told_of_kinds,
            told,
            out,
            missing: BTreeMap::new(),
            before,
        };
        session.follow_always();
        session.follow_wanted();
        session
    }

    /// The next thing that it tells. May be dropped half-way.
    pub async fn next(&mut self) -> Told {
        // Both senders live as long as the session, or have nothing more to say.
        tokio::select! {
            Some((kind, event)) = self.told_of_kinds.recv() => Told::Kind(kind, event),
            Some(told) = self.told.recv() => told,
            else => std::future::pending().await,
        }
    }

    /// The kinds that are read.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds.keys().copied()
    }

    /// What is known of each kind, as far as the next session has to know: that one may take it away only as carefully as this
    /// one.
    #[must_use]
    pub fn memories(&self) -> BTreeMap<Kind, Memory> {
        let kinds = self.kinds.iter();
        let known = kinds.map(|(kind, followed)| (*kind, followed.memory.copy()));
        known
            .filter(|(_, memory)| memory.counts().objects > 0)
            .collect()
    }

    /// The connection.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Which cluster it was found to be.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Reads more or less of Pods and Nodes from now on; gives the kinds that are no longer read.
    pub fn set_wants(&mut self, wants: Wants) -> Vec<Kind> {
        if self.scope.wants == wants {
            return Vec::new();
        }
        self.scope.wants = wants;
        self.follow_wanted();
        if wants.pods {
            Vec::new()
        } else {
            self.stop(Kind::Pod).into_iter().collect()
        }
    }

    /// Whether it is known which of Istio's kinds are read.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        let unsure =
            |kind: &Kind| self.before.contains_key(kind) && self.missing.get(kind) == Some(&1);
        !Kind::ISTIO.iter().any(unsure)
    }

    /// Reads those of Istio's kinds that there are; gives those that there are not, or no longer. A kind that was there has
    /// to be missing twice, as its end takes away what it exposes.
    pub fn set_istio(&mut self, found: &Found) -> Vec<Kind> {
        let mut absent = Vec::new();
        for kind in Kind::ISTIO {
            if let Some(path) = found.get(&kind) {
                self.missing.remove(&kind);
                self.follow_istio(kind, path);
                continue;
            }
            let missing = self.missing.entry(kind).or_default();
            *missing += 1;
            let known = self.kinds.contains_key(&kind) || self.before.contains_key(&kind);
            if !known || *missing > 1 {
                self.before.remove(&kind);
                self.stop(kind);
                absent.push(kind);
            }
        }
        absent
    }

    fn stop(&mut self, kind: Kind) -> Option<Kind> {
        let followed = self.kinds.remove(&kind)?;
        followed.task.abort();
        Some(kind)
    }

    fn follow_always(&mut self) {
        self.follow(Kind::Namespace, "/api/v1/namespaces", true, |object| {
            let object: PartialObjectMeta<Namespace> = object;
            Fact::namespace(&object.metadata)
        });
        self.follow(Kind::Service, "/api/v1/services", false, |object| {
            let object: Service = object;
            Fact::service(&object)
        });
        let slices = "/apis/discovery.k8s.io/v1/endpointslices";
        self.follow(Kind::Slice, slices, false, |object| {
            let object: EndpointSlice = object;
            Fact::slice(&object)
        });
    }

    fn follow_wanted(&mut self) {
        if self.scope.wants.whole_nodes {
            self.follow(Kind::Node, "/api/v1/nodes?", false, |object| {
                let object: Node = object;
                Fact::whole_node(&object)
            });
        } else {
            self.follow(Kind::Node, "/api/v1/nodes", true, |object| {
                let object: PartialObjectMeta<Node> = object;
                Fact::node(&object.metadata)
            });
        }
        if self.scope.wants.pods {
            self.follow(Kind::Pod, "/api/v1/pods", true, |object| {
                let object: PartialObjectMeta<Pod> = object;
                Fact::pod(&object.metadata)
            });
        }
    }

    fn follow_istio(&mut self, kind: Kind, path: &str) {
        let convert: fn(DynamicObject) -> Read = match kind {
            Kind::Gateway => |object| Fact::istio(Kind::Gateway, &object.metadata, &object.data),
            Kind::DestinationRule => {
                |object| Fact::istio(Kind::DestinationRule, &object.metadata, &object.data)
            }
            Kind::ServiceEntry => {
                |object| Fact::istio(Kind::ServiceEntry, &object.metadata, &object.data)
            }
            _ => |object| Fact::istio(Kind::VirtualService, &object.metadata, &object.data),
        };
        self.follow(kind, path, false, convert);
    }

    /// Follows a kind; one that is followed in another way is stopped first. What is known of it stays meanwhile.
    fn follow<T>(&mut self, kind: Kind, path: &str, metadata: bool, convert: fn(T) -> Read)
    where
        T: DeserializeOwned + Send + 'static,
        Follow<T, Read, Kind>: Sized,
        T: Resource,
    {
        let followed = self.kinds.get(&kind);
        if followed.is_some_and(|followed| followed.path == path) {
            return;
        }
        let known = followed.map(|followed| followed.memory.copy());
        let before = self.before.remove(&kind).or(known);
        let memory = SharedMemory::new(before.unwrap_or_default());
        self.stop(kind);
        let follow = Follow {
            api: self.api.clone(),
            target: Target {
                path: path.trim_end_matches('?').to_owned(),
                metadata,
                labels: None,
            },
            kind,
            convert,
            weigh,
            ceiling: self.scope.ceiling,
            streaming: self.streaming.clone(),
            identity: self.identity.clone(),
            memory: memory.clone(),
            out: self.out.clone(),
        };
        let task = self.tasks.spawn(follow.run());
        let path = path.to_owned();
        let followed = Followed { path, task, memory };
        self.kinds.insert(kind, followed);
    }
}

fn weigh(read: &Read) -> Weight {
    read.as_ref()
        .map_or(Weight { group: 0, mass: 1 }, weight_of)
}

/// A slice counts by its endpoints and belongs to its service; everything else stands for itself.
pub(super) fn weight_of(fact: &Fact) -> Weight {
    match fact {
        Fact::Slice(slice) => Weight {
            group: slice
                .service
                .as_ref()
                .map_or(0, |service| hash_of(&(&slice.key.namespace, service))),
            mass: slice.endpoints.len(),
        },
        _ => Weight { group: 0, mass: 1 },
    }
}

async fn identify(api: Api, identity: Identity, out: mpsc::Sender<Told>) {
    let mut backoff = Backoff::default();
    loop {
        match identity.compare(&api).await {
            Ok(known) => {
                // Without a listener there is nothing to do any more, sent or not.
                let _ = out.send(Told::Identity(known)).await;
                return;
            }
            Err(_) => sleep(backoff.next(None)).await,
        }
    }
}

async fn find_istio(api: Api, identity: Identity, out: mpsc::Sender<Told>) {
    let mut backoff = Backoff::default();
    loop {
        let found = look_for_istio(&api, &identity).await;
        let pause = if matches!(found, Ok(Some(_))) {
            backoff.reset();
            LOOK.mul_f64(0.9 + 0.2 * fastrand::f64())
        } else {
            backoff.next(None)
        };
        if let Some(told) = found.transpose()
            && out.send(Told::Istio(told)).await.is_err()
        {
            return;
        }
        sleep(pause).await;
    }
}

/// Which of Istio's kinds the server has. Nothing is said while another cluster answers at its address: that one's kinds say
/// nothing of ours, and taking their absence for an end would end what they expose.
async fn look_for_istio(api: &Api, identity: &Identity) -> Result<Option<Found>, Fault> {
    match identity.compare(api).await? {
        Known::Another => Ok(None),
        Known::Same | Known::Unknown => istio::find(api).await.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::testing::Fake;

    #[tokio::test]
    async fn another_clusters_want_of_kinds_says_nothing_of_ours() {
        let fake = Fake::default();
        let (api, identity) = (fake.api(), Identity::default());
        let found = look_for_istio(&api, &identity).await;
        assert!(
            matches!(found, Ok(Some(kinds)) if kinds.is_empty()),
            "ours has none yet"
        );
        fake.serve(
            "/api/v1/namespaces/kube-system",
            json!({"metadata": {"uid": "another"}}),
        );
        let found = look_for_istio(&api, &identity).await;
        assert!(matches!(found, Ok(None)), "{found:?}");
    }
}
