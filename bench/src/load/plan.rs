//! What load to send: to whom, what, how much of it, for how long. It must not send anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sidecar::{Pki, client_hello_bytes};
use tokio::sync::Notify;

/// What one unit of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Connect, hello, the answer to its end.
    Connections,
    /// So many bytes there and back, on a connection that stays.
    RoundTrips,
    /// Bytes from the endpoint, as many as come.
    Download,
    /// Bytes to the endpoint, as many as go.
    Upload,
    /// Connections that are opened with a hello, and kept without a word.
    Idle,
    /// Connections that are opened without a hello.
    Silent,
}

/// How a connection begins.
#[derive(Clone)]
pub enum Opening {
    /// These bytes, a hello that nobody answers as TLS: the endpoint takes all that follows as it is.
    Bare(Arc<[u8]>),
    /// A TLS handshake.
    Tls(Arc<ClientConfig>, ServerName<'static>),
}

/// What to send.
#[derive(Clone)]
pub struct Plan {
    /// Where to: not empty; several are taken in turn.
    pub addresses: Vec<SocketAddr>,
    /// What.
    pub work: Work,
    /// How each connection begins.
    pub opening: Opening,
    /// Connections that stay, or are in flight.
    pub connections: usize,
    /// Bytes of a round trip, each way.
    pub bytes: usize,
    /// Ends after so many units of work.
    pub count: Option<u64>,
    /// Ends after so long; counted from the end of the warm-up.
    pub time: Option<Duration>,
    /// Work that comes first and is not counted.
    pub warmup: Duration,
    /// Open loop: so many units a second, whatever comes back. Without it each connection waits for its last answer.
    pub rate: Option<f64>,
    /// The load grows from nothing over this long: the rate in an open loop, else the number of connections.
    pub ramp: Duration,
    /// A unit of work that takes longer has failed.
    pub limit: Duration,
    /// Somebody who ends it before its time.
    pub end: Option<Arc<Notify>>,
}

impl Opening {
    /// A hello with this server name and these ALPN values, as rustls would send it.
    ///
    /// # Errors
    /// When `sni` is no DNS name.
    pub fn bare(sni: &str, alpn: &[&str]) -> Result<Self> {
        Ok(Self::Bare(
            client_hello_bytes(&Pki::new(), sni, alpn)?.into(),
        ))
    }

    /// A handshake with this server name, these ALPN values and the client's identity of `pki`.
    ///
    /// # Errors
    /// When `sni` is no DNS name.
    pub fn tls(pki: &Pki, sni: &str, alpn: &[&str]) -> Result<Self> {
        let name = ServerName::try_from(sni.to_owned())?;
        Ok(Self::Tls(pki.client_config(alpn), name))
    }
}

impl Plan {
    /// 64 connections, 128 bytes, a closed loop without end, 15 s for each unit: longer than a gateway dials (10 s).
    #[must_use]
    pub fn new(address: SocketAddr, work: Work, opening: Opening) -> Self {
        Self {
            addresses: vec![address],
            work,
            opening,
            connections: 64,
            bytes: 128,
            count: None,
            time: None,
            warmup: Duration::ZERO,
            rate: None,
            ramp: Duration::ZERO,
            limit: Duration::from_secs(15),
            end: None,
        }
    }

    /// Whether it can be carried out.
    ///
    /// # Errors
    /// Says what cannot be.
    pub fn check(&self) -> Result<()> {
        let counted = matches!(self.work, Work::Connections | Work::RoundTrips);
        ensure!(!self.addresses.is_empty(), "no address to send to");
        ensure!(
            self.connections > 0 && self.bytes > 0 && self.count != Some(0),
            "connections, bytes and count must be at least 1"
        );
        ensure!(
            self.count.is_some() || self.time.is_some(),
            "without a count or a time the load would never end: give one"
        );
        ensure!(
            counted || (self.count.is_none() && self.rate.is_none()),
            "{:?} has no units of work to count or to pace: give a time",
            self.work
        );
        ensure!(
            self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
            "a rate must be above 0"
        );
        Ok(())
    }
}
