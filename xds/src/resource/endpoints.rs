//! An assignment as EDS says it. It must not decide who is close or how much anybody weighs.

use std::collections::{BTreeMap, HashMap};

use model::Locality;

use super::Flavour;
use super::assignment::{Assignment, Host, HostState, Tier};
use crate::proto::core::socket_address::PortSpecifier;
use crate::proto::core::{self, HealthStatus, Metadata, SocketAddress, address};
use crate::proto::endpoint::lb_endpoint::HostIdentifier;
use crate::proto::endpoint::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use crate::proto::protobuf::value::Kind;
use crate::proto::protobuf::{Struct, UInt32Value, Value};

/// The metadata that Envoy compares with a cluster's `transport_socket_matches`
/// (`envoy.config.cluster.v3.Cluster.transport_socket_matches`).
const SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// In what parts of a percent gRPC is told fixed shares; a hundred percent stay far below its 32 bits.
const GRPC_SHARE: u128 = 1 << 16;

/// Localities of one tier, and hosts in each: by locality, and a number where one locality has to be several.
type Localities<'a> = BTreeMap<(Locality, u32), (Option<u32>, Vec<&'a Host>)>;

/// The endpoints of a cluster. Priorities are contiguous from 0 (gRFC A27, and Envoy's `priority`), each locality has a
/// weight (gRPC skips those without).
#[must_use]
pub fn load_assignment(
    cluster: &str,
    assignment: &Assignment,
    flavour: Flavour,
) -> ClusterLoadAssignment {
    let mut endpoints = Vec::new();
    let mut priority = 0;
    for tier in &assignment.tiers {
        let before = endpoints.len();
        let localities = match flavour {
            Flavour::Envoy => for_envoy(tier, assignment.distributed),
            Flavour::Grpc => for_grpc(tier, assignment.distributed),
        };
        let of_tier = Scale::of(localities.values().flat_map(|(_, hosts)| hosts).copied());
        for ((locality, part), (percent, hosts)) in &localities {
            // Where a locality has its own percent its hosts compete with nobody else.
            let of_locality = percent.map(|_| Scale::of(hosts.iter().copied()));
            let scale = of_locality.as_ref().unwrap_or(&of_tier);
            let ready: u64 = weight_in_use(hosts).map(|host| scale.apply(host)).sum();
            let weight = match percent {
                Some(percent) => *percent,
                None => u32::try_from(ready).unwrap_or(u32::MAX).max(1),
            };
            endpoints.push(LocalityLbEndpoints {
                locality: Some(locality_of(locality, *part)),
                lb_endpoints: hosts.iter().map(|host| lb_endpoint(host, scale)).collect(),
                load_balancing_weight: Some(UInt32Value { value: weight }),
                priority,
                ..LocalityLbEndpoints::default()
            });
        }
        priority += u32::from(endpoints.len() > before);
    }
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints,
        ..ClusterLoadAssignment::default()
    }
}

/// Envoy weighs hosts, whatever locality they stand in, unless the cluster asks for locality weights; that is done for
/// `distribute` alone, and there each rule is one locality, because Envoy scales a locality's weight by how much of it is
/// ready. What no rule names gets nothing and is left out.
fn for_envoy(tier: &Tier, distributed: bool) -> Localities<'_> {
    let mut localities = Localities::new();
    if !distributed {
        for host in tier.groups.values().flatten() {
            let (_, hosts) = localities.entry((host.locality.clone(), 0)).or_default();
            hosts.push(host);
        }
        return localities;
    }
    for ((rule, percent), hosts) in tier.groups.iter().filter(|((_, percent), _)| *percent > 0) {
        let locality = common(hosts);
        let hosts = hosts.iter().collect();
        localities.insert((locality, u32::from(*rule)), (Some(*percent), hosts));
    }
    localities
}

/// gRPC weighs localities and, under `round_robin`, not hosts: hosts of different weight get localities of their own. It
/// knows neither states nor the loads that go with them, so those that are not ready are left out, and degraded ones count
/// only where nothing is healthy. With `distribute`, the localities that one rule names have its percent together.
fn for_grpc(tier: &Tier, distributed: bool) -> Localities<'_> {
    let all: Vec<&Host> = tier.groups.values().flatten().collect();
    let best = all.iter().map(|host| host.state).min();
    let is_ready = |host: &&Host| host.state != HostState::Unhealthy && Some(host.state) == best;
    let mut localities = Localities::new();
    for ((_, percent), hosts) in &tier.groups {
        let ready: Vec<&Host> = hosts.iter().filter(is_ready).collect();
        let whole: u128 = ready.iter().map(|host| u128::from(host.weight)).sum();
        let mut by_weight: BTreeMap<&Locality, BTreeMap<u64, Vec<&Host>>> = BTreeMap::new();
        for host in ready {
            let of_locality = by_weight.entry(&host.locality).or_default();
            of_locality.entry(host.weight).or_default().push(host);
        }
        for (locality, weights) in by_weight {
            for (part, (weight, hosts)) in (0..).zip(weights) {
                let of_group = u128::from(weight) * hosts.len() as u128;
                let share = of_group * u128::from(*percent) * GRPC_SHARE / whole.max(1);
                let fixed = u32::try_from(share).unwrap_or(u32::MAX).max(1);
                let fixed = distributed.then_some(fixed);
                if !distributed || *percent > 0 {
                    localities.insert((locality.clone(), part), (fixed, hosts));
                }
            }
        }
    }
    localities
}

/// The hosts that traffic goes to now: the healthy ones, or else the degraded ones, or else all.
fn weight_in_use<'a, 'h>(hosts: &'a [&'h Host]) -> impl Iterator<Item = &'h Host> + use<'a, 'h> {
    let best = hosts.iter().map(|host| host.state).min();
    let hosts = hosts.iter().copied();
    hosts.filter(move |host| Some(host.state) == best)
}

/// The parts that the localities of all these hosts share.
fn common(hosts: &[Host]) -> Locality {
    let mut places = hosts.iter().map(|host| &host.locality);
    let mut common = places.next().cloned().unwrap_or_default();
    for place in places {
        if place.region != common.region {
            return Locality::default();
        }
        if place.zone != common.zone {
            (common.zone, common.subzone) = ("".into(), "".into());
        }
        if place.subzone != common.subzone {
            common.subzone = "".into();
        }
    }
    common
}

/// The numbers of a tier's weights: as small as they can be without changing a share, and within 32 bits in sum, as Envoy
/// demands of a locality and of a priority.
struct Scale {
    divisor: u64,
    multiplier: f64,
}

impl Scale {
    fn of<'h>(hosts: impl Iterator<Item = &'h Host> + Clone) -> Self {
        let divisor = hosts
            .clone()
            .fold(0, |gcd, host| greatest(gcd, host.weight));
        let divisor = divisor.max(1);
        let sum: u128 = hosts.map(|host| u128::from(host.weight / divisor)).sum();
        // Half of the room, as each weight is rounded up to 1.
        let room = f64::from(u32::MAX) / 2.0;
        Self {
            divisor,
            multiplier: (room / sum as f64).min(1.0),
        }
    }

    fn apply(&self, host: &Host) -> u64 {
        let weight = host.weight / self.divisor;
        if self.multiplier >= 1.0 {
            return weight.max(1);
        }
        // Of a number below 2^32 the cast drops the fraction alone.
        ((weight as f64 * self.multiplier) as u64).max(1)
    }
}

/// Greatest common divisor.
fn greatest(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest(b, a % b) }
}

fn lb_endpoint(host: &Host, scale: &Scale) -> LbEndpoint {
    let address = address::Address::SocketAddress(SocketAddress {
        address: host.address.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(host.address.port().into())),
        ..SocketAddress::default()
    });
    let endpoint = Endpoint {
        address: Some(core::Address {
            address: Some(address),
        }),
        ..Endpoint::default()
    };
    let status = match host.state {
        HostState::Healthy => HealthStatus::Healthy,
        HostState::Degraded => HealthStatus::Degraded,
        HostState::Unhealthy => HealthStatus::Unhealthy,
    };
    let weight = u32::try_from(scale.apply(host)).unwrap_or(u32::MAX);
    LbEndpoint {
        health_status: status.into(),
        metadata: host.mesh.then(mesh_mark),
        load_balancing_weight: Some(UInt32Value { value: weight }),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
    }
}

/// Says that the mesh's mutual TLS is spoken to an endpoint, in Istio's words.
fn mesh_mark() -> Metadata {
    Metadata {
        filter_metadata: HashMap::from([(SOCKET_MATCH.to_owned(), mesh_match())]),
        ..Metadata::default()
    }
}

/// What the cluster's TLS matches on.
pub(super) fn mesh_match() -> Struct {
    let mode = Value {
        kind: Some(Kind::StringValue("istio".into())),
    };
    Struct {
        fields: HashMap::from([("tlsMode".into(), mode)]),
    }
}

fn locality_of(locality: &Locality, part: u32) -> core::Locality {
    let subzone = match part {
        0 => locality.subzone.to_string(),
        _ => format!("{}#{part}", locality.subzone),
    };
    core::Locality {
        region: locality.region.to_string(),
        zone: locality.zone.to_string(),
        sub_zone: subzone,
    }
}

#[cfg(test)]
mod tests;
