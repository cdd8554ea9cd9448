//! A client that dials a gateway as a sidecar does: TCP, a hello with the mesh's name and ALPN, mutual TLS, requests. It
//! never retries: what fails here has failed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::hello::server_name;
use crate::{Error, HELLO_NAME, Kind, Pki, SIDECAR_ALPN};

/// How to reach one service through one gateway.
#[derive(Clone)]
pub struct Client {
    gateway: SocketAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    limit: Duration,
}

/// An open connection, its handshake done.
pub struct Connection {
    address: SocketAddr,
    local: SocketAddr,
    stream: BufStream<TlsStream<Watched>>,
    started: Instant,
    connect: Duration,
    handshake: Duration,
    limit: Duration,
}

/// One response, with the times of its connection, each since the connection was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered: `region/zone/name`.
    pub who: String,
    /// Until TCP was connected (to the gateway).
    pub connect: Duration,
    /// Until the TLS handshake was done (with the endpoint).
    pub handshake: Duration,
    /// Until the response was there; for a later request on the same connection, since that request was sent.
    pub first_byte: Duration,
}

impl Client {
    /// Asks for [`HELLO_NAME`] with [`SIDECAR_ALPN`], giving up after 15 s: longer than a gateway dials (10 s).
    ///
    /// # Panics
    /// Never: the name is one that rustls takes.
    #[must_use]
    pub fn new(pki: &Pki, gateway: SocketAddr) -> Self {
        Self {
            gateway,
            name: server_name(HELLO_NAME).expect("a DNS name"),
            config: pki.client_config(SIDECAR_ALPN),
            limit: Duration::from_secs(15),
        }
    }

    /// The same client with another server name.
    ///
    /// # Errors
    /// When the name cannot stand in a ClientHello.
    pub fn named(mut self, name: &str) -> io::Result<Self> {
        self.name = server_name(name)?;
        Ok(self)
    }

    /// The same client with another TLS configuration (see [`Pki::client_config`]).
    #[must_use]
    pub fn with_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.config = config;
        self
    }

    /// The same client with another limit for the handshake, and for each request.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// One request on a connection of its own, which is closed properly.
    ///
    /// # Errors
    /// [`Kind`] says how far it came.
    pub async fn ask(&self) -> Result<Answer, Error> {
        let mut connection = self.connect().await?;
        let mut answer = connection.ask().await?;
        answer.first_byte = connection.started.elapsed();
        connection.close().await;
        Ok(answer)
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// [`Kind`] says how far it came.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let started = Instant::now();
        let deadline = started + self.limit;
        let stream = match timeout_at(deadline, TcpStream::connect(self.gateway)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => return Err(self.failed(Kind::Connect, source)),
            Err(_) => return Err(self.failed(Kind::Connect, io::ErrorKind::TimedOut.into())),
        };
        let connect = started.elapsed();
        stream
            .set_nodelay(true)
            .map_err(|source| self.failed(Kind::Connect, source))?;
        let local = stream.local_addr();
        let local = local.map_err(|source| self.failed(Kind::Connect, source))?;
        let answered = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            stream,
            answered: Arc::clone(&answered),
        };
        let connecting =
            TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), watched);
        let stream = match timeout_at(deadline, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => {
                let kind = Kind::of(&source, answered.load(Ordering::Relaxed));
                return Err(self.failed(kind, source));
            }
            Err(_) => {
                let kind = match answered.load(Ordering::Relaxed) {
                    true => Kind::Slow,
                    false => Kind::Timeout,
                };
                return Err(self.failed(kind, io::ErrorKind::TimedOut.into()));
            }
        };
        Ok(Connection {
            address: self.gateway,
            local,
            stream: BufStream::with_capacity(256, 256, stream),
            started,
            connect,
            handshake: started.elapsed(),
            limit: self.limit,
        })
    }

    fn failed(&self, kind: Kind, source: io::Error) -> Error {
        Error {
            kind,
            address: self.gateway,
            source,
        }
    }
}

impl Connection {
    /// Our own end: the client, in the gateway's words.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// One request and its response.
    ///
    /// # Errors
    /// [`Kind::Cut`] when the connection ended first, [`Kind::Slow`] when the limit did.
    pub async fn ask(&mut self) -> Result<Answer, Error> {
        let sent = Instant::now();
        let failed = |kind, source| Error {
            kind,
            address: self.address,
            source,
        };
        match timeout_at(sent + self.limit, exchange(&mut self.stream)).await {
            Ok(Ok(who)) => Ok(Answer {
                who,
                connect: self.connect,
                handshake: self.handshake,
                first_byte: sent.elapsed(),
            }),
            Ok(Err(source)) => Err(failed(Kind::of(&source, true), source)),
            Err(_) => Err(failed(Kind::Slow, io::ErrorKind::TimedOut.into())),
        }
    }

    /// Waits until the other side has closed or reset the connection; it is of no use after that.
    pub async fn closed(&mut self) {
        // Whatever comes unasked is no response; the end is all that matters here.
        let _ = tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await;
    }

    /// Says close_notify and FIN, and waits for the other side to do so too, so that neither is left with a reset.
    pub async fn close(mut self) {
        if self.stream.shutdown().await.is_ok() {
            // An endpoint that does not close within the limit is not worth waiting for: nothing is owed any more.
            let limit = self.limit;
            let _ = tokio::time::timeout(limit, self.closed()).await;
        }
    }
}

async fn exchange(stream: &mut BufStream<TlsStream<Watched>>) -> io::Result<String> {
    stream.write_all(b"who\n").await?;
    stream.flush().await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    match line.pop() {
        Some('\n') => Ok(line),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A TCP stream that says whether anything has come: that is the difference between nobody and somebody who went away.
struct Watched {
    stream: TcpStream,
    answered: Arc<AtomicBool>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.answered.store(true, Ordering::Relaxed);
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
