//! A stream to a server: TCP, TLS, token, gRPC. It knows no resource.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Streaming};

use super::session::{Mode, Request, Response};
use crate::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};

/// Limit of TCP and TLS, and then of the server's first word.
const PATIENCE: Duration = Duration::from_secs(10);

/// Istio's agent asks whether the server is still there this often, and waits so long for the answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

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
    Delta(UnboundedSender<DeltaDiscoveryRequest>),
    Sotw(UnboundedSender<DiscoveryRequest>),
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
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        client = client.max_decoding_message_size(largest);
        let metadata = credentials(server)?;
        let ended = |status: tonic::Status| match status.code() {
            Code::Unimplemented if mode == Mode::Delta => Fault::NoDelta,
            _ => Fault::Ended(said(&status)),
        };
        let slow = || Fault::Ended(format!("no answer within {} s", PATIENCE.as_secs()));
        match mode {
            Mode::Delta => {
                let (to, requests) = unbounded_channel();
                let link = Outgoing::Delta(to);
                link.send(first);
                let mut call = tonic::Request::new(UnboundedReceiverStream::new(requests));
                *call.metadata_mut() = metadata;
                let opening = client.delta_aggregated_resources(call);
                let opened = tokio::time::timeout(PATIENCE, opening).await;
                let opened = opened.map_err(|_| slow())?.map_err(ended)?;
                let from = Incoming::Delta(opened.into_inner());
                Ok(Self { to: link, from })
            }
            Mode::Sotw => {
                let (to, requests) = unbounded_channel();
                let link = Outgoing::Sotw(to);
                link.send(first);
                let mut call = tonic::Request::new(UnboundedReceiverStream::new(requests));
                *call.metadata_mut() = metadata;
                let opening = client.stream_aggregated_resources(call);
                let opened = tokio::time::timeout(PATIENCE, opening).await;
                let opened = opened.map_err(|_| slow())?.map_err(ended)?;
                let from = Incoming::Sotw(opened.into_inner());
                Ok(Self { to: link, from })
            }
        }
    }

    /// Sends requests, in order.
    pub(crate) fn send(&self, requests: Vec<Request>) {
        self.to.send(requests);
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
    fn send(&self, requests: Vec<Request>) {
        for request in requests {
            match (self, request) {
                (Self::Delta(to), Request::Delta(request)) => drop(to.send(request)),
                (Self::Sotw(to), Request::Sotw(request)) => drop(to.send(request)),
                // A session speaks one protocol while a stream lives.
                (Self::Delta(_), Request::Sotw(_)) | (Self::Sotw(_), Request::Delta(_)) => {}
            }
        }
    }
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
