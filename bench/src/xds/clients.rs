//! Many clients on one thread: each says a node as large as Envoy's, subscribes to every cluster and every assignment, and accepts
//! what comes. They must not look into what they get further than its names.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::Stream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tonic::transport::Endpoint;
use xds::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::proto::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use xds::proto::{CLUSTER, ENDPOINTS, core};

use super::{Plan, now};

/// Extensions that Envoy 1.40 names in its node: 61 KB of them.
const EXTENSIONS: usize = 516;

/// The largest response.
const LARGEST: usize = 64 << 20;

/// All clients.
pub(super) struct Clients {
    plan: Plan,
    address: String,
    node: Arc<core::Node>,
    count: usize,
    events: UnboundedReceiver<Result<Event>>,
    tell: UnboundedSender<Result<Event>>,
}

/// What a client has come to.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It has everything.
    Complete,
    /// It has a change; when that came.
    Heard(u64),
}

impl Clients {
    pub(super) fn new(plan: Plan, address: String) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        Self {
            plan,
            address,
            node: Arc::new(node()),
            count: 0,
            events,
            tell,
        }
    }

    /// Connects until there are so many, and waits until each has everything.
    pub(super) async fn grow(&mut self, count: usize) -> Result<()> {
        for _ in self.count..count {
            let client = Client {
                services: self.plan.services as usize,
                address: format!("http://{}", self.address),
                node: self.node.clone(),
                tell: self.tell.clone(),
            };
            let sotw = self.plan.sotw;
            tokio::spawn(async move {
                let tell = client.tell.clone();
                let ended = match sotw {
                    true => client.sotw().await,
                    false => client.delta().await,
                };
                // Nobody listens any more when the measurement is over.
                let _ = tell.send(ended.and_then(|()| bail!("the server has closed a stream")));
            });
            // One at a time: it is not measured how fast they come.
            let Event::Complete = self.event().await? else {
                bail!("a change, and nobody made one");
            };
        }
        self.count = count;
        Ok(())
    }

    /// Waits until each has the change; when the last one had it.
    pub(super) async fn all_hear(&mut self) -> Result<u64> {
        let mut last = 0;
        for _ in 0..self.count {
            match self.event().await? {
                Event::Heard(at) => last = last.max(at),
                Event::Complete => bail!("nobody has connected"),
            }
        }
        Ok(last)
    }

    async fn event(&mut self) -> Result<Event> {
        self.events.recv().await.context("a client")?
    }
}

struct Client {
    services: usize,
    address: String,
    node: Arc<core::Node>,
    tell: UnboundedSender<Result<Event>>,
}

impl Client {
    async fn connect(&self) -> Result<AggregatedDiscoveryServiceClient<tonic::transport::Channel>> {
        let channel = Endpoint::from_shared(self.address.clone())?.tcp_nodelay(true);
        let client = AggregatedDiscoveryServiceClient::new(channel.connect().await?);
        Ok(client.max_decoding_message_size(LARGEST))
    }

    async fn delta(&self) -> Result<()> {
        let (to, requests) = mpsc::unbounded_channel();
        to.send(DeltaDiscoveryRequest {
            node: Some(core::Node::clone(&self.node)),
            type_url: CLUSTER.into(),
            ..DeltaDiscoveryRequest::default()
        })?;
        let mut client = self.connect().await?;
        let mut responses = client
            .delta_aggregated_resources(stream(requests))
            .await?
            .into_inner();
        let (mut clusters, mut assignments) = (0, 0);
        while let Some(response) = responses.message().await? {
            let at = now();
            to.send(DeltaDiscoveryRequest {
                type_url: response.type_url.clone(),
                response_nonce: response.nonce,
                ..DeltaDiscoveryRequest::default()
            })?;
            let names = response.resources.into_iter().map(|resource| resource.name);
            if response.type_url == CLUSTER {
                let names: Vec<String> = names.collect();
                clusters += names.len();
                to.send(DeltaDiscoveryRequest {
                    type_url: ENDPOINTS.into(),
                    resource_names_subscribe: names,
                    ..DeltaDiscoveryRequest::default()
                })?;
            } else {
                self.note(at, clusters, &mut assignments, names.count())?;
            }
        }
        Ok(())
    }

    async fn sotw(&self) -> Result<()> {
        let (to, requests) = mpsc::unbounded_channel();
        to.send(DiscoveryRequest {
            node: Some(core::Node::clone(&self.node)),
            type_url: CLUSTER.into(),
            ..DiscoveryRequest::default()
        })?;
        let mut client = self.connect().await?;
        let mut responses = client
            .stream_aggregated_resources(stream(requests))
            .await?
            .into_inner();
        let (mut clusters, mut assignments) = (0, 0);
        let mut names = Vec::new();
        while let Some(response) = responses.message().await? {
            let at = now();
            let is_cluster = response.type_url == CLUSTER;
            let count = response.resources.len();
            to.send(DiscoveryRequest {
                version_info: response.version_info,
                type_url: response.type_url,
                response_nonce: response.nonce,
                resource_names: if is_cluster {
                    Vec::new()
                } else {
                    names.clone()
                },
                ..DiscoveryRequest::default()
            })?;
            if is_cluster {
                clusters = count;
                names = response
                    .resources
                    .iter()
                    .map(|any| name(&any.value))
                    .collect::<Result<_>>()?;
                to.send(DiscoveryRequest {
                    type_url: ENDPOINTS.into(),
                    resource_names: names.clone(),
                    ..DiscoveryRequest::default()
                })?;
            } else {
                self.note(at, clusters, &mut assignments, count)?;
            }
        }
        Ok(())
    }

    /// Assignments have come.
    fn note(&self, at: u64, clusters: usize, known: &mut usize, more: usize) -> Result<()> {
        if clusters == self.services && *known == clusters {
            self.tell.send(Ok(Event::Heard(at)))?;
            return Ok(());
        }
        *known += more;
        if clusters == self.services && *known >= clusters {
            *known = clusters;
            self.tell.send(Ok(Event::Complete))?;
        }
        Ok(())
    }
}

fn name(cluster: &[u8]) -> Result<String> {
    // Cloned by the decoder; only at the start.
    let cluster: xds::proto::cluster::Cluster = prost::Message::decode(cluster)?;
    Ok(cluster.name)
}

fn stream<T: Send + 'static>(receiver: UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    })
}

/// As Envoy says who it is.
fn node() -> core::Node {
    let extensions = (0..EXTENSIONS).map(|number| core::Extension {
        name: format!("envoy.filters.network.some_extension_{number:03}"),
        category: "envoy.filters.network".into(),
        type_urls: vec!["envoy.extensions.filters.network.some.v3.Configuration".into()],
        ..core::Extension::default()
    });
    core::Node {
        id: "client".into(),
        user_agent_name: "envoy".into(),
        locality: Some(core::Locality {
            region: "us".into(),
            zone: "a".into(),
            ..core::Locality::default()
        }),
        extensions: extensions.collect(),
        ..core::Node::default()
    }
}
