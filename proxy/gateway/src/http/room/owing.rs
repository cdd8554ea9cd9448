//! A client's socket that knows whether an answer is still owed to its client. It must not delay or change a byte.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is owed to a client: an answer that is being made, or one that the kernel has not taken.
#[derive(Debug, Default)]
pub(in crate::http) struct Debt {
    asked: AtomicBool,
    unwritten: AtomicBool,
}

impl Debt {
    /// An answer is being made.
    pub(in crate::http) fn ask(&self) {
        self.asked.store(true, Relaxed);
    }

    /// It is made, and is written from now on.
    pub(in crate::http) fn answer(&self) {
        self.unwritten.store(true, Relaxed);
        self.asked.store(false, Relaxed);
    }

    /// Whether anything is owed.
    pub(super) fn is_open(&self) -> bool {
        self.asked.load(Relaxed) || self.unwritten.load(Relaxed)
    }
}

/// The socket.
pub(in crate::http) struct Owing {
    stream: TcpStream,
    debt: Arc<Debt>,
}

impl Owing {
    /// A socket whose answers are booked there.
    pub(in crate::http) const fn new(stream: TcpStream, debt: Arc<Debt>) -> Self {
        Self { stream, debt }
    }
}

impl AsyncRead for Owing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Owing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.debt.unwritten.store(true, Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.debt.unwritten.store(true, Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The server asks for this when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.debt.unwritten.store(false, Relaxed);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
