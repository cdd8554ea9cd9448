//! The `trafficPolicy` of a DestinationRule -> what of it applies to a passthrough gateway. How its levels are laid over
//! each other is `meaning`'s business.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use model::{Distribute, Failover, Keepalive, LoadBalancer, OutlierDetection, Policy};
use serde::{Deserialize, Serialize};

use super::read::{Fault, Field};

/// What a DestinationRule or one of its subsets says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficPolicy {
    /// For all ports.
    pub settings: TrafficSettings,
    /// For single ports; such settings stand alone, nothing is inherited (Istio's portLevelSettings).
    pub ports: BTreeMap<u16, TrafficSettings>,
}

/// What stands at one level; `None`: nothing is said, so another level may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficSettings {
    /// From `loadBalancer`.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// From `connectionPool`.
    pub connection_pool: Option<ConnectionPool>,
    /// From `outlierDetection`.
    pub outlier_detection: Option<OutlierDetection>,
    /// From `tls`: whether clients are told to speak the mesh's mutual TLS.
    pub mutual_tls: Option<bool>,
}

/// `loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancerSettings {
    /// How an endpoint is chosen.
    pub kind: LoadBalancer,
    /// `localityLbSetting`; `None`: a Service's trafficDistribution holds.
    pub locality: Option<LocalitySetting>,
    /// Ramp for new endpoints.
    pub warmup: Option<Duration>,
}

/// `localityLbSetting`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalitySetting {
    /// `enabled: false`.
    pub disabled: bool,
    /// `distribute`.
    pub distribute: Vec<Distribute>,
    /// `failover`.
    pub failover: Vec<Failover>,
    /// `failoverPriority`.
    pub failover_priority: Vec<Arc<str>>,
}

/// `connectionPool.tcp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionPool {
    /// `maxConnections`.
    pub max_connections: Option<u32>,
    /// `connectTimeout`; one that is too short is none.
    pub connect_timeout: Option<Duration>,
    /// `idleTimeout`; 0 is none.
    pub idle_timeout: Option<Duration>,
    /// `maxConnectionDuration`.
    pub max_duration: Option<Duration>,
    /// `tcpKeepalive`.
    pub keepalive: Option<Keepalive>,
}

/// Istio's defaults where `outlierDetection` is given without them (its API reference).
const CONSECUTIVE_ERRORS: u32 = 5;
const BASE_EJECTION: Duration = Duration::from_secs(30);

pub(super) fn read(policy: &Field) -> Result<TrafficPolicy, Fault> {
    let mut ports = BTreeMap::new();
    for level in policy.get("portLevelSettings").items()? {
        let number = level.get("port").get("number");
        let Some(port) = number.port()? else {
            return number.fault("settings of a port name the port");
        };
        // Of two for one port the first counts, as in Istio.
        if let Entry::Vacant(free) = ports.entry(port) {
            free.insert(settings(&level)?);
        }
    }
    Ok(TrafficPolicy {
        settings: settings(policy)?,
        ports,
    })
}

fn settings(level: &Field) -> Result<TrafficSettings, Fault> {
    let mode = level.get("tls").get("mode");
    let mutual_tls = if level.get("tls").is_given() {
        Some(mode.text()? == Some("ISTIO_MUTUAL"))
    } else {
        None
    };
    Ok(TrafficSettings {
        load_balancer: given(&level.get("loadBalancer"), load_balancer)?,
        connection_pool: given(&level.get("connectionPool"), connection_pool)?,
        outlier_detection: given(&level.get("outlierDetection"), outlier_detection)?,
        mutual_tls,
    })
}

fn given<T>(
    field: &Field,
    read: impl FnOnce(&Field) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    field.is_given().then(|| read(field)).transpose()
}

fn load_balancer(field: &Field) -> Result<LoadBalancerSettings, Fault> {
    let hash = field.get("consistentHash");
    let kind = match field.get("simple").text()? {
        // Of what can be hashed, a passthrough gateway sees the client's address alone.
        _ if hash.get("useSourceIp").flag()? == Some(true) => LoadBalancer::SourceIp,
        Some("ROUND_ROBIN") => LoadBalancer::RoundRobin,
        Some("RANDOM") => LoadBalancer::Random,
        // PASSTHROUGH would mean the address that the client dialled: ours.
        _ => LoadBalancer::LeastRequest,
    };
    let warmup = match field.get("warmup").get("duration").span()? {
        Some(span) => Some(span),
        None => field.get("warmupDurationSecs").span()?,
    };
    Ok(LoadBalancerSettings {
        kind,
        locality: given(&field.get("localityLbSetting"), locality)?,
        // Istio has it for these two only; hashing and chance know no ramp.
        warmup: warmup
            .filter(|_| matches!(kind, LoadBalancer::LeastRequest | LoadBalancer::RoundRobin)),
    })
}

fn locality(field: &Field) -> Result<LocalitySetting, Fault> {
    let mut setting = LocalitySetting {
        disabled: field.get("enabled").flag()? == Some(false),
        failover_priority: field.get("failoverPriority").texts()?,
        ..LocalitySetting::default()
    };
    for rule in field.get("failover").items()? {
        setting.failover.push(Failover {
            from: rule.get("from").shared()?,
            to: rule.get("to").shared()?,
        });
    }
    for rule in field.get("distribute").items()? {
        let to = rule.get("to").entries()?.into_iter();
        let to = to.map(|(place, share)| Ok((place.into(), share.number()?.unwrap_or_default())));
        setting.distribute.push(Distribute {
            from: rule.get("from").shared()?,
            to: to.collect::<Result<_, Fault>>()?,
        });
    }
    Ok(setting)
}

fn connection_pool(field: &Field) -> Result<ConnectionPool, Fault> {
    let tcp = field.get("tcp");
    let some_time = |name: &str| Ok(tcp.get(name).span()?.filter(|span| !span.is_zero()));
    let connect_timeout = tcp.get("connectTimeout").span()?;
    Ok(ConnectionPool {
        max_connections: tcp.get("maxConnections").number()?.filter(|most| *most > 0),
        connect_timeout: connect_timeout.filter(|span| *span >= Policy::LEAST_CONNECT_TIMEOUT),
        idle_timeout: some_time("idleTimeout")?,
        max_duration: some_time("maxConnectionDuration")?,
        keepalive: keepalive(&tcp.get("tcpKeepalive"))?,
    })
}

/// A part that is not given is the kernel's in Istio (2 h and 75 s on Linux), which finds nobody in time; here it is ours.
fn keepalive(field: &Field) -> Result<Option<Keepalive>, Fault> {
    if !field.is_given() {
        return Ok(None);
    }
    let usual = Keepalive::default();
    Ok(Some(Keepalive {
        time: field.get("time").span()?.unwrap_or(usual.time),
        interval: field.get("interval").span()?.unwrap_or(usual.interval),
    }))
}

/// Every failed dial counts as any of Envoy's errors, so the least of the numbers given decides; with
/// `splitExternalLocalOriginErrors` the number for errors of local origin alone. The other fields (interval,
/// maxEjectionPercent) have no counterpart here.
fn outlier_detection(field: &Field) -> Result<OutlierDetection, Fault> {
    let count = |name: &str| field.get(name).number::<u32>();
    let split = field.get("splitExternalLocalOriginErrors").flag()? == Some(true);
    let consecutive_failures = if split {
        count("consecutiveLocalOriginFailures")?.unwrap_or(CONSECUTIVE_ERRORS)
    } else {
        // `consecutiveErrors` is the name before Istio 1.5.
        let errors = match count("consecutive5xxErrors")? {
            Some(errors) => Some(errors),
            None => count("consecutiveErrors")?,
        };
        let numbers = [
            errors.unwrap_or(CONSECUTIVE_ERRORS),
            count("consecutiveGatewayErrors")?.unwrap_or(0),
        ];
        // 0 switches that one off.
        numbers
            .into_iter()
            .filter(|number| *number > 0)
            .min()
            .unwrap_or(0)
    };
    let base_ejection = field
        .get("baseEjectionTime")
        .span()?
        .unwrap_or(BASE_EJECTION);
    let usual = OutlierDetection::default();
    Ok(OutlierDetection {
        consecutive_failures,
        base_ejection,
        max_ejection: usual.max_ejection.max(base_ejection),
        min_health_percent: count("minHealthPercent")?.unwrap_or(0).min(100),
    })
}
