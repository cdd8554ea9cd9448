//! A stream to a server: TCP, TLS, token, gRPC. It knows no resource.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel as queue};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Streaming};

use super::session::{Mode, Request, Response};
use crate::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};

/// Limit of TCP and TLS.
const PATIENCE: Duration = Duration::from_secs(10);

/// Istio's agent asks whether the server is still there this often, and waits so long for the answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Requests that wait for a server that does not read; a session has one or two for each response.
const QUEUE: usize = 1_024;

/// Where the server is, and how it is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Host and port.
    pub address: String,
    /// TLS; `None`: plaintext, and then no token is sent.
    pub tls: Option<Tls>,
    /// A file with a token that says who we are, read for every stream (Istio's has the audience `istio-ca`).
    pub token: Option<PathBuf>,
    /// Our cluster, which tells istiod whose token that is (header `clusterid`).
    pub cluster: String,
}

/// How a server proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A file with the certificates that its own must descend from, read for every stream.
    pub roots: PathBuf,
    /// The name in its certificate; `None`: the host of its address.
    pub name: Option<String>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A file cannot be read, or makes no sense.
    #[error("{what} {}: {why}", path.display())]
    File {
        /// What the file is.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What is wrong; nothing of what stands in it.
        why: String,
    },
    /// The server cannot be reached, or proves to be another.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// The server.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// The server does not know this protocol.
    #[error("the server does not speak the delta protocol")]
    NoDelta,
    /// The server ends the stream, or has none for us.
    #[error("the stream ended: {0}")]
    Ended(String),
}

/// An open stream.
pub(crate) struct Link {
    to: Outgoing,
    from: Incoming,
}

enum Outgoing {
    Delta(Sender<DeltaDiscoveryRequest>),
    Sotw(Sender<DiscoveryRequest>),
}

enum Incoming {
    Delta(Streaming<DeltaDiscoveryResponse>),
    Sotw(Streaming<DiscoveryResponse>),
}

impl Link {
    /// Connects, and opens a stream with these first requests; a response with more bytes than `largest` ends it.
    pub(crate) async fn open(
        server: &Server,
        mode: Mode,
        first: Vec<Request>,
        largest: usize,
    ) -> Result<Self, Fault> {
        let channel = connect(server).await?;
        let metadata = credentials(server)?;
        Self::begin(channel, metadata, mode, first, largest).await
    }

    /// Opens a stream on a connection. A server may take its time: one of grpc-go, as istiod is, sends its headers with its
    /// first response, and one that has nothing for us none at all. Whether it is still there is asked by [`KEEPALIVE`].
    pub(super) async fn begin(
        channel: Channel,
        metadata: MetadataMap,
        mode: Mode,
        first: Vec<Request>,
        largest: usize,
    ) -> Result<Self, Fault> {
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        client = client.max_decoding_message_size(largest);
        let ended = |status: tonic::Status| match status.code() {
            Code::Unimplemented if mode == Mode::Delta => Fault::NoDelta,
            _ => Fault::Ended(said(&status)),
        };
        match mode {
            Mode::Delta => {
                let (to, requests) = queue(QUEUE);
                let link = Outgoing::Delta(to);
                link.send(first)?;
                let mut call = tonic::Request::new(ReceiverStream::new(requests));
                *call.metadata_mut() = metadata;
                let opened = client.delta_aggregated_resources(call).await;
                let opened = opened.map_err(ended)?;
                let from = Incoming::Delta(opened.into_inner());
                Ok(Self { to: link, from })
            }
            Mode::Sotw => {
                let (to, requests) = queue(QUEUE);
                let link = Outgoing::Sotw(to);
                link.send(first)?;
                let mut call = tonic::Request::new(ReceiverStream::new(requests));
                *call.metadata_mut() = metadata;
                let opened = client.stream_aggregated_resources(call).await;
                let opened = opened.map_err(ended)?;
                let from = Incoming::Sotw(opened.into_inner());
                Ok(Self { to: link, from })
            }
        }
    }

    /// Sends requests, in order.
    ///
    /// # Errors
    /// The server has stopped reading.
    pub(crate) fn send(&self, requests: Vec<Request>) -> Result<(), Fault> {
        self.to.send(requests)
    }

    /// The next response.
    pub(crate) async fn next(&mut self) -> Result<Response, Fault> {
        let (next, delta) = match &mut self.from {
            Incoming::Delta(from) => (
                from.message().await.map(|next| next.map(Response::Delta)),
                true,
            ),
            Incoming::Sotw(from) => (
                from.message().await.map(|next| next.map(Response::Sotw)),
                false,
            ),
        };
        match next {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(Fault::Ended("the server closed it".into())),
            Err(status) if delta && status.code() == Code::Unimplemented => Err(Fault::NoDelta),
            Err(status) => Err(Fault::Ended(said(&status))),
        }
    }
}

impl Outgoing {
    /// A stream that has ended takes nothing any more; that is seen at the other half.
    fn send(&self, requests: Vec<Request>) -> Result<(), Fault> {
        for request in requests {
            let is_full = match (self, request) {
                (Self::Delta(to), Request::Delta(request)) => is_full(&to.try_send(request)),
                (Self::Sotw(to), Request::Sotw(request)) => is_full(&to.try_send(request)),
                // A session speaks one protocol while a stream lives.
                (Self::Delta(_), Request::Sotw(_)) | (Self::Sotw(_), Request::Delta(_)) => false,
            };
            if is_full {
                return Err(Fault::Ended(format!(
                    "the server sends and does not read: {QUEUE} requests wait for it"
                )));
            }
        }
        Ok(())
    }
}

fn is_full<T>(sent: &Result<(), TrySendError<T>>) -> bool {
    matches!(sent, Err(TrySendError::Full(_)))
}

async fn connect(server: &Server) -> Result<Channel, Fault> {
    let address = &server.address;
    let unreachable = |fault: &dyn Error| Fault::Unreachable {
        address: address.clone(),
        why: chain(fault),
    };
    let scheme = if server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"));
    let mut endpoint = endpoint
        .map_err(|fault| unreachable(&fault))?
        .connect_timeout(PATIENCE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .keep_alive_while_idle(true);
    if let Some(tls) = &server.tls {
        let roots = read("the root certificates", &tls.roots)?;
        let host = address
            .rsplit_once(':')
            .map_or(&**address, |(host, _)| host);
        let name = tls.name.as_deref().unwrap_or(host);
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(roots))
            .domain_name(name.trim_matches(['[', ']']));
        endpoint = endpoint
            .tls_config(config)
            .map_err(|fault| unreachable(&fault))?;
    }
    let connecting = tokio::time::timeout(PATIENCE, endpoint.connect()).await;
    match connecting {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(fault)) => Err(unreachable(&fault)),
        Err(_) => Err(Fault::Unreachable {
            address: address.clone(),
            why: format!("no connection within {} s", PATIENCE.as_secs()),
        }),
    }
}

/// The token, if there is one and nobody can read it on its way.
fn credentials(server: &Server) -> Result<MetadataMap, Fault> {
    let mut metadata = MetadataMap::new();
    if let Ok(cluster) = AsciiMetadataValue::try_from(&server.cluster)
        && !server.cluster.is_empty()
    {
        metadata.insert("clusterid", cluster);
    }
    if let (Some(path), Some(_)) = (&server.token, &server.tls) {
        let token = read("the token", path)?;
        let bearer = format!("Bearer {}", String::from_utf8_lossy(&token).trim());
        let mut bearer = AsciiMetadataValue::try_from(bearer).map_err(|_| Fault::File {
            what: "the token",
            path: path.clone(),
            why: "it is no token: it has bytes that no header may have".into(),
        })?;
        bearer.set_sensitive(true);
        metadata.insert("authorization", bearer);
    }
    Ok(metadata)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(|fault| Fault::File {
        what,
        path: path.to_owned(),
        why: fault.to_string(),
    })
}

fn said(status: &tonic::Status) -> String {
    match status.message() {
        "" => format!("{:?}", status.code()),
        message => format!("{:?}: {message}", status.code()),
    }
}

/// A fault with everything that it came of; tonic says the first thing alone.
fn chain(fault: &dyn Error) -> String {
    let mut said = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said = format!("{said}: {cause_said}");
        }
        source = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every response is answered, so one that sends without end and never reads would take all memory.
    #[test]
    fn a_server_that_does_not_read_is_left() {
        let (to, mut requests) = queue(QUEUE);
        let outgoing = Outgoing::Sotw(to);
        let one = || vec![Request::Sotw(DiscoveryRequest::default())];
        for _ in 0..QUEUE {
            outgoing.send(one()).expect("there is room");
        }
        let fault = outgoing.send(one()).expect_err("there is no room");
        assert!(fault.to_string().contains("does not read"), "{fault}");
        requests.try_recv().expect("a request");
        outgoing.send(one()).expect("there is room again");
        // One that has ended is seen to have when it is heard.
        drop(requests);
        outgoing.send(one()).expect("nothing waits");
    }
}
