//! An endpoint, cheap enough not to be what is measured: with TLS or without, it can be slow and it can fail. It must not look
//! into what it receives.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::ValueEnum;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::load::wire::{CHUNK, Wire};

/// Bytes of an answer: as large as a small response of HTTP.
pub const ANSWER: usize = 256;
/// Connections that the kernel keeps for us to accept; it takes no more than `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// How an endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Manner {
    /// [`ANSWER`] bytes to the first bytes that come, its name in the first line; then it closes.
    Answer,
    /// Everything goes back.
    Echo,
    /// Bytes without end to the first bytes that come.
    Stream,
    /// Takes everything, and says at the end how many bytes came: 8 bytes, the highest first.
    Sink,
}

/// How a connection is made to fail, once its first bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// It is reset.
    Reset,
    /// It is closed.
    Close,
    /// It is kept, and nothing is said.
    Silence,
}

/// What an endpoint is like.
#[derive(Clone)]
pub struct Serving {
    /// How it answers.
    pub manner: Manner,
    /// Who it says it is; `region/zone/name` by convention.
    pub name: String,
    /// How long it thinks before each answer.
    pub delay: Duration,
    /// How some connections fail.
    pub fault: Fault,
    /// How many of them: from 0 to 1.
    pub share: f64,
    /// With TLS; what it presents and demands.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Serving {
    /// At once, without faults and without TLS.
    #[must_use]
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            name: "bench".to_owned(),
            delay: Duration::ZERO,
            fault: Fault::Reset,
            share: 0.0,
            tls: None,
        }
    }
}

/// An endpoint on a thread of its own. Dropped, it is gone with its connections.
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Serves on this address (port 0 takes a free one). `nice`: how far its thread steps back for others (nice(2)).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(address: SocketAddr, serving: Serving, nice: i32) -> io::Result<Self> {
        let (end, ended) = oneshot::channel();
        let (bound, listening) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("backend".to_owned())
            .spawn(move || {
                let served = crate::cores::step_back(nice).and_then(|()| {
                    let runtime = Builder::new_current_thread().enable_all().build()?;
                    LocalSet::new().block_on(&runtime, async {
                        let listener = listen(address)?;
                        // Whoever started this waits for it.
                        let _ = bound.send(listener.local_addr());
                        tokio::select! {
                            () = accept(listener, serving) => {}
                            _ = ended => {}
                        }
                        Ok(())
                    })
                });
                if let Err(error) = served {
                    let _ = bound.send(Err(error));
                }
            })?;
        let address = listening.recv().map_err(io::Error::other)??;
        Ok(Self {
            address,
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            thread.join().ok();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // What is accepted inherits it: one system call less for each connection.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, serving: Serving) {
    let serving = Rc::new(serving);
    let acceptor = serving.tls.clone().map(TlsAcceptor::from);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptor left, or a client that is gone already: there may be another a little later.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let serving = Rc::clone(&serving);
        let acceptor = acceptor.clone();
        // A client that goes away ends its own connection only.
        spawn_local(async move { serve(stream, acceptor, &serving).await.ok() });
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    serving: &Serving,
) -> io::Result<()> {
    if serving.share > 0.0 && fastrand::f64() < serving.share {
        stream.readable().await?;
        return match serving.fault {
            Fault::Reset => stream.set_zero_linger(),
            Fault::Close => Ok(()),
            Fault::Silence => std::future::pending().await,
        };
    }
    let mut wire = match acceptor {
        Some(acceptor) => Wire::Tls(Box::new(acceptor.accept(stream).await?.into())),
        None => Wire::Bare(stream),
    };
    match serving.manner {
        Manner::Answer => answer(&mut wire, serving).await,
        Manner::Echo => echo(&mut wire, serving).await,
        Manner::Stream => stream_out(&mut wire, serving).await,
        Manner::Sink => sink(&mut wire).await,
    }
}

async fn answer(wire: &mut Wire, serving: &Serving) -> io::Result<()> {
    let mut buffer = [0; 4096];
    if wire.receive(&mut buffer).await? > 0 {
        think(serving).await;
        let mut text = format!("{}\n", serving.name).into_bytes();
        text.resize(text.len().max(ANSWER), b'.');
        wire.send(&text).await?;
    }
    wire.finish().await
}

async fn echo(wire: &mut Wire, serving: &Serving) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = wire.receive(&mut buffer).await?;
        if count == 0 {
            return wire.finish().await;
        }
        think(serving).await;
        wire.send(&buffer[..count]).await?;
    }
}

async fn stream_out(wire: &mut Wire, serving: &Serving) -> io::Result<()> {
    // Under TLS the handshake was word enough.
    if !wire.is_tls() {
        wire.receive(&mut [0; 4096]).await?;
    }
    think(serving).await;
    let chunk = vec![b'.'; CHUNK];
    loop {
        wire.send(&chunk).await?;
    }
}

async fn sink(wire: &mut Wire) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut came = 0_u64;
    loop {
        let count = wire.discard(&mut buffer).await?;
        if count == 0 {
            break;
        }
        came += count as u64;
    }
    wire.send(&came.to_be_bytes()).await?;
    wire.finish().await
}

async fn think(serving: &Serving) {
    if !serving.delay.is_zero() {
        sleep(serving.delay).await;
    }
}
