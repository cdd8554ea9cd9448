//! What the data path is told at its start. How it is read from a file is the gateway's business.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use model::Viewpoint;

/// Everything the data path needs to know before the first snapshot.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens, and what for.
    pub listeners: Vec<Listener>,
    /// Number of workers: threads with a runtime of their own.
    pub workers: usize,
    /// How long a worker through which bytes have passed looks for more before it sleeps; zero: it sleeps at once.
    pub busy_poll: Duration,
    /// Where the gateway itself stands.
    pub viewpoint: Viewpoint,
    /// Whether endpoints with loopback addresses may be dialled; only a file source may allow it.
    pub allow_loopback: bool,
    /// Design section 6.4: a zone is preferred until it hurts. `false` keeps traffic in its zone whatever its load.
    pub zone_spill: bool,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// Limits in number and size.
    pub limits: Limits,
    /// How the gateways of other networks are asked whether they are there.
    pub probes: Probes,
    /// Whether others are told by this gateway where to go, as xDS clients are: then the gateways of other networks matter even
    /// if no listener here leads to them. Else those of a gateway without an outbound listener are not probed: it would be work
    /// for everybody and news for nobody.
    pub advises: bool,
    /// Connections that are closed while they could go on.
    pub closing: Closing,
    /// What is reported of connections that ended.
    pub reports: Reports,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// What for.
    pub role: Role,
    /// Who sends a PROXY header before the hello, and must; `None`: nobody does.
    pub proxy_sources: Option<Vec<IpNet>>,
}

impl Listener {
    /// A listener without PROXY headers.
    #[must_use]
    pub const fn new(address: SocketAddr, role: Role) -> Self {
        Self {
            address,
            role,
            proxy_sources: None,
        }
    }

    /// Whether who connects from here is to send a PROXY header, which says who the client is.
    pub(crate) fn takes_header_from(&self, peer: IpAddr) -> bool {
        let mut sources = self.proxy_sources.iter().flatten();
        sources.any(|source| source.contains(&peer))
    }
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Mesh names from other networks, to endpoints of our own network.
    Inbound,
    /// Mesh names from local workloads, to the closest endpoint of any network.
    Outbound,
    /// Plain host names, to endpoints of our own network; no ALPN gate.
    Passthrough,
}

/// Limits in time.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From accept to the last byte of the hello. 10 s; Envoy's listener filters have 15 s.
    pub hello: Duration,
    /// One connection attempt. 3 s: one retransmitted SYN (RFC 6298 section 2.1) and the answer to it.
    pub connect: Duration,
    /// All attempts of one connection together. 10 s, Istio's connect timeout for one attempt.
    pub dial: Duration,
    /// The least time an attempt has before the next one starts beside it. 250 ms, RFC 8305 section 5's recommendation.
    pub stagger: Duration,
    /// TCP_KEEPIDLE on both legs.
    pub keepalive: Duration,
    /// TCP_KEEPINTVL on both legs.
    pub keepalive_interval: Duration,
    /// TCP_USER_TIMEOUT on both legs; on Linux it replaces the number of keepalive probes.
    pub user: Duration,
}

/// Limits in number and size.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; `None`: as many as the file limit allows.
    pub connections: Option<usize>,
    /// Open connections of one source address; `None`: no limit.
    pub connections_per_source: Option<usize>,
    /// Bytes of one hello, record headers included.
    pub hello_bytes: usize,
    /// Bytes of all hellos that are held together.
    pub pending_hello_bytes: usize,
}

/// Probes of the gateways of other networks (design section 7).
///
/// With the defaults an address that swallows everything is out 4.2 s after it last answered: the longest interval, and
/// three limits.
#[derive(Clone, Copy, Debug)]
pub struct Probes {
    /// Whether there are any.
    pub active: bool,
    /// Time without a sign of life before an address is asked, a tenth more or less. 1 s.
    pub interval: Duration,
    /// How long an address may take to answer the hello, the connect included. 1 s: three times the way round the world.
    pub timeout: Duration,
    /// So many failures of the last `of` and it is dead. 3, as with dials.
    pub fall: u32,
    /// So many signs of life of the last `of` and it is back. 2.
    pub rise: u32,
    /// How many of the latest probes count, 32 at most. 4.
    pub of: u32,
}

/// Connections that are closed while they could go on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Closing {
    /// Older ones are closed at a quiet moment, a tenth earlier or later; `None`: none is too old.
    pub max_age: Option<Duration>,
    /// So many of those that have a closer place again are closed each second; 0: none.
    pub failback_per_second: u32,
}

/// What is reported of connections that ended.
#[derive(Clone, Copy, Debug)]
pub struct Reports {
    /// Failures of one reason in a second; what is beyond is counted.
    pub failures_per_second: u32,
    /// Share of the others, from 0 to 1.
    pub successes: f64,
}

impl Default for Config {
    /// One worker without listeners, somewhere; the defaults of everything else.
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            workers: 1,
            busy_poll: Duration::ZERO,
            viewpoint: Viewpoint::default(),
            allow_loopback: false,
            zone_spill: true,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            probes: Probes::default(),
            advises: false,
            closing: Closing::default(),
            reports: Reports::default(),
        }
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            failures_per_second: 100,
            successes: 0.0,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            connect: Duration::from_secs(3),
            dial: Duration::from_secs(10),
            stagger: Duration::from_millis(250),
            keepalive: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(10),
            user: Duration::from_secs(300),
        }
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            active: true,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
            of: 4,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_source: None,
            hello_bytes: 64 << 10,
            pending_hello_bytes: 32 << 20,
        }
    }
}

impl Role {
    /// Its name in configuration, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Passthrough => "passthrough",
        }
    }
}
