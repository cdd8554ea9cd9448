//! Sockets as a test wants them: an address of one's own, a port that is kept while nobody listens, a queue that is full.
//! It must not know what is spoken over them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// A loopback address that no other caller in this process has had: 127.64.0.1 and up, so that each endpoint is a host of
/// its own. They repeat after four million.
#[must_use]
pub fn fresh_loopback() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    // Never .0 or .255 as the last byte, which some tools take for a network or a broadcast.
    let (middle, last) = (n / 254, n % 254 + 1);
    let [_, high, low, _] = (middle << 8).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 64 | high & 0x3f, low, last as u8))
}

/// A socket bound to the address, which answers connects with a reset as long as it does not listen, and keeps the port
/// from everybody else. Port 0 takes a free one.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the listener before this one may still stand in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Starts to listen, with room for a crowd.
pub(crate) fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// A listener that swallows SYNs: its accept queue is full and nobody empties it, so Linux drops each further SYN
/// (`tcp_conn_request` looks at `sk_acceptq_is_full` first), whatever `tcp_abort_on_overflow` says of the last ACK.
pub(crate) struct Swallow {
    _listener: Socket,
    _fillers: Vec<TcpStream>,
}

/// Most connections that may be needed to fill a queue of backlog 0: Linux takes one.
const FILLERS: usize = 8;

/// A filler that is not connected by then is one whose SYN was dropped. Loopback connects in well under a millisecond.
const FILLED: Duration = Duration::from_millis(100);

impl Swallow {
    pub(crate) async fn start(socket: Socket) -> io::Result<Self> {
        socket.listen(0)?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut fillers = Vec::new();
        while let Ok(filler) = tokio::time::timeout(FILLED, TcpStream::connect(address)).await {
            fillers.push(filler?);
            if fillers.len() > FILLERS {
                return Err(io::Error::other(format!(
                    "{address} still accepts after {FILLERS} connections: its queue cannot be filled on this kernel"
                )));
            }
        }
        Ok(Self {
            _listener: socket,
            _fillers: fillers,
        })
    }
}
