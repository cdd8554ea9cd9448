//! An endpoint that says who it is, and can be told while it runs how to misbehave. It must not retry or hide anything:
//! what it is told to do is what the kernel shows to whoever connects.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use socket2::Socket;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::socket::{bind, listen, swallow};
use crate::{Pki, SIDECAR_ALPN};

/// A TLS server of the mesh. Each line that it is sent, it answers with `<who it is>\n`. Dropped, it is gone with its
/// connections.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Mutex<Door>,
    /// Its receivers are the connections: a send ends them, and so does its drop.
    kill: watch::Sender<()>,
}

/// How a backend treats new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Handshake, then answer each request.
    Serve,
    /// Handshake, then answer each request after this long.
    Delay(Duration),
    /// Nobody listens: the kernel answers with a reset.
    Refuse,
    /// The kernel answers nothing, as if the host were gone.
    Swallow,
    /// Accept, and reset once the first bytes are there.
    Reset,
    /// Accept, and never send a byte.
    Silence,
}

struct Shared {
    who: String,
    tls: TlsAcceptor,
    accepted: AtomicU64,
    requests: AtomicU64,
    open: watch::Sender<usize>,
}

/// What stands at the port; the port is kept whatever stands there.
enum Door {
    Listening(JoinHandle<()>),
    /// Refuses or swallows.
    Shut {
        _kept: Socket,
    },
    /// Between two of the others, or after a change that failed.
    Nothing,
}

impl Backend {
    /// Serves on a free port of `ip` as `who`, by convention `region/zone/name`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(pki: &Pki, who: &str, ip: IpAddr) -> io::Result<Self> {
        let config = pki.server_config(&["istio"]);
        Self::start_with(config, who, SocketAddr::new(ip, 0)).await
    }

    /// Serves on this address with this TLS configuration.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_with(
        config: Arc<ServerConfig>,
        who: &str,
        address: SocketAddr,
    ) -> io::Result<Self> {
        let socket = bind(address)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        let backend = Self {
            address,
            shared: Arc::new(Shared {
                who: who.to_owned(),
                tls: TlsAcceptor::from(config),
                accepted: AtomicU64::new(0),
                requests: AtomicU64::new(0),
                open: watch::Sender::new(0),
            }),
            door: Mutex::new(Door::Nothing),
            kill: watch::Sender::new(()),
        };
        *backend.door.lock().await = backend.listening(socket, Behaviour::Serve)?;
        Ok(backend)
    }

    /// Where it listens; the same for its whole life.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it says it is.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.shared.who
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Requests answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Waits until so many of its connections are open.
    pub async fn until_open(&self, connections: usize) {
        let mut open = self.shared.open.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = open.wait_for(|open| *open == connections).await;
    }

    /// Behaves so towards connections made from now on; in force when this returns. Open connections go on as they were.
    ///
    /// # Errors
    /// When the port cannot be bound again, or the kernel has no filters for sockets.
    pub async fn set(&self, behaviour: Behaviour) -> io::Result<()> {
        let mut door = self.door.lock().await;
        if let Door::Listening(task) = &mut *door {
            task.abort();
            // Only when the task has ended is its listener closed; how it ended is known.
            let _ = task.await;
        }
        *door = Door::Nothing;
        let socket = bind(self.address)?;
        *door = match behaviour {
            Behaviour::Refuse => Door::Shut { _kept: socket },
            Behaviour::Swallow => {
                swallow(&socket)?;
                Door::Shut { _kept: socket }
            }
            _ => self.listening(socket, behaviour)?,
        };
        Ok(())
    }

    /// Ends every open connection at once, as the end of a process does; over when this returns. New ones are not
    /// affected: [`Self::set`] comes first where they are to be.
    pub async fn cut(&self) {
        self.kill.send_replace(());
        self.until_open(0).await;
    }

    /// Refuses new connections and ends the open ones: a process that has died.
    ///
    /// # Errors
    /// When the port cannot be bound again.
    pub async fn die(&self) -> io::Result<()> {
        self.set(Behaviour::Refuse).await?;
        self.cut().await;
        Ok(())
    }

    /// Serves again, on the same port.
    ///
    /// # Errors
    /// When the port cannot be bound again.
    pub async fn revive(&self) -> io::Result<()> {
        self.set(Behaviour::Serve).await
    }

    fn listening(&self, socket: Socket, behaviour: Behaviour) -> io::Result<Door> {
        let listener = listen(socket)?;
        let accepting = accept(
            listener,
            behaviour,
            Arc::clone(&self.shared),
            // A sender rather than a receiver: one that is cloned later would miss what was sent before.
            self.kill.clone(),
        );
        Ok(Door::Listening(tokio::spawn(accepting)))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Door::Listening(task) = self.door.get_mut() {
            task.abort();
        }
        self.kill.send_replace(());
    }
}

async fn accept(
    listener: TcpListener,
    behaviour: Behaviour,
    shared: Arc<Shared>,
    kill: watch::Sender<()>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // A connection that was reset in the queue, or no descriptor left: one may be free a little later.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let open = Open::new(&shared);
        let mut killed = kill.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                // Whatever ends a connection, its client has seen it; nobody here has more to say about it.
                _ = converse(stream, behaviour, &open.0) => {}
                _ = killed.changed() => {}
            }
        });
    }
}

async fn converse(stream: TcpStream, behaviour: Behaviour, shared: &Shared) -> io::Result<()> {
    let delay = match behaviour {
        Behaviour::Reset => {
            stream.readable().await?;
            return stream.set_zero_linger();
        }
        Behaviour::Silence => return std::future::pending().await,
        Behaviour::Delay(delay) => delay,
        _ => Duration::ZERO,
    };
    stream.set_nodelay(true)?;
    let stream = shared.tls.accept(stream).await?;
    let chosen = stream.get_ref().1.alpn_protocol();
    if !SIDECAR_ALPN
        .iter()
        .any(|name| chosen == Some(name.as_bytes()))
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut stream = BufStream::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await? > 0 {
        line.clear();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        shared.requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(shared.who.as_bytes()).await?;
        stream.write_all(b"\n").await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}

/// One open connection, counted while it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.send_modify(|open| *open += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests;
