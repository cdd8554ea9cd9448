//! Sockets and their options: what is asked of the kernel, in one place. Nothing here knows what the bytes are.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use model::Keepalive;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use crate::config::Timeouts;

/// Longest idle time and interval of keepalive that the kernel takes (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL` of its tcp.h); it
/// counts both in whole seconds, from 1.
const KEEPALIVE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(32_767)];

/// Connections that have not been accepted yet; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Bytes that a peer takes in one segment, whatever its family and the way to it: the smallest of default segments (536, RFC 9293
/// section 3.7.1) less the timestamps in its header (12, RFC 7323 section 3.2).
const SEGMENT: usize = 524;

/// A connection older than this is worth the system calls that set up its upstream's keepalive.
pub(crate) const SETTLED: Duration = Duration::from_secs(1);

/// One listener for each worker, all on one address. The first bind is exclusive, so that a second gateway on the same
/// address fails loudly instead of taking half of its connections; only then is the address opened to the other workers.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn listen(
    address: SocketAddr,
    workers: usize,
    timeouts: &Timeouts,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = listener(address, timeouts)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    save_acks(&first)?;
    let first = TcpListener::from(first);
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        let next = listener(address, timeouts)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        next.listen(BACKLOG)?;
        save_acks(&next)?;
        listeners.push(next.into());
    }
    Ok((bound, listeners))
}

/// What is set here is inherited by every accepted socket, and costs it no system call.
fn listener(address: SocketAddr, timeouts: &Timeouts) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let SocketAddr::V6(v6) = address {
        // The wildcard listens on both families, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(*v6.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    set_keep_alive(SockRef::from(&socket), timeouts, None)?;
    Ok(socket)
}

/// Begins to connect, for `first` bytes that are sent at once and in one piece: they carry the handshake's last ACK too. More
/// needs [`hurry`] before it is sent, and [`keep_alive`] is for a connection that lives.
///
/// # Errors
/// When the kernel refuses at once: no descriptor, no local port, no route.
pub(crate) fn connect(address: SocketAddr, first: usize) -> io::Result<StdTcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    save_acks(&socket)?;
    if first > SEGMENT {
        hurry(&socket)?;
    }
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(fault) => Err(fault.into()),
    }
}

/// No piece waits for the ACK of the one before it: the second flight of a handshake may come in two. Accepted sockets have it from
/// their listener. A connection whose client says no more than a hello is spared the system call.
///
/// # Errors
/// When the kernel refuses, which it does for no TCP socket.
pub(crate) fn hurry(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(socket, true)?)
}

/// Lets ACKs wait for bytes to go with, from the first segment on. We answer what we read, so a segment less goes out for the
/// hello, for the endpoint's first bytes, and at the end of its handshake: a sixth of what a short connection sends. Where no bytes
/// follow, the kernel sends the ACK after 40 ms, and goes back to its own ways (`TCP_QUICKACK` of tcp(7), "pingpong" in its code).
/// Accepted sockets have it from their listener.
fn save_acks(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_quickack(socket, false)?)
}

/// Keepalive and user timeout for the upstream leg; `own` is what the service's policy says. A socket that fails here is about
/// to fail anyway.
pub(crate) fn keep_alive(socket: BorrowedFd<'_>, timeouts: &Timeouts, own: Option<Keepalive>) {
    let _ = set_keep_alive(SockRef::from(&socket), timeouts, own);
}

/// A span that the kernel does not take becomes the closest one that it does: a connection must not lose its user timeout by
/// what a service's policy says of its keepalive.
fn set_keep_alive(
    socket: SockRef<'_>,
    timeouts: &Timeouts,
    own: Option<Keepalive>,
) -> io::Result<()> {
    let [least, most] = KEEPALIVE;
    let time = own.map_or(timeouts.keepalive, |own| own.time);
    let interval = own.map_or(timeouts.keepalive_interval, |own| own.interval);
    let keepalive = TcpKeepalive::new()
        .with_time(time.clamp(least, most))
        .with_interval(interval.clamp(least, most));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(timeouts.user))
}

/// Whether the peer has reset the connection. Costs a system call, so it is asked only while something is slow.
pub(crate) fn is_reset(socket: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match SockRef::from(socket).peek(&mut byte) {
        Ok(_) => false,
        Err(fault) => fault.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Want of descriptors or of local ports: no endpoint is to blame.
pub(crate) fn is_our_own(fault: &io::Error) -> bool {
    is_want(fault) || is_one_of(fault, &[Errno::ADDRNOTAVAIL, Errno::NOSPC, Errno::AGAIN])
}

/// Want of descriptors or memory: of what others give back all the time.
pub(crate) fn is_want(fault: &io::Error) -> bool {
    is_one_of(
        fault,
        &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM],
    )
}

fn is_one_of(fault: &io::Error, known: &[Errno]) -> bool {
    fault
        .raw_os_error()
        .is_some_and(|code| known.iter().any(|e| e.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would refuse is bent to what it takes, and the user timeout is there whatever a policy says.
    #[test]
    fn any_keepalive_leaves_the_user_timeout() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        for (span, seconds) in [
            (Duration::ZERO, 1),
            (Duration::from_millis(500), 1),
            (Duration::from_secs(90), 90),
            (hours(12), 32_767),
        ] {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let own = Keepalive {
                time: span,
                interval: span,
            };
            let timeouts = Timeouts::default();
            let set = set_keep_alive(SockRef::from(&socket), &timeouts, Some(own));
            assert!(set.is_ok(), "{span:?}: {set:?}");
            assert!(socket.keepalive().expect("an option"), "{span:?}");
            let expected = Duration::from_secs(seconds);
            assert_eq!(socket.tcp_keepalive_time().expect("an option"), expected);
            assert_eq!(
                socket.tcp_keepalive_interval().expect("an option"),
                expected
            );
            assert_eq!(
                socket.tcp_user_timeout().expect("an option"),
                Some(timeouts.user)
            );
        }
    }

    /// A hello that fits into a segment needs no hurry; the second segment of a larger one must not wait for an ACK.
    #[test]
    fn a_hello_of_two_segments_hurries() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        for (first, hurries) in [(SEGMENT, false), (SEGMENT + 1, true)] {
            let socket = connect(address, first).expect("connecting");
            let found = SockRef::from(&socket).tcp_nodelay().expect("an option");
            assert_eq!(found, hurries, "{first}");
        }
    }
}
