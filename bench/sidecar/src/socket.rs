//! Sockets as a test wants them: an address of one's own, a port that is kept while nobody listens, one that answers nothing.
//! It must not know what is spoken over them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::TcpListener;

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

/// The filter that lets nothing in: `BPF_RET | BPF_K` of 0 bytes (linux/bpf_common.h).
const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// Swallows SYNs, as a host does that is gone: Linux asks a listener's filter before it looks at a packet (`tcp_v4_rcv`). The
/// filter is there before the listener is, so nobody slips in.
pub(crate) fn swallow(socket: &Socket) -> io::Result<()> {
    socket.attach_filter(&[NOTHING])?;
    socket.listen(0)
}
