//! A session between tonic's messages and a view. Nothing is sent ahead: a response is made when the transport takes one.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::client::Client;
use super::registry::{Record, Registered, Registry};
use super::session::{Fault, Mode, Said, Session};
use super::views::Views;
use super::wire::{DeltaRequest, DeltaResponse, SotwRequest, SotwResponse};
use crate::resource::Kind;
use crate::view::{Settings, Shelves};

/// What all streams of a server share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) views: Views,
    pub(super) registry: Arc<Registry>,
}

/// One of the two protocols.
pub(super) trait Protocol: Send + 'static {
    const MODE: Mode;
    type Request: Message + Default + 'static;
    type Response: Message + 'static;

    /// Takes the node out of a request.
    fn node(request: &mut Self::Request) -> Option<Bytes>;
    fn take(session: &mut Session, request: Self::Request) -> Result<Said, Fault>;
    fn next(session: &mut Session) -> Option<(Kind, Self::Response)>;
    fn resources(response: &Self::Response) -> &[Bytes];
}

/// `StreamAggregatedResources`.
pub(super) struct Sotw;

/// `DeltaAggregatedResources`.
pub(super) struct Delta;

impl Protocol for Sotw {
    const MODE: Mode = Mode::Sotw;
    type Request = SotwRequest;
    type Response = SotwResponse;

    fn node(request: &mut SotwRequest) -> Option<Bytes> {
        request.node.take()
    }

    fn take(session: &mut Session, request: SotwRequest) -> Result<Said, Fault> {
        session.sotw(request)
    }

    fn next(session: &mut Session) -> Option<(Kind, SotwResponse)> {
        session.next_sotw()
    }

    fn resources(response: &SotwResponse) -> &[Bytes] {
        &response.resources
    }
}

impl Protocol for Delta {
    const MODE: Mode = Mode::Delta;
    type Request = DeltaRequest;
    type Response = DeltaResponse;

    fn node(request: &mut DeltaRequest) -> Option<Bytes> {
        request.node.take()
    }

    fn take(session: &mut Session, request: DeltaRequest) -> Result<Said, Fault> {
        session.delta(request)
    }

    fn next(session: &mut Session) -> Option<(Kind, DeltaResponse)> {
        session.next_delta()
    }

    fn resources(response: &DeltaResponse) -> &[Bytes] {
        &response.resources
    }
}

/// Responses, as tonic takes them.
pub(super) type Responses<P> =
    Pin<Box<dyn Stream<Item = Result<<P as Protocol>::Response, Status>> + Send>>;

/// Answers a stream of requests.
pub(super) fn responses<P: Protocol>(
    requests: Streaming<P::Request>,
    peer: SocketAddr,
    shared: Shared,
) -> Responses<P> {
    let stream = Conversation::<P> {
        requests,
        peer,
        shared,
        open: None,
        over: false,
    };
    Box::pin(futures::stream::unfold(stream, |mut stream| async {
        let item = stream.next().await?;
        // After an error nothing follows.
        stream.over = item.is_err();
        Some((item, stream))
    }))
}

struct Conversation<P: Protocol> {
    requests: Streaming<P::Request>,
    peer: SocketAddr,
    shared: Shared,
    open: Option<Open>,
    over: bool,
}

/// From the first request on.
struct Open {
    registered: Registered,
    shelves: watch::Receiver<Arc<Shelves>>,
}

impl<P: Protocol> Conversation<P> {
    /// The next response; `None` at the end.
    async fn next(&mut self) -> Option<Result<P::Response, Status>> {
        if self.over {
            return None;
        }
        loop {
            let Some(open) = &mut self.open else {
                let first = self.requests.message().await;
                match self.begin(first).await {
                    Ok(Some(())) => continue,
                    Ok(None) => return None,
                    Err(status) => return Some(Err(status)),
                }
            };
            if let Some(response) = self.shared.registry.response::<P>(&open.registered) {
                return Some(Ok(response));
            }
            tokio::select! {
                request = self.requests.message() => match request {
                    Ok(Some(request)) => {
                        if let Err(status) = take::<P>(&self.shared.registry, &open.registered, request) {
                            return Some(Err(status));
                        }
                    }
                    // The client has gone; nobody would read an error.
                    Ok(None) | Err(_) => return None,
                },
                changed = open.shelves.changed() => {
                    if changed.is_err() {
                        return Some(Err(Status::unavailable("the gateway has lost its source; connect again")));
                    }
                    let newest = open.shelves.borrow_and_update().clone();
                    open.registered.record.session.lock().offer(newest);
                }
            }
        }
    }

    /// The first request says who it is.
    async fn begin(
        &mut self,
        first: Result<Option<P::Request>, Status>,
    ) -> Result<Option<()>, Status> {
        let Some(mut request) = first? else {
            return Ok(None);
        };
        let node = P::node(&mut request).ok_or_else(|| {
            Status::invalid_argument("the first request of a stream must say its node")
        })?;
        let client = Client::read(node, &self.shared.settings.own).map_err(|fault| {
            Status::invalid_argument(format!("the node cannot be read: {fault}"))
        })?;
        let view = client.view.clone();
        let mut shelves = self
            .shared
            .views
            .of(view)
            .await
            .ok_or_else(|| Status::unavailable("the gateway is stopping"))?;
        let session = Session::new(shelves.borrow_and_update().clone());
        tracing::debug!(peer = %self.peer, node = client.id, agent = client.agent, mode = ?P::MODE, "an xDS stream is open");
        let registered = self.shared.registry.open(Record {
            client,
            peer: self.peer,
            mode: P::MODE,
            since: Instant::now(),
            session: Mutex::new(session),
            behind: Mutex::new(None),
        });
        take::<P>(&self.shared.registry, &registered, request)?;
        self.open = Some(Open {
            registered,
            shelves,
        });
        Ok(Some(()))
    }
}

fn take<P: Protocol>(
    registry: &Registry,
    registered: &Registered,
    request: P::Request,
) -> Result<(), Status> {
    let record = &registered.record;
    let mut session = record.session.lock();
    let said = P::take(&mut session, request);
    match said.map_err(|fault| Status::resource_exhausted(fault.to_string()))? {
        Said::Nothing => {}
        Said::Ack(kind) => registry.answered(kind, true),
        Said::Nack(kind) => {
            registry.answered(kind, false);
            let why = session.standing(kind).nack.unwrap_or_default();
            tracing::warn!(
                node = record.client.id,
                kind = kind.as_str(),
                why = &*why,
                "an xDS client refused a response"
            );
        }
    }
    Ok(())
}

impl Registry {
    /// The next response of a stream, counted.
    fn response<P: Protocol>(&self, registered: &Registered) -> Option<P::Response> {
        let record = &registered.record;
        let mut session = record.session.lock();
        let response = P::next(&mut session);
        record.note(session.is_settled());
        drop(session);
        let (kind, response) = response?;
        let resources = P::resources(&response);
        let bytes = resources.iter().map(Bytes::len).sum();
        self.pushed(kind, resources.len(), bytes);
        Some(response)
    }
}
