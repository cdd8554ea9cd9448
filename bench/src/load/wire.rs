//! One connection of the load or of an endpoint, with TLS or without. It must not look into what it moves, nor copy what
//! nobody reads.

use std::io;
use std::net::SocketAddr;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio_rustls::{TlsConnector, TlsStream};

use super::plan::Opening;

/// What a bulk stream moves at once: large enough that its system calls cost nothing beside it.
pub(crate) const CHUNK: usize = 256 * 1024;

/// An open connection.
pub(crate) enum Wire {
    Bare(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How far a connection came before it failed.
pub(crate) enum Unopened {
    Connect(io::Error),
    Handshake(io::Error),
}

impl Wire {
    /// Connects, without a word yet.
    pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, Unopened> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(Unopened::Connect)?;
        stream.set_nodelay(true).map_err(Unopened::Connect)?;
        Ok(stream)
    }

    /// Connects, and sends the hello or shakes hands.
    pub(crate) async fn open(address: SocketAddr, opening: &Opening) -> Result<Self, Unopened> {
        let mut stream = Self::connect(address).await?;
        match opening {
            Opening::Bare(hello) => {
                stream.write_all(hello).await.map_err(Unopened::Handshake)?;
                Ok(Self::Bare(stream))
            }
            Opening::Tls(config, name) => {
                let connector = TlsConnector::from(config.clone());
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(Unopened::Handshake)?;
                Ok(Self::Tls(Box::new(stream.into())))
            }
        }
    }

    /// Sends all of it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Bare(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// What is there, 0 at the end.
    pub(crate) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bare(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
        }
    }

    /// As many bytes as the buffer holds.
    pub(crate) async fn receive_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Bare(stream) => stream.read_exact(buffer).await?,
            Self::Tls(stream) => stream.read_exact(buffer).await?,
        };
        Ok(())
    }

    /// Takes away what is there and says how much it was, 0 at the end. Where it can, the kernel copies nothing (`MSG_TRUNC`,
    /// tcp(7)), so that reading does not take from the cores what the measured proxy is to show.
    pub(crate) async fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self::Bare(stream) = self else {
            return self.receive(buffer).await;
        };
        // What is always readable would otherwise never let another task run.
        consume_budget().await;
        loop {
            let taken = stream.try_io(Interest::READABLE, || {
                Ok(recv(&*stream, &mut *buffer, RecvFlags::TRUNC)?.1)
            });
            match taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.readable().await?;
                }
                other => return other,
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Bare(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
        }
    }

    /// Whether there is TLS on it.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}
