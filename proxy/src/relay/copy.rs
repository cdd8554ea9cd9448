//! Moving bytes through a buffer. It must not decide when to.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Most of one read: what a slow peer leaves of it has to be kept, so it is not the whole buffer of the worker.
const READ: usize = 64 << 10;

/// What one read gave.
#[derive(Debug)]
pub(crate) struct Read {
    /// Bytes in the buffer; none: the source has ended.
    pub(crate) bytes: usize,
    /// What is known to come right behind them.
    pub(crate) behind: Behind,
    /// Nothing more is there now, as far as the runtime has been told; it wakes the task for more, unless the task's budget is used up.
    pub(super) drained: bool,
}

/// What follows the bytes that a source gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Its end.
    End,
    /// Nothing: it has failed. A socket tells its error once, so whoever gets this has to keep it.
    Fault(io::ErrorKind),
}

/// Reads once. A read that does not fill the buffer is taken as the end of what is there: the next one waits for the kernel to
/// say so instead of asking it, and the task is woken for that from now on. Where the kernel has already said that the peer has
/// closed, what follows is looked up too: then the last bytes and the end can be passed on together (see [`write_last`]).
pub(crate) fn read(
    cx: &mut Context<'_>,
    from: &TcpStream,
    buffer: &mut [u8],
    most: usize,
) -> Poll<io::Result<Read>> {
    let most = most.min(READ).min(buffer.len());
    let bytes = loop {
        match receive(from, &mut buffer[..most]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(from.poll_read_ready(cx))?;
            }
            received => break received?,
        }
    };
    let (more, behind, drained) = if bytes == 0 {
        (0, Behind::End, false)
    } else if bytes == most {
        (0, Behind::Unknown, false)
    } else if from.poll_read_ready(cx).is_pending() {
        (0, Behind::Unknown, true)
    } else {
        // A read that was short has cleared everything that the runtime knew, but for the peer's end.
        match receive(from, &mut buffer[bytes..most]) {
            Ok(0) => (0, Behind::End, false),
            Ok(more) => (more, Behind::Unknown, false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, Behind::Unknown, false),
            Err(error) => (0, Behind::Fault(error.kind()), false),
        }
    };
    Poll::Ready(Ok(Read {
        bytes: bytes + more,
        behind,
        drained,
    }))
}

/// Writes once.
pub(super) fn write(cx: &mut Context<'_>, to: &TcpStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        match send(to, bytes, SendFlags::NOSIGNAL) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(to.poll_write_ready(cx))?;
            }
            sent => return Poll::Ready(sent),
        }
    }
}

/// Writes once, without waiting, to a socket that the runtime does not watch.
pub(super) fn write_at_once(to: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(to, bytes, SendFlags::NOSIGNAL)?)
}

/// Writes once, without waiting, what is the last: the kernel keeps it for the FIN that the caller sends next, so that both go
/// out in one segment (`MSG_MORE`, tcp(7)).
pub(crate) fn write_last(to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    send(to, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)
}

fn receive(from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let room = buffer.len();
    once(from, Interest::READABLE, room, || {
        Ok(rustix::net::recv(from, &mut *buffer, RecvFlags::empty())?.0)
    })
}

fn send(to: &TcpStream, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    once(to, Interest::WRITABLE, bytes.len(), || {
        Ok(rustix::net::send(to, bytes, flags)?)
    })
}

/// One system call, if the runtime knows that the socket is ready for it; else "would block". Where it moves less than `most`,
/// nothing is left to move: the runtime is told so as it is told of "would block", and forgets that the socket was ready unless it
/// has heard of it anew. That is what its own reads and writes do, for a budget besides; and as with them, what comes behind a byte
/// of urgent data, before which the kernel ends a read (tcp(7)), waits for the next segment. TLS sends none.
fn once(
    socket: &TcpStream,
    ready_for: Interest,
    most: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut partly = 0;
    let all = socket.try_io(ready_for, || {
        let moved = call()?;
        if 0 < moved && moved < most {
            partly = moved;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(moved)
    });
    if partly > 0 { Ok(partly) } else { all }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener, TcpStream as StdTcpStream};

    use tokio::runtime::Builder;

    use super::*;

    /// Reads once, when the runtime knows what `said` of the peer has come to.
    fn read_once(
        say: impl FnOnce(StdTcpStream) -> Option<StdTcpStream>,
        until: fn(tokio::io::Ready) -> bool,
    ) -> (Vec<u8>, Behind) {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
            let address = listener.local_addr().expect("its address");
            let peer = StdTcpStream::connect(address).expect("connected");
            let (socket, _) = listener.accept().expect("accepted");
            socket.set_nonblocking(true).expect("a socket");
            let socket = TcpStream::from_std(socket).expect("registered");
            let _peer = say(peer);
            while !until(socket.ready(Interest::READABLE).await.expect("ready")) {
                tokio::task::yield_now().await;
            }
            let mut buffer = vec![0; 1 << 10];
            let read = std::future::poll_fn(|cx| read(cx, &socket, &mut buffer, 1 << 10)).await;
            let Read { bytes, behind, .. } = read.expect("a read");
            buffer.truncate(bytes);
            (buffer, behind)
        })
    }

    /// Bytes and the end that came with them are taken together, so that they can be passed on together.
    #[test]
    fn an_end_is_seen_with_the_last_bytes() {
        let closes = |mut peer: StdTcpStream| {
            peer.write_all(b"last").expect("sent");
            None
        };
        let read = read_once(closes, |ready| ready.is_read_closed());
        assert_eq!(read, (b"last".to_vec(), Behind::End));
    }

    #[test]
    fn of_a_peer_that_stays_nothing_is_known() {
        let stays = |mut peer: StdTcpStream| {
            peer.write_all(b"more").expect("sent");
            Some(peer)
        };
        let read = read_once(stays, |ready| ready.is_readable());
        assert_eq!(read, (b"more".to_vec(), Behind::Unknown));
    }

    #[test]
    fn an_end_alone_has_no_bytes() {
        let read = read_once(|_| None, |ready| ready.is_read_closed());
        assert_eq!(read, (Vec::new(), Behind::End));
    }
}
