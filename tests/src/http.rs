//! Asking the gateway's HTTP servers, byte by byte, so that a story sees what came and can send what no library would.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status; 0 when it closed without an answer.
    pub status: u16,
    /// The lines above the body.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body, as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault} in {self:?}"))
    }
}

/// GET of a path, with the address itself as Host.
///
/// # Panics
/// When nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    // HTTP/1.0: a body of unknown length comes as it is, and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    answer.unwrap_or_else(|fault| panic!("GET {path} of {address}: {fault}"))
}

/// Sends these bytes on a new connection and reads until the server closes it.
///
/// # Errors
/// The kernel's. A connection that is reset after an answer is no error.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    // A server that refuses a request half-way may close before it has all of it.
    let sent = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes).await;
    if bytes.is_empty() {
        sent?;
        read?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1);
    Ok(Answer {
        status: status.and_then(|code| code.parse().ok()).unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// The sum of a metric's series in Prometheus' text whose labels hold all of `labels`, each like `reason="done"`.
#[must_use]
pub fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?;
        let whole = rest.is_empty() || rest.starts_with('{');
        let fits = whole && labels.iter().all(|label| rest.contains(label));
        fits.then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}
