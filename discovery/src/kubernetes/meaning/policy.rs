//! What DestinationRules say of a service -> the model's policies, one level laid over the other. A pure rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{LocalityPolicy, Policy, Subset, TrafficDistribution};

use super::selection::Selected;
use crate::kubernetes::facts::{TrafficPolicy, TrafficSettings};

/// Labels that are an endpoint's origin, not its Pod's.
const ORIGIN: [&str; 5] = [
    "topology.istio.io/network",
    "topology.istio.io/cluster",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

/// The label of the Node, which `PreferSameNode` compares.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// What holds for a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruling {
    pub(super) policy: Arc<Policy>,
    pub(super) subsets: BTreeMap<Arc<str>, Subset>,
    /// Whether clients are told to speak the mesh's mutual TLS to it, as without any rule.
    pub(super) mutual_tls: bool,
    /// Labels that its endpoints have to bear.
    pub(super) labels: BTreeSet<Arc<str>>,
}

/// Lays the levels over each other. Subsets that clients are told to speak to without the mesh's mutual TLS have no name
/// here; nor do ports (`without`).
pub(super) fn ruling(selected: &Selected, distribution: TrafficDistribution) -> Ruling {
    let nothing = TrafficPolicy::default();
    let rule = selected.policy.as_deref().unwrap_or(&nothing);
    let mut ruling = Ruling {
        policy: policy(rule, distribution).shared(),
        mutual_tls: rule.settings.mutual_tls.unwrap_or(true),
        ..Ruling::default()
    };
    for subset in &selected.subsets {
        let own = subset.policy.as_deref().map(|own| over(rule, own));
        let settings = own.as_ref().map_or(&rule.settings, |own| &own.settings);
        if settings.mutual_tls == Some(false) && ruling.mutual_tls {
            continue;
        }
        let subset_policy = own.map(|own| Arc::new(policy(&own, distribution)));
        ruling.labels.extend(subset.labels.keys().cloned());
        let of = Subset {
            labels: subset.labels.clone(),
            policy: subset_policy,
            ..Subset::default()
        };
        ruling.subsets.insert(subset.name.clone(), of);
    }
    let subsets = ruling
        .subsets
        .values()
        .filter_map(|subset| subset.policy.as_ref());
    let mut compared = BTreeSet::new();
    for policy in subsets.chain([&ruling.policy]) {
        for policy in policy.ports.values().chain([policy]) {
            compared.extend(compared_labels(&policy.locality));
        }
    }
    ruling.labels.extend(compared);
    ruling
}

/// Ports that clients are told to speak to without the mesh's mutual TLS.
pub(super) fn plain_ports(selected: &Selected) -> BTreeSet<u16> {
    let levels = selected.policy.iter().flat_map(|policy| &policy.ports);
    let plain = levels.filter(|(_, settings)| settings.mutual_tls == Some(false));
    plain.map(|(port, _)| *port).collect()
}

/// A subset's settings over its rule's: each part that is given replaces the one below; those of a port stand alone
/// (Istio's `MergeSubsetTrafficPolicy`).
fn over(rule: &TrafficPolicy, own: &TrafficPolicy) -> TrafficPolicy {
    let lay = |below: &TrafficSettings| TrafficSettings {
        load_balancer: own
            .settings
            .load_balancer
            .clone()
            .or_else(|| below.load_balancer.clone()),
        connection_pool: own.settings.connection_pool.or(below.connection_pool),
        outlier_detection: own.settings.outlier_detection.or(below.outlier_detection),
        mutual_tls: own.settings.mutual_tls.or(below.mutual_tls),
    };
    let below = rule.ports.iter();
    let mut ports: BTreeMap<u16, TrafficSettings> = below
        .map(|(port, settings)| (*port, lay(settings)))
        .collect();
    ports.extend(
        own.ports
            .iter()
            .map(|(port, settings)| (*port, settings.clone())),
    );
    TrafficPolicy {
        settings: lay(&rule.settings),
        ports,
    }
}

fn policy(levels: &TrafficPolicy, distribution: TrafficDistribution) -> Policy {
    let ports = levels.ports.iter();
    let ports = ports.map(|(port, level)| (*port, Arc::new(of_settings(level, distribution))));
    Policy {
        ports: ports.collect(),
        ..of_settings(&levels.settings, distribution)
    }
}

/// A rule's locality setting takes the place of the Service's trafficDistribution (Istio's `GetLocalityLbSetting`).
fn of_settings(settings: &TrafficSettings, distribution: TrafficDistribution) -> Policy {
    let balancer = settings.load_balancer.clone().unwrap_or_default();
    let pool = settings.connection_pool.unwrap_or_default();
    let locality = match balancer.locality {
        Some(setting) => LocalityPolicy {
            disabled: setting.disabled,
            failover_priority: setting.failover_priority,
            failover: setting.failover,
            distribute: setting.distribute,
            traffic_distribution: TrafficDistribution::Default,
        },
        None => LocalityPolicy {
            traffic_distribution: distribution,
            ..LocalityPolicy::default()
        },
    };
    Policy {
        load_balancer: balancer.kind,
        locality,
        outlier_detection: settings.outlier_detection,
        warmup: balancer.warmup,
        connect_timeout: pool.connect_timeout,
        max_connections: pool.max_connections,
        idle_timeout: pool.idle_timeout,
        max_duration: pool.max_duration,
        keepalive: pool.keepalive,
        ports: BTreeMap::new(),
    }
}

/// The Pod labels that closeness compares.
fn compared_labels(policy: &LocalityPolicy) -> BTreeSet<Arc<str>> {
    let entries = policy.failover_priority.iter();
    let keys = entries.map(|entry| entry.split_once('=').map_or(&**entry, |(key, _)| key));
    let mut labels: BTreeSet<Arc<str>> = keys
        .filter(|key| !ORIGIN.contains(key))
        .map(Arc::from)
        .collect();
    if policy.traffic_distribution == TrafficDistribution::PreferSameNode {
        labels.insert(HOSTNAME.into());
    }
    labels
}
