//! Asking a running gateway's admin API. It must not know what the answers mean, and trusts nobody who happens to listen there.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::plain;
use crate::http::SERVER;

/// How long a gateway is waited for.
const PATIENCE: Patience = Patience {
    silence: Duration::from_secs(5),
    whole: Duration::from_secs(60),
};

/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 20;

/// Bytes of a refusal that are shown.
const REFUSAL: usize = 2_000;

/// Which gateway is asked, and how the answer is shown.
#[derive(Args, Debug)]
pub(super) struct Ask {
    /// The gateway's admin address; a port alone is one of this machine.
    #[arg(long, default_value = "127.0.0.1:15000", value_parser = admin)]
    admin: Admin,
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

/// The addresses that one name stands for, in the order in which they are tried; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Admin(Vec<SocketAddr>);

#[derive(Clone, Copy)]
struct Patience {
    /// Without a byte.
    silence: Duration,
    /// For the whole answer: a byte now and then is no progress.
    whole: Duration,
}

impl Ask {
    /// The answer to a GET.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        ask(&self.admin, path, PATIENCE)
    }
}

fn ask(admin: &Admin, path: &str, patience: Patience) -> anyhow::Result<Value> {
    let (stream, admin) = admin.connect(patience).with_context(|| {
        format!(
            "no gateway answers on {admin}: is one running here, and is its admin address (gateway.yaml, admin.address) another one? Name it with --admin; in a cluster, forward the port first (kubectl port-forward POD 15000)"
        )
    })?;
    let answer = exchange(stream, path, patience).with_context(|| {
        format!("{admin} was asked, but did not answer to the end: is it a gateway that is stopping or overloaded, or another program? (--admin names the address)")
    })?;
    let not_ours = || {
        format!(
            "what answers on {admin} is not a Causeway's admin API: 15020 and 15021 are its metrics and readiness, 15000 is admin"
        )
    };
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.with_context(not_ours)? + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let header = |name: &str| {
        let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let found = lines.find(|(known, _)| *known == name);
        found.map(|(_, value)| value.trim())
    };
    if header("server") != Some(SERVER) {
        bail!(not_ours());
    }
    let due = header("content-length").and_then(|length| length.parse::<usize>().ok());
    if answer.len() >= ANSWER {
        bail!(
            "the answer of {admin} has more than {} MiB: ask for it with curl, and part by part",
            ANSWER >> 20
        );
    }
    if due.is_some_and(|due| body.len() < due) {
        bail!(
            "{admin} stopped in the middle of its answer: the gateway has ended, or the way to it is cut; ask again"
        );
    }
    let status = head.lines().next().unwrap_or_default();
    if status.contains(" 404 ") && body.starts_with(b"nothing is here") {
        bail!("{}, or of another version", not_ours());
    }
    if !status.contains(" 200 ") {
        let said = String::from_utf8_lossy(&body[..body.len().min(REFUSAL)]);
        bail!("{}", plain(said.trim_end()));
    }
    serde_json::from_slice(body).with_context(not_ours)
}

fn exchange(mut stream: TcpStream, path: &str, patience: Patience) -> io::Result<Vec<u8>> {
    let begun = Instant::now();
    stream.set_write_timeout(Some(patience.silence))?;
    stream.set_read_timeout(Some(patience.silence))?;
    // HTTP/1.0: the answer comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut part = vec![0; 64 << 10];
    while answer.len() < ANSWER {
        if begun.elapsed() > patience.whole {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut part)? {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    Ok(answer)
}

impl Admin {
    /// To the first address where somebody listens; else what came of the first of all. Each has its part of the time.
    fn connect(&self, patience: Patience) -> io::Result<(TcpStream, SocketAddr)> {
        let part = patience.silence / u32::try_from(self.0.len()).unwrap_or(u32::MAX).max(1);
        let mut fault = None;
        for address in &self.0 {
            match TcpStream::connect_timeout(address, part) {
                Ok(stream) => return Ok((stream, *address)),
                Err(one) => fault = fault.or(Some(one)),
            }
        }
        Err(fault.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(" or "))
    }
}

/// An address, a name with a port, or a port of this machine. Of several addresses those of IPv4 first, as the default is one.
fn admin(text: &str) -> Result<Admin, String> {
    if let Ok(port) = text.parse::<u16>() {
        let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        return Ok(Admin(vec![four, six]));
    }
    let found = text.to_socket_addrs();
    let found = found.map_err(|fault| format!("{fault}: write an address like 127.0.0.1:15000"))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.dedup();
    if found.is_empty() {
        return Err("this name has no address".to_owned());
    }
    Ok(Admin(found))
}

#[cfg(test)]
mod tests;
