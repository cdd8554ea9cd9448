//! CDS: where a cluster's endpoints come from, and how one of them is chosen.

use std::sync::Arc;
use std::time::Duration;

use model::{LoadBalancer, LocalityPolicy, OutlierDetection, Policy};
use prost::Message;

use super::{Endpoints, Notes, span};
use crate::client::name::ClusterName;
use crate::proto::cluster::cluster::common_lb_config::LocalityConfigSpecifier;
use crate::proto::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy};
use crate::proto::cluster::{self as proto};
use crate::proto::core::RoutingPriority;

/// Istio's default of the mesh's `connectTimeout`: not a wish of anybody, so the gateway's own limit stays.
const USUAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Envoy's default of `consecutive_5xx`.
const CONSECUTIVE_ERRORS: u32 = 5;

/// Envoy's default of `base_ejection_time`.
const BASE_EJECTION: Duration = Duration::from_secs(30);

/// What is used of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cluster {
    /// Where its endpoints come from.
    pub(crate) discovery: Discovery,
    /// How an endpoint is chosen and watched.
    pub(crate) policy: Policy,
    /// Whether localities have weights of their own (Envoy's `locality_weighted_lb_config`).
    pub(crate) by_locality: bool,
}

/// Where a cluster's endpoints come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Discovery {
    /// EDS, under this name.
    Asked(Arc<str>),
    /// The cluster itself.
    Given(Arc<Endpoints>),
    /// Nowhere that is followed here, and why.
    Nowhere(String),
}

impl Cluster {
    /// Reads a cluster; its name comes with it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn read(
        bytes: &[u8],
        notes: &mut Notes,
    ) -> Result<(String, Self), (String, String)> {
        let cluster = proto::Cluster::decode(bytes)
            .map_err(|fault| (String::new(), format!("it is no Cluster: {fault}")))?;
        let name = cluster.name.clone();
        match Self::of(cluster, notes) {
            Ok(read) => Ok((name, read)),
            Err(why) => Err((name, why)),
        }
    }

    fn of(cluster: proto::Cluster, notes: &mut Notes) -> Result<Self, String> {
        if cluster.name.is_empty() {
            return Err("it has no name".into());
        }
        ClusterName::parse(&cluster.name)?;
        for filter in &cluster.filters {
            notes.skip(&filter.name);
        }
        if cluster.load_balancing_policy.is_some() {
            notes.skip("load_balancing_policy");
        }
        if cluster.lb_subset_config.is_some() {
            notes.skip("lb_subset_config");
        }
        let common = cluster.common_lb_config.as_ref();
        let specifier = common.and_then(|common| common.locality_config_specifier.as_ref());
        Ok(Self {
            policy: policy(&cluster)?,
            by_locality: matches!(
                specifier,
                Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
            ),
            discovery: discovery(cluster, notes)?,
        })
    }
}

fn discovery(cluster: proto::Cluster, notes: &mut Notes) -> Result<Discovery, String> {
    let kind = match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return Ok(Discovery::Nowhere(format!("its type is {}", custom.name)));
        }
        Some(ClusterDiscoveryType::Type(kind)) => kind,
        None => DiscoveryType::Static.into(),
    };
    match DiscoveryType::try_from(kind) {
        Ok(DiscoveryType::Eds) => {
            let asked = cluster.eds_cluster_config.map(|config| config.service_name);
            let asked = asked.filter(|name| !name.is_empty());
            Ok(Discovery::Asked(asked.unwrap_or(cluster.name).into()))
        }
        Ok(DiscoveryType::Static) => {
            let given = cluster.load_assignment.unwrap_or_default();
            Ok(Discovery::Given(Arc::new(Endpoints::of(&given, notes)?)))
        }
        Ok(DiscoveryType::StrictDns | DiscoveryType::LogicalDns) => Ok(Discovery::Nowhere(
            "its endpoints are names in DNS, which are not looked up here".into(),
        )),
        Ok(DiscoveryType::OriginalDst) => Ok(Discovery::Nowhere(
            "its endpoints are wherever a client wanted to go".into(),
        )),
        Err(_) => Err(format!("its discovery type is {kind}")),
    }
}

fn policy(cluster: &proto::Cluster) -> Result<Policy, String> {
    let load_balancer = match LbPolicy::try_from(cluster.lb_policy) {
        Ok(LbPolicy::RoundRobin) => LoadBalancer::RoundRobin,
        Ok(LbPolicy::LeastRequest | LbPolicy::LoadBalancingPolicyConfig) => {
            LoadBalancer::LeastRequest
        }
        Ok(LbPolicy::Random) => LoadBalancer::Random,
        // Hashes the client's address, if a chain asks for it.
        Ok(LbPolicy::RingHash | LbPolicy::Maglev) => LoadBalancer::SourceIp,
        Ok(LbPolicy::ClusterProvided) => LoadBalancer::LeastRequest,
        Err(_) => return Err(format!("its lb_policy is {}", cluster.lb_policy)),
    };
    let slow_start = match &cluster.lb_config {
        Some(LbConfig::LeastRequestLbConfig(config)) => config.slow_start_config.as_ref(),
        Some(LbConfig::RoundRobinLbConfig(config)) => config.slow_start_config.as_ref(),
        _ => None,
    };
    let window = slow_start.and_then(|slow_start| slow_start.slow_start_window.as_ref());
    let timeout = cluster.connect_timeout.as_ref().and_then(span);
    Ok(Policy {
        load_balancer,
        locality: LocalityPolicy::default(),
        outlier_detection: outlier_detection(cluster),
        warmup: window.and_then(span),
        connect_timeout: timeout.filter(|timeout| {
            *timeout >= Policy::LEAST_CONNECT_TIMEOUT && *timeout != USUAL_CONNECT_TIMEOUT
        }),
        max_connections: max_connections(cluster),
        ..Policy::default()
    })
}

/// The limit of the default priority, the only one that TCP uses; Istio writes the largest number where there is none.
fn max_connections(cluster: &proto::Cluster) -> Option<u32> {
    let thresholds = cluster.circuit_breakers.as_ref()?.thresholds.iter();
    let default = i32::from(RoutingPriority::Default);
    let mut limits = thresholds.filter(|of| of.priority == default);
    let limit = limits.next()?.max_connections.as_ref()?.value;
    (limit != u32::MAX).then_some(limit)
}

/// Every failed dial counts as any of Envoy's errors, so the least of the numbers decides, as for a DestinationRule. Istio
/// always gives the panic threshold; where a server does not, there is no panic, as everywhere here.
fn outlier_detection(cluster: &proto::Cluster) -> Option<OutlierDetection> {
    let given = cluster.outlier_detection.as_ref()?;
    let common = cluster.common_lb_config.as_ref();
    let threshold = common.and_then(|common| common.healthy_panic_threshold.as_ref());
    let threshold = threshold.map_or(0.0, |percent| percent.value.clamp(0.0, 100.0));
    let counted = if given.split_external_local_origin_errors {
        let local = given.consecutive_local_origin_failure.as_ref();
        local.map_or(CONSECUTIVE_ERRORS, |count| count.value)
    } else {
        let errors = given.consecutive_5xx.as_ref();
        let enforced = given.enforcing_consecutive_5xx.as_ref();
        let gateway = given.consecutive_gateway_failure.as_ref();
        let gateway_enforced = given.enforcing_consecutive_gateway_failure.as_ref();
        let numbers = [
            // Enforced unless that is switched off; the gateway's errors only where that is switched on.
            match enforced.is_some_and(|percent| percent.value == 0) {
                true => 0,
                false => errors.map_or(CONSECUTIVE_ERRORS, |count| count.value),
            },
            match gateway_enforced.is_some_and(|percent| percent.value > 0) {
                true => gateway.map_or(CONSECUTIVE_ERRORS, |count| count.value),
                false => 0,
            },
        ];
        let least = numbers.into_iter().filter(|number| *number > 0).min();
        least.unwrap_or(0)
    };
    let usual = OutlierDetection::default();
    let base = given.base_ejection_time.as_ref().and_then(span);
    let base_ejection = base.unwrap_or(BASE_EJECTION);
    let max = given.max_ejection_time.as_ref().and_then(span);
    Some(OutlierDetection {
        consecutive_failures: counted,
        base_ejection,
        max_ejection: max.unwrap_or(usual.max_ejection).max(base_ejection),
        min_health_percent: threshold as u32,
    })
}

#[cfg(test)]
mod tests;
