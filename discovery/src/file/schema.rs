//! The form of `mesh.yaml`. It must not judge what the values mean together; that is `convert`'s.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::convert::Services;
use crate::Span;

/// The file `mesh.yaml`: networks, services and their endpoints.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshFile {
    /// How other networks are entered, by network.
    pub networks: BTreeMap<String, NetworkFile>,
    /// The services that are reachable through this gateway.
    #[schemars(with = "Vec<ServiceFile>")]
    pub services: Services,
    /// Plain server names that passthrough listeners route; the first that matches wins.
    pub passthrough: Vec<PassthroughFile>,
}

/// One network.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkFile {
    /// Its gateways; without any, its endpoints are not used.
    pub gateways: Vec<GatewayFile>,
}

/// One gateway of a network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayFile {
    /// IP address or DNS name; a name is resolved every 30 s, and each of its addresses is a gateway.
    #[schemars(with = "String")]
    pub address: Spanned<String>,
    /// Its port; 15443 by default.
    #[serde(default = "mesh_port")]
    #[schemars(with = "u16")]
    pub port: Spanned<u16>,
    /// The clusters whose endpoints it leads to; all of the network's by default.
    #[serde(default)]
    pub clusters: Vec<String>,
}

/// One service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ServiceFile {
    /// Its host name, as it stands in server names.
    #[schemars(with = "String")]
    pub host: Spanned<String>,
    /// Its ports.
    pub ports: Vec<PortFile>,
    /// Named selections of its endpoints: name -> labels.
    #[serde(default)]
    pub subsets: BTreeMap<String, BTreeMap<String, String>>,
    /// How endpoints are chosen and watched.
    #[serde(default)]
    pub policy: PolicyFile,
    /// Its endpoints, in all networks.
    #[serde(default)]
    pub endpoints: Vec<EndpointFile>,
}

/// One port of a service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PortFile {
    /// The service port, the one that stands in server names.
    #[schemars(with = "u16")]
    pub number: Spanned<u16>,
    /// Joins service and endpoints; empty by default.
    #[serde(default)]
    pub name: String,
    /// `TCP` by default; a `UDP` port has no route.
    #[serde(default)]
    pub protocol: ProtocolFile,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ProtocolFile {
    /// A byte stream.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// One endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EndpointFile {
    /// IP address, in its own network.
    #[schemars(with = "String")]
    pub address: Spanned<IpAddr>,
    /// Port name -> its port; by default it serves every port of the service at the service's own number.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, u16>")]
    pub ports: Option<Spanned<BTreeMap<String, u16>>>,
    /// Its cluster; by default the gateway's own.
    #[serde(default)]
    pub cluster: String,
    /// Its network; by default the gateway's own if its cluster is.
    #[serde(default)]
    pub network: String,
    /// Where it runs, `region/zone/subzone`.
    #[serde(default)]
    pub locality: String,
    /// Relative capacity, 1 by default, 1048576 at most.
    #[serde(default = "one")]
    #[schemars(with = "u32")]
    pub weight: Spanned<u32>,
    /// Whether it is ready; `healthy` by default.
    #[serde(default)]
    pub health: HealthFile,
    /// How it expects to be spoken to; `istio` (mutual TLS of the mesh) by default, and nothing else is reached by mesh names.
    #[serde(default)]
    pub tls: TlsFile,
    /// Its labels, for subsets.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Who runs there, for metrics.
    #[serde(default)]
    pub workload: WorkloadFile,
}

/// Whether an endpoint is ready.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum HealthFile {
    /// Ready.
    #[default]
    Healthy,
    /// Only for when too few healthy ones are left.
    Degraded,
    /// Not ready.
    Unhealthy,
    /// Shutting down.
    Terminating,
}

/// How an endpoint expects to be spoken to.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TlsFile {
    /// The mesh's mutual TLS.
    #[default]
    Istio,
    /// Anything else.
    Disabled,
}

/// Who runs at an endpoint, in the words of Istio's telemetry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WorkloadFile {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its canonical name.
    pub canonical_name: String,
    /// Its canonical revision.
    pub canonical_revision: String,
}

/// How a service's endpoints are chosen and watched.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct PolicyFile {
    /// How an endpoint is chosen within a tier; `LEAST_REQUEST` by default.
    pub load_balancer: LoadBalancerFile,
    /// Makes every endpoint equally close.
    pub ignore_locality: bool,
    /// Labels compared in order, `key` or `key=value`, in place of the usual order of closeness.
    pub failover_priority: Vec<String>,
    /// Region -> the region that comes right after it.
    pub failover: BTreeMap<String, String>,
    /// Our locality pattern -> endpoint locality pattern -> percent.
    pub distribute: BTreeMap<String, BTreeMap<String, u32>>,
    /// What a Kubernetes Service says of closeness; `failoverPriority` and `failover` go before it.
    pub traffic_distribution: TrafficDistributionFile,
    /// When an endpoint is ejected; by default after 3 failed dials in a row, for 10 s, doubling to 5 min.
    pub outlier_detection: Option<OutlierFile>,
    /// Ramp for new endpoints, like `30s`; none by default.
    pub warmup: Option<Span>,
    /// Limit of one connection attempt, like `3s`; the gateway's own by default.
    #[schemars(with = "Option<Span>")]
    pub connect_timeout: Option<Spanned<Span>>,
    /// Most open connections to the service through this gateway; no limit by default, or where it is 0.
    pub max_connections: Option<u32>,
    /// A connection on which no byte has moved for so long is closed, within five seconds; never by default, or where it is
    /// `0s`.
    pub idle_timeout: Option<Span>,
    /// A connection that is so old is closed, within five seconds; never by default, or where it is `0s`.
    pub max_duration: Option<Span>,
    /// Keepalive towards endpoints; the gateway's own by default.
    pub keepalive: Option<KeepaliveFile>,
}

/// When a silent endpoint is asked whether it is still there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeepaliveFile {
    /// Silence before the first probe, in whole seconds; `60s` by default.
    #[schemars(with = "Option<Span>")]
    pub time: Option<Spanned<Span>>,
    /// Between probes, in whole seconds; `10s` by default.
    #[schemars(with = "Option<Span>")]
    pub interval: Option<Spanned<Span>>,
}

/// How an endpoint is chosen within a tier.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum LoadBalancerFile {
    /// The less loaded of two.
    #[default]
    LeastRequest,
    /// At random.
    Random,
    /// In turn.
    RoundRobin,
    /// By the client's address.
    SourceIp,
}

/// Kubernetes' `spec.trafficDistribution`, and Istio's `Any`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
pub(super) enum TrafficDistributionFile {
    /// Network, region, zone, subzone.
    #[default]
    Default,
    /// Every endpoint is equally close.
    Any,
    /// Network, region, zone.
    PreferClose,
    /// The same as `PreferClose`, by its newer name.
    PreferSameZone,
    /// Network, region, zone, subzone, and then the label `kubernetes.io/hostname`.
    PreferSameNode,
}

/// When an endpoint is ejected.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OutlierFile {
    /// Failed dials in a row; 0 never ejects; 3 by default.
    #[serde(default = "three")]
    pub consecutive_failures: u32,
    /// Length of the first ejection, `10s` by default; each further one is twice as long.
    #[schemars(with = "Option<Span>")]
    pub base_ejection: Option<Spanned<Span>>,
    /// Length of the longest ejection; by default `300s`, or the first one's where that is longer.
    #[schemars(with = "Option<Span>")]
    pub max_ejection: Option<Spanned<Span>>,
    /// Fewer usable endpoints in a tier than this, percent, and nowhere else to go: all of them are tried, ready or not.
    /// 0: never.
    #[serde(default)]
    pub min_health_percent: u32,
}

/// Plain server names and where they go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PassthroughFile {
    /// Exact names, `*.suffix`, or `*` for every name that no other route has.
    #[schemars(with = "Vec<String>")]
    pub hosts: Vec<Spanned<String>>,
    /// Port of the listener it applies to; every passthrough listener's by default.
    #[serde(default)]
    pub port: Option<u16>,
    /// Where the connections go, by weight.
    pub to: Vec<DestinationFile>,
}

/// One target of a passthrough route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationFile {
    /// Host name of a service in this file.
    #[schemars(with = "String")]
    pub host: Spanned<String>,
    /// Its service port.
    pub port: u16,
    /// A subset of it; all endpoints by default.
    #[serde(default = "no_subset")]
    #[schemars(with = "String")]
    pub subset: Spanned<String>,
    /// Share among the targets, 1 by default.
    #[serde(default = "weight")]
    pub weight: u32,
}

/// The port of Istio's east-west gateways.
fn mesh_port() -> Spanned<u16> {
    unplaced(15443)
}

const fn weight() -> u32 {
    1
}

const fn three() -> u32 {
    3
}

fn one() -> Spanned<u32> {
    unplaced(1)
}

fn no_subset() -> Spanned<String> {
    unplaced(String::new())
}

/// A default stands nowhere in the file.
const fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}
