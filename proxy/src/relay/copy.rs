//! Moving bytes through a buffer. It must not decide when to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Most of one read: what a slow peer leaves of it has to be kept, so it is not the whole buffer of the worker.
const READ: usize = 64 << 10;

/// Reads once. tokio takes a read that does not fill the buffer as the end of what is there, so the next one waits for the
/// kernel to say so instead of asking it.
pub(super) fn read(
    cx: &mut Context<'_>,
    from: &mut TcpStream,
    buffer: &mut [u8],
    most: usize,
) -> Poll<io::Result<usize>> {
    let most = most.min(READ).min(buffer.len());
    let mut buffer = ReadBuf::new(&mut buffer[..most]);
    Pin::new(from)
        .poll_read(cx, &mut buffer)
        .map_ok(|()| buffer.filled().len())
}

/// Writes once.
pub(super) fn write(
    cx: &mut Context<'_>,
    to: &mut TcpStream,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    Pin::new(to).poll_write(cx, bytes)
}
