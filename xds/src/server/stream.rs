//! A session between a stream's messages and a view. Nothing is sent ahead: a response is made when the transport takes one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;

use super::client::Client;
use super::framing::{Framed, Messages, Requests};
use super::registry::{Record, Registered, Registry};
use super::session::{Fault, Mode, Said, Session};
use super::views::Views;
use super::wire::{DeltaRequest, DeltaResponse, SotwRequest, SotwResponse};
use crate::resource::{Flavour, Kind};
use crate::view::{Settings, Shelves};

/// How long a client may take to say who it is: Envoy and gRPC do so at once.
const FIRST: Duration = Duration::from_secs(30);

/// What all streams of a server share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) views: Views,
    pub(super) registry: Arc<Registry>,
    /// Bytes of requests that have not come to their end.
    pub(super) unfinished: Arc<AtomicUsize>,
}

/// One of the two protocols.
pub(super) trait Protocol: Send + 'static {
    const MODE: Mode;
    type Request: Message + Default + 'static;
    type Response: Send + 'static;

    /// Takes the node out of a request.
    fn node(request: &mut Self::Request) -> Option<Bytes>;
    fn take(session: &mut Session, request: Self::Request) -> Result<Said, Fault>;
    fn next(session: &mut Session) -> Option<(Kind, Self::Response)>;
    /// What a response says beside its resources, as it stands on the wire; and the resources.
    fn parts(response: Self::Response) -> (BytesMut, Vec<Bytes>);
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

    fn parts(response: SotwResponse) -> (BytesMut, Vec<Bytes>) {
        (response.fields(), response.resources)
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

    fn parts(response: DeltaResponse) -> (BytesMut, Vec<Bytes>) {
        (response.fields(), response.resources)
    }
}

/// Answers a stream of requests.
pub(super) fn responses<P: Protocol>(
    requests: Requests,
    peer: SocketAddr,
    shared: Shared,
) -> Messages {
    let stream = Conversation {
        requests,
        peer,
        shared,
        open: None,
    };
    Box::pin(futures::stream::unfold(stream, |mut stream| async {
        let item = stream.next::<P>().await?;
        Some((item, stream))
    }))
}

struct Conversation {
    requests: Requests,
    peer: SocketAddr,
    shared: Shared,
    open: Option<Open>,
}

/// From the first request on.
struct Open {
    registered: Registered,
    shelves: watch::Receiver<Arc<Shelves>>,
}

impl Conversation {
    /// The next response; `None` at the end.
    async fn next<P: Protocol>(&mut self) -> Option<Result<Framed, Status>> {
        loop {
            let Some(open) = &mut self.open else {
                // Boxed: an idle stream has no room for what only its beginning needs.
                match Box::pin(self.begin::<P>()).await {
                    Ok(Some(())) => continue,
                    Ok(None) => return None,
                    Err(status) => return Some(Err(status)),
                }
            };
            if let Some(response) = self.shared.registry.response::<P>(&open.registered) {
                return Some(response);
            }
            tokio::select! {
                request = self.requests.message::<P::Request>() => match request {
                    Ok(Some(request)) => {
                        if let Err(status) = take::<P>(&self.shared.registry, &open.registered, request) {
                            return Some(Err(status));
                        }
                    }
                    Ok(None) => return None,
                    // Who has gone does not read it; who has said what cannot be read is told.
                    Err(status) => return Some(Err(status)),
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
    async fn begin<P: Protocol>(&mut self) -> Result<Option<()>, Status> {
        let first = timeout(FIRST, self.requests.message::<P::Request>()).await;
        let first = first.map_err(|_| {
            Status::deadline_exceeded(format!("no request has come within {} s", FIRST.as_secs()))
        })?;
        let Some(mut request) = first? else {
            return Ok(None);
        };
        let node = P::node(&mut request).ok_or_else(|| {
            Status::invalid_argument("the first request of a stream must say its node")
        })?;
        let client = Client::read(node, &self.shared.settings.own)
            .map_err(|fault| Status::invalid_argument(fault.to_string()))?;
        let view = client.view.clone();
        let mut shelves = self
            .shared
            .views
            .of(view)
            .await
            .map_err(|why| Status::unavailable(why.to_string()))?;
        let forgets = client.view.flavour == Flavour::Grpc;
        let session = Session::new(shelves.borrow_and_update().clone(), forgets);
        tracing::debug!(peer = %self.peer, node = client.id, agent = client.agent, mode = ?P::MODE, "an xDS stream is open");
        let registered = self.shared.registry.open(Record {
            client,
            peer: self.peer,
            mode: P::MODE,
            since: Instant::now(),
            session: Mutex::new(session),
            behind: Mutex::default(),
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
        Said::Ack(kind) => {
            registry.answered(kind, true);
            record.answered(kind, true);
        }
        Said::Nack(kind) => {
            registry.answered(kind, false);
            record.answered(kind, false);
            let standing = session.standing(kind);
            // Who refuses everything is not logged every time.
            if standing.nacks.is_power_of_two() {
                tracing::warn!(
                    node = record.client.id,
                    kind = kind.as_str(),
                    why = standing.nack.as_deref(),
                    refused = standing.nacks,
                    "an xDS client refused a response"
                );
            }
        }
    }
    Ok(())
}

impl Registry {
    /// The next response of a stream, counted.
    fn response<P: Protocol>(&self, registered: &Registered) -> Option<Result<Framed, Status>> {
        let record = &registered.record;
        let mut session = record.session.lock();
        let response = P::next(&mut session);
        record.note(&mut session, response.as_ref().map(|(kind, _)| *kind));
        drop(session);
        let (kind, response) = response?;
        let (fields, resources) = P::parts(response);
        let bytes = resources.iter().map(Bytes::len).sum();
        self.pushed(kind, resources.len(), bytes);
        Some(Framed::new(&fields, resources))
    }
}
