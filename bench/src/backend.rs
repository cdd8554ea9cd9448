//! An endpoint without TLS, cheap enough not to be what is measured. It must not look into what it receives.

use std::io;
use std::net::SocketAddr;

use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes of an answer: what `baseline.md`'s workload "new connection" has.
pub const ANSWER: usize = 256;

/// How an endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Manner {
    /// [`ANSWER`] bytes to the first bytes that come, then it closes.
    Answer,
    /// Everything goes back.
    Echo,
}

/// Listens (port 0 takes a free one) and serves until the task is aborted.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    manner: Manner,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let task = tokio::spawn(async move {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                // A client that goes away ends its own connection only.
                tokio::spawn(async move { answer(stream, manner).await.ok() });
            }
        }
    });
    Ok((bound, task))
}

async fn answer(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        match manner {
            Manner::Answer => {
                stream.write_all(&[b'x'; ANSWER]).await?;
                return stream.shutdown().await;
            }
            Manner::Echo => stream.write_all(&buffer[..count]).await?,
        }
    }
}
