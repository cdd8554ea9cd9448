//! Bytes without TLS on both sides of a gateway, for stories about relaying. It must not interpret what it moves.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::socket::{bind, listen};

/// A plain TCP listener. With [`RawBackend::echo`] it serves itself; else the test takes its connections and plays the
/// endpoint.
pub struct RawBackend {
    address: SocketAddr,
    door: Door,
}

enum Door {
    Manual(TcpListener),
    Echo(JoinHandle<()>),
}

/// One plain TCP connection: a client's, or an endpoint's side of one.
pub struct RawClient {
    stream: TcpStream,
}

/// How the other side ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Closed.
    Fin,
    /// Reset.
    Reset,
}

impl RawBackend {
    /// Listens; port 0 takes a free one. Nothing is accepted but by [`Self::accept`].
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = listen(bind(address)?)?;
        Ok(Self {
            address: listener.local_addr()?,
            door: Door::Manual(listener),
        })
    }

    /// Listens and sends everything back that comes, half-closing when the client does.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn echo(address: SocketAddr) -> io::Result<Self> {
        let listener = listen(bind(address)?)?;
        Ok(Self {
            address: listener.local_addr()?,
            door: Door::Echo(tokio::spawn(echo_all(listener))),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection.
    ///
    /// # Errors
    /// The listener's own; and always for [`Self::echo`], which takes its connections itself.
    pub async fn accept(&self) -> io::Result<RawClient> {
        match &self.door {
            Door::Manual(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(RawClient { stream })
            }
            Door::Echo(_) => Err(io::Error::other("an echo takes its connections itself")),
        }
    }
}

impl Drop for RawBackend {
    fn drop(&mut self) {
        if let Door::Echo(task) = &self.door {
            task.abort();
        }
    }
}

impl RawClient {
    /// Connects.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// The socket, for what the other methods do not do.
    #[must_use]
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Receives exactly so many bytes.
    ///
    /// # Errors
    /// The kernel's, and `UnexpectedEof` when fewer come.
    pub async fn receive(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    /// Receives until the other side ends its direction: what came, and how it ended.
    pub async fn drain(&mut self) -> (Vec<u8>, Ended) {
        let mut bytes = Vec::new();
        // What was read before an error stays in `bytes`.
        let ended = match self.stream.read_to_end(&mut bytes).await {
            Ok(_) => Ended::Fin,
            Err(_) => Ended::Reset,
        };
        (bytes, ended)
    }

    /// Sends FIN; receiving goes on.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Sends RST, throwing away what waits in either direction.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }
}

/// So many bytes that do not repeat within 64 KiB, so that a lost, doubled or moved piece shows.
#[must_use]
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count.div_ceil(2))
        .flat_map(|n| (n as u16).wrapping_mul(0x9e37).to_be_bytes())
        .take(count)
        .collect()
}

async fn echo_all(listener: TcpListener) {
    // Dropped with this task, and the connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(echo(stream));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

#[cfg(test)]
mod tests;
