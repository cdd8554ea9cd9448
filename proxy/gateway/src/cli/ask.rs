//! Asking a running gateway's admin API. It must not know what the answers mean.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read.
const ANSWER: u64 = 64 << 20;

/// Which gateway is asked, and how the answer is shown.
#[derive(Args, Debug)]
pub(super) struct Ask {
    /// The gateway's admin address.
    #[arg(long, default_value = "127.0.0.1:15000")]
    admin: SocketAddr,
    /// For people, or the admin API's own answer.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// As JSON.
    Json,
}

impl Ask {
    /// The answer to a GET.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let admin = self.admin;
        let no_gateway = || {
            format!(
                "no gateway answers on {admin}: is one running here, and is its admin address (gateway.yaml, admin.address) another one? Name it with --admin; in a cluster, forward the port first (kubectl port-forward POD 15000)"
            )
        };
        let answer = exchange(admin, path).with_context(no_gateway)?;
        let not_ours = || {
            format!(
                "what answers on {admin} is not a Causeway's admin API: 15020 and 15021 are its metrics and readiness, 15000 is admin"
            )
        };
        let text = String::from_utf8(answer).with_context(not_ours)?;
        let (head, body) = text.split_once("\r\n\r\n").with_context(not_ours)?;
        let status = head.lines().next().unwrap_or_default();
        if status.contains(" 404 ") && body.starts_with("nothing is here") {
            bail!("{}, or of another version", not_ours());
        }
        if !status.contains(" 200 ") {
            bail!("{}", body.trim_end());
        }
        serde_json::from_str(body).with_context(not_ours)
    }
}

fn exchange(admin: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}
