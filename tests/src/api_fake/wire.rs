//! HTTP/1.1 by hand, one request a connection: what no server library does can be done. It must not know what is asked for.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::answer::Answer;

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;

/// Serves one request.
pub(super) async fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    let mut stream = shared.acceptor.accept(stream).await?;
    let head = head(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let authorization = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization")
            .then(|| value.trim())
    });
    let answer = shared
        .state()
        .answer(path, authorization.unwrap_or_default());
    match answer {
        Answer::Whole(status, body) => {
            let length = body.len();
            start(&mut stream, status, &format!("content-length: {length}")).await?;
            stream.write_all(body.as_bytes()).await?;
        }
        Answer::Half(body) => {
            let length = body.len();
            start(&mut stream, 200, &format!("content-length: {length}")).await?;
            stream.write_all(&body.as_bytes()[..length / 2]).await?;
            stream.flush().await?;
            // What is not delivered yet goes with it.
            SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO))?;
            return Ok(());
        }
        Answer::Endless => {
            start(&mut stream, 200, "transfer-encoding: chunked").await?;
            let begin = "{\"metadata\":{\"resourceVersion\":\"200\"},\"items\":[";
            chunk(&mut stream, begin).await?;
            let objects =
                "{\"metadata\":{\"name\":\"one-more\",\"namespace\":\"default\"}},".repeat(100);
            // Until whoever reads has had enough.
            loop {
                chunk(&mut stream, &objects).await?;
            }
        }
        Answer::Watch(seconds) => {
            start(&mut stream, 200, "transfer-encoding: chunked").await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            stream.write_all(b"0\r\n\r\n").await?;
        }
        Answer::Never => std::future::pending().await,
    }
    stream.shutdown().await
}

async fn head(stream: &mut TlsStream<TcpStream>) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData.into())
}

async fn start(stream: &mut TlsStream<TcpStream>, status: u16, header: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n{header}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await
}

async fn chunk(stream: &mut TlsStream<TcpStream>, text: &str) -> io::Result<()> {
    let framed = format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(framed.as_bytes()).await
}
