//! How a service's endpoints are chosen and watched: what a DestinationRule or a Service says, in our words.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of one service or subset; the default is what design section 6 says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How an endpoint is chosen within a tier.
    pub load_balancer: LoadBalancer,
    /// What counts as close.
    pub locality: LocalityPolicy,
    /// When an endpoint is ejected; `None`: the gateway's own numbers.
    pub outlier_detection: Option<OutlierDetection>,
    /// Ramp for endpoints that are new; `None`: new ones get their full share at once.
    pub warmup: Option<Duration>,
    /// Limit of one connection attempt; `None`: the gateway's own (3 s).
    pub connect_timeout: Option<Duration>,
    /// Open connections to the service through this gateway; `None`: no limit.
    pub max_connections: Option<u32>,
    /// A connection on which no byte has moved for so long is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// A connection that is so old is closed; `None`: never.
    pub max_duration: Option<Duration>,
    /// Keepalive towards the endpoint; `None`: the gateway's own.
    pub keepalive: Option<Keepalive>,
    /// Settings that stand in the place of all these for one service port (Istio's `portLevelSettings`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, Arc<Self>>,
}

impl Policy {
    /// The shortest limit of a connection attempt that is a wish: Istio's validation takes none that is shorter, Envoy none of
    /// nothing, and the data path counts milliseconds.
    pub const LEAST_CONNECT_TIMEOUT: Duration = Duration::from_millis(1);

    /// Behind an `Arc`; most services have no policy of their own, and share the default one.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        static USUAL: LazyLock<Arc<Policy>> = LazyLock::new(Arc::default);
        if self == **USUAL {
            Arc::clone(&USUAL)
        } else {
            Arc::new(self)
        }
    }

    /// The settings that hold for a service port.
    #[must_use]
    pub fn for_port(self: &Arc<Self>, port: u16) -> &Arc<Self> {
        self.ports.get(&port).unwrap_or(self)
    }
}

/// When a silent peer is asked whether it is still there. How often in vain has no place here: on Linux the user timeout
/// decides that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub time: Duration,
    /// Between probes.
    pub interval: Duration,
}

impl Keepalive {
    /// What Linux takes for either, in seconds: it counts whole ones, from 1 to `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`
    /// (include/net/tcp.h).
    pub const SECONDS: RangeInclusive<u64> = 1..=32_767;
}

impl Default for Keepalive {
    /// Design section 5.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            interval: Duration::from_secs(10),
        }
    }
}

/// How an endpoint is chosen within a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LoadBalancer {
    /// Power of two choices on open connections per weight.
    #[default]
    LeastRequest,
    /// By weight, at random.
    Random,
    /// By weight, in turn.
    RoundRobin,
    /// Consistent hashing of the client's address (Maglev, for both of Istio's kinds).
    SourceIp,
}

/// What counts as close to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalityPolicy {
    /// Istio's `localityLbSetting.enabled: false`: every endpoint of a view is equally close.
    pub disabled: bool,
    /// Istio's `failoverPriority`: labels compared in order, `key` or `key=value`; replaces the usual order.
    pub failover_priority: Vec<Arc<str>>,
    /// Istio's `failover`: from our region to that one first.
    pub failover: Vec<Failover>,
    /// Istio's `distribute`: fixed shares by locality.
    pub distribute: Vec<Distribute>,
    /// A Service's `trafficDistribution`.
    pub traffic_distribution: TrafficDistribution,
}

/// One rule of `failover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// The region it applies to: ours, or the rule is for others.
    pub from: Arc<str>,
    /// The region that comes right after our own.
    pub to: Arc<str>,
}

/// One rule of `distribute`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribute {
    /// Locality pattern, `region/zone/subzone` with `*` as a last part, that our own has to match.
    pub from: Arc<str>,
    /// Locality pattern -> percent.
    pub to: BTreeMap<Arc<str>, u32>,
}

/// Kubernetes' `spec.trafficDistribution` (and Istio's annotation of the same name).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficDistribution {
    /// Not given: the usual order of closeness.
    #[default]
    Default,
    /// Istio's `Any`: every endpoint of a view is equally close.
    Any,
    /// `PreferClose` and `PreferSameZone`: network, region, zone (Istio's list for them; subzones do not count).
    PreferClose,
    /// `PreferSameNode`: network, region, zone, subzone, and then the label `kubernetes.io/hostname`.
    PreferSameNode,
}

/// When an endpoint is ejected for failed dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutlierDetection {
    /// Consecutive failed dials; 0 never ejects.
    pub consecutive_failures: u32,
    /// The first ejection's length; each further one doubles it.
    pub base_ejection: Duration,
    /// The longest ejection.
    pub max_ejection: Duration,
    /// A tier with fewer usable endpoints than this, in percent, is in panic when no other can take its load: all its
    /// endpoints are picked from. 0 turns panic off (Istio's `minHealthPercent`, Envoy's `healthy_panic_threshold`).
    pub min_health_percent: u32,
}

impl Default for OutlierDetection {
    /// Design section 6.6: 3 failures, 10 s doubling to 5 min, and no cap that makes it inert for small sets.
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            base_ejection: Duration::from_secs(10),
            max_ejection: Duration::from_secs(300),
            min_health_percent: 0,
        }
    }
}
