//! The configuration of one gateway: its fields, their defaults, and how a file, the environment and the command line
//! become them. It starts nothing.

mod check;
mod families;
mod kubernetes;
mod lifecycle;
mod load;
mod logs;
mod overrides;
mod probes;
mod ranges;
mod xds;
mod xds_source;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use discovery::Span;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::kubernetes::{Ceilings, Discovery, Kubernetes, Mtls, OneCluster};
pub use self::lifecycle::{Closing, Drain};
pub use self::load::{ConfigError, load, parse};
pub use self::logs::{AccessLog, AccessLogFormat, Level, Log, LogFormat, Successes};
pub use self::overrides::Override;
pub use self::probes::Probes;
pub use self::xds::{Xds, XdsMeshTls, XdsMeshTlsMode, XdsTls};
pub use self::xds_source::{Protocol, XdsSource};

/// The file `gateway.yaml`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gateway {
    /// Name of the cluster the gateway runs in. With `source.kubernetes` it is found out where it is not given, and so are
    /// `network`, `locality`, `namespace`, `workload` and `labels`.
    pub cluster: String,
    /// Name of the network the gateway stands in.
    pub network: String,
    /// Where the gateway stands: `region/zone/subzone`, the last two optional.
    pub locality: String,
    /// Namespace the gateway runs in.
    pub namespace: String,
    /// Name of the gateway's workload, for metrics.
    pub workload: String,
    /// Regions by preference, the closest first.
    pub regions: Vec<String>,
    /// Labels of the gateway itself.
    pub labels: BTreeMap<String, String>,
    /// Where the data path listens, and what for; `[::]` takes all addresses of both families, and where the kernel has no IPv6 those
    /// of IPv4.
    pub listeners: Vec<Listener>,
    /// The admin API.
    pub admin: Admin,
    /// Metrics; by default on `[::]:15020`, which takes both families.
    pub stats: Stats,
    /// Readiness and liveness; by default on `[::]:15021`.
    pub ready: Ready,
    /// Where services and endpoints come from.
    pub source: Source,
    /// How other clusters are found, and what is believed of them.
    pub discovery: Discovery,
    /// Serves what is known to Envoy and gRPC clients over xDS.
    pub xds: Xds,
    /// Number of workers, threads that serve connections; by default as many as CPU quota and affinity allow.
    pub workers: Option<usize>,
    /// Microseconds for which a worker through which bytes have just passed looks for more before it sleeps, at most 1000; 0 by
    /// default. It shortens round trips that are alone and go on within that time, and costs a worker up to its whole core while
    /// anything passes.
    pub busy_poll_micros: u32,
    /// Lets traffic leave its zone for the next one while it is overloaded there: `on` (default) or `off`.
    pub zone_spill: Switch,
    /// Limits in time.
    pub timeouts: Timeouts,
    /// Limits in number and size.
    pub limits: Limits,
    /// How the gateways of other networks are asked whether they are there.
    pub probes: Probes,
    /// How the gateway ends: what happens after SIGTERM.
    pub drain: Drain,
    /// Connections that are closed at a quiet moment while they could go on.
    pub closing: Closing,
    /// One line for each connection that ended.
    pub access_log: AccessLog,
    /// What is written to standard error.
    pub log: Log,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On.
    #[default]
    On,
    /// Off.
    Off,
}

/// Limits in time, each like `250ms`, `10s` or `5m`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// From accept to the last byte of the hello; `10s` by default.
    pub hello: Span,
    /// One connection attempt; `3s` by default.
    pub connect: Span,
    /// All attempts of one connection together; `10s` by default.
    pub dial: Span,
    /// The least time an attempt has before the next one starts beside it; `250ms` by default.
    pub stagger: Span,
    /// Quiet time before TCP asks whether the peer is still there, in whole seconds; `60s` by default.
    pub keepalive: Span,
    /// Time between two such questions, in whole seconds; `10s` by default.
    pub keepalive_interval: Span,
    /// How long a peer may leave our bytes unacknowledged, or those questions unanswered; `5m` by default.
    pub user: Span,
}

/// Limits in number and size.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections; by default as many as the file limit allows.
    pub connections: Option<usize>,
    /// Open connections of one source address, which of IPv6 too is a single one; no limit by default.
    pub connections_per_source: Option<usize>,
    /// Bytes of one hello, record headers included; 65536 by default.
    pub hello_bytes: usize,
    /// Bytes of all hellos that are still coming, and of those beyond 2 KB that wait for an endpoint; 33554432 (32 MiB) by default.
    pub pending_hello_bytes: usize,
}

/// One listener of the data path.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// What it is for.
    pub role: Role,
    /// The remote network that clients think they reach here, on an outbound listener: Istio's meshNetworks gives each
    /// network an address and port of its own. Only said in the log and in `/config`; what is picked is as free as on any
    /// outbound listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Wants a PROXY header (version 1 or 2) before the hello, from whom; nobody sends one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Who sends PROXY headers to a listener, and must.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// The load balancers' addresses, like `10.0.0.0/8` or `192.0.2.1`; who is in none of them is refused.
    #[serde(deserialize_with = "ranges::read")]
    #[schemars(with = "Vec<String>")]
    pub from: Vec<IpNet>,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Mesh names from other networks, to endpoints of our own.
    Inbound,
    /// Mesh names from local workloads, to any network.
    Outbound,
    /// Plain host names, to endpoints of our own network.
    Passthrough,
}

/// The admin API.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port; port 0 takes a free one.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Allows an address that is not loopback.
    pub allow_remote: bool,
}

/// Where metrics are read.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stats {
    /// Address and port; port 0 takes a free one.
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

/// Where readiness and liveness are asked for.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ready {
    /// Address and port; port 0 takes a free one.
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

/// Where services and endpoints come from; exactly one is set.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A mesh file, relative to the file that names it.
    pub file: Option<PathBuf>,
    /// Our own cluster, and those that its remote Secrets name: `{}` in a Pod.
    pub kubernetes: Option<Kubernetes>,
    /// An xDS server, istiod first, which decides what is routed where.
    pub xds: Option<XdsSource>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            network: String::new(),
            locality: String::new(),
            namespace: String::new(),
            workload: String::new(),
            regions: Vec::new(),
            labels: BTreeMap::new(),
            listeners: vec![Listener {
                address: any(15443),
                role: Role::Inbound,
                network: None,
                proxy_protocol: None,
            }],
            admin: Admin::default(),
            stats: Stats::default(),
            ready: Ready::default(),
            source: Source::default(),
            discovery: Discovery::default(),
            xds: Xds::default(),
            workers: None,
            busy_poll_micros: 0,
            zone_spill: Switch::On,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            probes: Probes::default(),
            drain: Drain::default(),
            closing: Closing::default(),
            access_log: AccessLog::default(),
            log: Log::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15000),
            allow_remote: false,
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            address: any(15020),
        }
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            address: any(15021),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let proxy::config::Timeouts {
            hello,
            connect,
            dial,
            stagger,
            keepalive,
            keepalive_interval,
            user,
        } = proxy::config::Timeouts::default();
        Self {
            hello: Span(hello),
            connect: Span(connect),
            dial: Span(dial),
            stagger: Span(stagger),
            keepalive: Span(keepalive),
            keepalive_interval: Span(keepalive_interval),
            user: Span(user),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let usual = proxy::config::Limits::default();
        Self {
            connections: usual.connections,
            connections_per_source: usual.connections_per_source,
            hello_bytes: usual.hello_bytes,
            pending_hello_bytes: usual.pending_hello_bytes,
        }
    }
}

impl Gateway {
    /// What the data path is told.
    #[must_use]
    pub fn to_proxy(&self) -> proxy::config::Config {
        let shared = |map: &BTreeMap<String, String>| {
            let entries = map.iter();
            entries
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect()
        };
        let listener = |listener: &Listener| proxy::config::Listener {
            address: listener.address,
            role: match listener.role {
                Role::Inbound => proxy::config::Role::Inbound,
                Role::Outbound => proxy::config::Role::Outbound,
                Role::Passthrough => proxy::config::Role::Passthrough,
            },
            proxy_sources: listener
                .proxy_protocol
                .as_ref()
                .map(|proxy| proxy.from.clone()),
        };
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        proxy::config::Config {
            listeners: self.listeners.iter().map(listener).collect(),
            workers: self.workers.unwrap_or_else(available),
            busy_poll: Duration::from_micros(self.busy_poll_micros.into()),
            viewpoint: model::Viewpoint {
                cluster: self.cluster.as_str().into(),
                network: self.network.as_str().into(),
                locality: self.locality.as_str().into(),
                labels: shared(&self.labels),
                regions: self
                    .regions
                    .iter()
                    .map(|region| region.as_str().into())
                    .collect(),
            },
            // A file is written by whoever runs the gateway, so it may name loopback endpoints.
            allow_loopback: self.source.file.is_some(),
            zone_spill: self.zone_spill == Switch::On,
            timeouts: self.timeouts.to_proxy(),
            limits: proxy::config::Limits {
                connections: self.limits.connections,
                connections_per_source: self.limits.connections_per_source,
                hello_bytes: self.limits.hello_bytes,
                pending_hello_bytes: self.limits.pending_hello_bytes,
            },
            probes: self.probes.to_proxy(),
            advises: self.xds.address.is_some(),
            closing: proxy::config::Closing {
                max_age: self.closing.max_age.map(|age| age.0),
                failback_per_second: self.closing.failback_per_second,
            },
            reports: proxy::config::Reports {
                failures_per_second: self.access_log.failures_per_second,
                successes: self.access_log.success_share(),
            },
        }
    }
}

impl Timeouts {
    fn to_proxy(&self) -> proxy::config::Timeouts {
        proxy::config::Timeouts {
            hello: self.hello.0,
            connect: self.connect.0,
            dial: self.dial.0,
            stagger: self.stagger.0,
            keepalive: self.keepalive.0,
            keepalive_interval: self.keepalive_interval.0,
            user: self.user.0,
        }
    }

    /// Each, with its key.
    fn each(&self) -> [(&'static str, Duration); 7] {
        [
            ("hello", self.hello.0),
            ("connect", self.connect.0),
            ("dial", self.dial.0),
            ("stagger", self.stagger.0),
            ("keepalive", self.keepalive.0),
            ("keepaliveInterval", self.keepalive_interval.0),
            ("user", self.user.0),
        ]
    }
}

/// All addresses, of both families.
const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

#[cfg(test)]
mod tests;
