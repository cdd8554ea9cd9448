//! The client's socket: known to the runtime only once that is needed, because a hello is nearly always there at accept
//! and reading it before the registration saves waking up for it.

use std::io::{self, Read};
use std::net::TcpStream as StdTcpStream;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::sockets;

/// The client's socket, non-blocking.
#[derive(Debug)]
pub(crate) enum Client {
    /// As it came from the listener.
    Raw(StdTcpStream),
    /// Registered with the worker's runtime.
    Registered(TcpStream),
    /// Lost in a failed registration.
    Lost,
}

impl Client {
    pub(super) fn new(socket: StdTcpStream) -> Self {
        Self::Raw(socket)
    }

    /// Reads what is there, without waiting. After a read that does not fill the buffer the socket counts as drained: only
    /// what comes later makes it readable again, and shows that the client has said more than its hello.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(socket) => (&*socket).read(buffer),
            Self::Registered(socket) => {
                let mut read = Err(io::ErrorKind::WouldBlock.into());
                let drained = socket.try_io(Interest::READABLE, || {
                    let n = (&*SockRef::from(socket)).read(buffer)?;
                    read = Ok(n);
                    if n < buffer.len() {
                        Err(io::ErrorKind::WouldBlock.into())
                    } else {
                        Ok(())
                    }
                });
                match drained {
                    Err(fault) if fault.kind() != io::ErrorKind::WouldBlock => Err(fault),
                    _ => read,
                }
            }
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Lets its sender go on at once: see [`sockets::ack_at_once`].
    pub(super) fn ack_at_once(&self) {
        match self {
            Self::Raw(socket) => sockets::ack_at_once(socket),
            Self::Registered(socket) => sockets::ack_at_once(socket),
            Self::Lost => {}
        }
    }

    /// The registered socket; registers it if need be (one `epoll_ctl`).
    pub(super) fn register(&mut self) -> io::Result<&TcpStream> {
        if let Self::Raw(_) = self
            && let Self::Raw(socket) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Registered(TcpStream::from_std(socket)?);
        }
        match self {
            Self::Registered(socket) => Ok(socket),
            Self::Raw(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Gives the registered socket away.
    pub(super) fn into_registered(self) -> io::Result<TcpStream> {
        match self {
            Self::Registered(socket) => Ok(socket),
            Self::Raw(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
