//! Moving bytes through a pipe, without seeing them. It must not decide when to.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;

use super::pipes::Pipe;
use super::socket::Socket;

/// Most of one splice.
const MOST: usize = 1 << 20;

/// Socket to pipe; 0 is the end of the stream. The pipe is empty when this is called, so that "would block" can only mean
/// that the socket has nothing.
pub(super) fn fill(
    cx: &mut Context<'_>,
    from: &mut Socket,
    pipe: &mut Pipe,
    most: usize,
) -> Poll<io::Result<usize>> {
    loop {
        // The runtime counts each such question, which bounds how many small pieces one poll moves.
        if let Socket::Watched(from) = from {
            ready!(from.poll_read_ready(cx))?;
        }
        let fd = from.fd()?;
        let moved = from.try_io(Interest::READABLE, || {
            move_bytes(fd, pipe.write_end(), most.min(MOST))
        });
        match moved {
            Ok(n) => {
                pipe.filled(n);
                return Poll::Ready(Ok(n));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                from.watched()?;
            }
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
}

/// Pipe to socket.
pub(super) fn drain(
    cx: &mut Context<'_>,
    pipe: &mut Pipe,
    to: &mut Socket,
    most: usize,
) -> Poll<io::Result<usize>> {
    loop {
        if let Socket::Watched(to) = to {
            ready!(to.poll_write_ready(cx))?;
        }
        let most = most.min(pipe.held());
        let fd = to.fd()?;
        match to.try_io(Interest::WRITABLE, || move_bytes(pipe.read_end(), fd, most)) {
            Ok(n) => {
                pipe.drained(n);
                return Poll::Ready(Ok(n));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                to.watched()?;
            }
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
}

fn move_bytes(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    most: usize,
) -> io::Result<usize> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    Ok(splice(from, None, to, None, most, flags)?)
}
