//! A socket of a relay, which the runtime can be kept from watching. It must not move bytes.
//!
//! The runtime is told of each segment that comes (epoll(7), edge-triggered). While a stream waits for its sink nothing can be
//! done with what its source says meanwhile, and a worker with nothing else to do would be woken for each of those segments.

use std::io;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// The runtime wakes the task for it.
    Watched(TcpStream),
    /// Nobody is woken for it.
    Unwatched(StdTcpStream),
    /// The kernel would not have it watched again, and it is closed.
    Lost,
}

impl Socket {
    /// The socket, watched.
    ///
    /// # Errors
    /// When the kernel has no room for another watch.
    pub(super) fn watched(&mut self) -> io::Result<&TcpStream> {
        if let Self::Unwatched(_) = self {
            self.watch()?;
        }
        match self {
            Self::Watched(stream) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Lets nobody be woken for it until it is asked for as [`watched`](Self::watched).
    pub(super) fn unwatch(&mut self) {
        match std::mem::replace(self, Self::Lost) {
            Self::Watched(stream) => {
                if let Ok(socket) = stream.into_std() {
                    *self = Self::Unwatched(socket);
                }
            }
            same => *self = same,
        }
    }

    /// One system call. Of a watched one only if the runtime knows that it is ready for it; else "would block".
    pub(super) fn try_io<T>(
        &self,
        ready_for: Interest,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self {
            Self::Watched(stream) => stream.try_io(ready_for, call),
            Self::Unwatched(_) => call(),
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Its descriptor.
    ///
    /// # Errors
    /// When it is closed.
    pub(super) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Watched(stream) => Ok(stream.as_fd()),
            Self::Unwatched(socket) => Ok(socket.as_fd()),
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Nothing more is written to it, which its peer is told.
    ///
    /// # Errors
    /// When it is closed or not connected any more.
    pub(super) fn end(&self) -> io::Result<()> {
        SockRef::from(&self.fd()?).shutdown(Shutdown::Write)
    }

    #[cold]
    fn watch(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::Lost) {
            Self::Unwatched(socket) => *self = Self::Watched(TcpStream::from_std(socket)?),
            same => *self = same,
        }
        Ok(())
    }
}
