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

use crate::config::{Role, Timeouts};

/// Connections that have not been accepted yet; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

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
    saves_acks: bool,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = listener(address, timeouts)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    if saves_acks {
        save_acks(&first);
    }
    let first = TcpListener::from(first);
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        let next = listener(address, timeouts)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        next.listen(BACKLOG)?;
        if saves_acks {
            save_acks(&next);
        }
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

/// Begins to connect, for a hello that is sent in one piece. A second piece of anything needs [`hurry`] before it, and a
/// connection that lives [`keep_alive`].
///
/// # Errors
/// When the kernel refuses at once: no descriptor, no local port, no route.
pub(crate) fn connect(address: SocketAddr, saves_acks: bool) -> io::Result<StdTcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if saves_acks {
        save_acks(&socket);
    }
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(fault) => Err(meant(fault.into(), address)),
    }
}

/// What a fault of a connect means. With "address not available" the kernel says that all local ports towards the address are
/// taken, which is our own want; or that there is nothing to speak to it from, for instance an IPv6 address where IPv6 is switched off
/// (`disable_ipv6`), and then it is as far away as without a route. A datagram socket needs none of those ports, and tells them
/// apart.
pub(crate) fn meant(fault: io::Error, address: SocketAddr) -> io::Error {
    if !is_one_of(&fault, &[Errno::ADDRNOTAVAIL]) {
        return fault;
    }
    let family = Domain::for_address(address);
    let speaks =
        Socket::new(family, Type::DGRAM, None).map(|socket| socket.connect(&address.into()));
    match speaks {
        Ok(Err(same)) if is_one_of(&same, &[Errno::ADDRNOTAVAIL]) => Errno::NETUNREACH.into(),
        _ => fault,
    }
}

/// No small piece waits for the ACK of the small one before it (NODELAY): the second flight of a handshake may come in two. What is
/// written in one piece never waits (Linux delays by Minshall's rule), so a connection whose client says no more than a hello is
/// spared the system call. Accepted sockets have it from their listener. A socket that refuses is slower, and no worse.
pub(crate) fn hurry(socket: impl AsFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
}

/// Whether a listener's peers all send their small pieces without waiting for ACKs, so that ours may wait for bytes to go with: a
/// mesh's proxies do (Envoy sets NODELAY on both sides), of others nothing is known.
pub(crate) fn saves_acks(role: Role) -> bool {
    role != Role::Passthrough
}

/// Lets ACKs wait for bytes to go with, from the first segment on. We answer what we read, so a segment less goes out for the
/// hello, for the endpoint's first bytes, and at the end of its handshake: a sixth of what a short connection takes. Where no bytes
/// follow, the kernel sends the ACK after 40 ms (the handshake's after 200), and goes back to its own ways (`TCP_QUICKACK` of
/// tcp(7), "pingpong" in its code). Accepted sockets have it from their listener. A socket that refuses sends some segments more.
fn save_acks(socket: impl AsFd) {
    let _ = sockopt::set_tcp_quickack(socket, false);
}

/// Ends that for a peer of whose hello there is only a part: it may be one that waits for the ACK before it sends the rest.
pub(crate) fn ack_at_once(socket: impl AsFd) {
    let _ = sockopt::set_tcp_quickack(socket, true);
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
    let [least, most] =
        [Keepalive::SECONDS.start(), Keepalive::SECONDS.end()].map(|end| Duration::from_secs(*end));
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

    /// `tests/it/dialling.rs` has the kernel say it where there is nothing to speak from.
    #[test]
    fn what_is_reached_from_here_only_lacks_a_port() {
        let here = SocketAddr::from(([127, 0, 0, 1], 9));
        let fault = meant(Errno::ADDRNOTAVAIL.into(), here);
        assert!(is_our_own(&fault), "{fault}");
        let refused = meant(Errno::CONNREFUSED.into(), here);
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

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

    /// Every worker's listener has it and hands it on, and so has what connects; of a passthrough listener none has.
    #[test]
    fn acks_of_mesh_sockets_wait_for_bytes() {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        for role in [Role::Inbound, Role::Outbound, Role::Passthrough] {
            let saves = saves_acks(role);
            let (address, listeners) =
                listen(local, 2, &Timeouts::default(), saves).expect("listeners");
            assert_eq!(saves, role != Role::Passthrough);
            let peer = connect(address, saves).expect("connecting");
            let accepted = loop {
                let mut each = listeners.iter().map(TcpListener::accept);
                if let Some((accepted, _)) = each.find_map(Result::ok) {
                    break accepted;
                }
            };
            let at_once =
                |socket: BorrowedFd<'_>| sockopt::tcp_quickack(socket).expect("an option");
            let of_listeners = listeners.iter().map(|listener| at_once(listener.as_fd()));
            assert!(
                of_listeners
                    .chain([at_once(accepted.as_fd())])
                    .all(|at_once| at_once != saves)
            );
            ack_at_once(&accepted);
            assert!(at_once(accepted.as_fd()));
            drop(peer);
        }
    }
}
