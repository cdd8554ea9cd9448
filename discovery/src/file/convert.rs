//! `mesh.yaml` -> the model's types, with every rule that a schema cannot say. It reads no file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::{
    Chunked, Destination, Distribute, Endpoint, Failover, Gateway, Health, Hostname, Keepalive,
    Labels, LoadBalancer, LocalityPolicy, MAX_WEIGHT, Network, NetworkId, Origin, OutlierDetection,
    Part, PassthroughRoute, Policy, Port, PortMap, Protocol, Service, Subset, TlsMode,
    TrafficDistribution, Workload,
};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use super::schema::{
    EndpointFile, HealthFile, KeepaliveFile, LoadBalancerFile, MeshFile, NetworkFile, OutlierFile,
    PassthroughFile, PolicyFile, PortFile, ProtocolFile, ServiceFile, TlsFile,
    TrafficDistributionFile,
};
use super::{FileError, Loaded};
use crate::Span;
use crate::resolve::GatewayName;

/// What is wrong with a gateway that is given again.
const TWICE: &str = "this gateway stands here twice; give it once, with all its clusters";

/// What is wrong with a value, and where it stands.
#[derive(Debug)]
pub(super) struct Wrong {
    place: Location,
    problem: String,
}

/// Services as they are read: each is converted before the next one is read, so that a large file never stands in memory as a
/// whole.
#[derive(Debug, Default)]
pub struct Services {
    list: Vec<Arc<Service>>,
    /// What was wrong with the first service that was; none is converted after it.
    wrong: Option<Wrong>,
}

/// Converts and checks a file; `file` and `text` are for errors.
pub(super) fn convert(mesh: MeshFile, file: &str, text: &str) -> Result<Loaded, FileError> {
    whole(mesh).map_err(|wrong| FileError::at(file, text, wrong.place, wrong.problem))
}

fn whole(mesh: MeshFile) -> Result<Loaded, Wrong> {
    let mut loaded = Loaded::default();
    for (id, given) in &mesh.networks {
        network(id, given, &mut loaded)?;
    }
    if let Some(wrong) = mesh.services.wrong {
        return Err(wrong);
    }
    loaded.part.services = Chunked::from_items(mesh.services.list);
    for route in &mesh.passthrough {
        let route = passthrough(route, &loaded.part)?;
        loaded.part.passthrough.push(route);
    }
    Ok(loaded)
}

impl<'de> Deserialize<'de> for Services {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Services;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of services")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Services, A::Error> {
                let mut converter = Converter::default();
                let mut services = Services::default();
                while let Some(given) = seq.next_element::<ServiceFile>()? {
                    if services.wrong.is_some() {
                        continue;
                    }
                    match converter.known_once(&given) {
                        Ok(service) => services.list.push(Arc::new(service)),
                        Err(wrong) => services.wrong = Some(wrong),
                    }
                }
                Ok(services)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

/// Services that agree on something share it.
#[derive(Default)]
struct Converter {
    hosts: HashSet<Hostname>,
    origins: HashMap<Origin, Arc<Origin>>,
    ports: HashMap<PortMap, Arc<PortMap>>,
    labels: HashMap<Labels, Arc<Labels>>,
    names: HashSet<Arc<str>>,
}

impl Converter {
    /// A service whose host no other had before.
    fn known_once(&mut self, given: &ServiceFile) -> Result<Service, Wrong> {
        let service = self.service(given)?;
        if !self.hosts.insert(service.host.clone()) {
            return fail(
                given.host.referenced,
                format!(
                    "the service '{}' stands here twice; give it once, with all its endpoints",
                    service.host
                ),
            );
        }
        Ok(service)
    }

    fn service(&mut self, service: &ServiceFile) -> Result<Service, Wrong> {
        let host = hostname(&service.host)?;
        let ports = self.service_ports(&service.ports)?;
        let subsets = service.subsets.iter().map(|(name, labels)| {
            let labels = shared_map(labels);
            (
                Arc::from(name.as_str()),
                Subset {
                    labels,
                    ..Subset::default()
                },
            )
        });
        let mut endpoints = Vec::with_capacity(service.endpoints.len());
        let mut known = HashSet::new();
        for endpoint in &service.endpoints {
            let place = endpoint.address.referenced;
            let endpoint = self.endpoint(endpoint, &ports)?;
            // Equal port maps are shared, so the place of a map in memory stands for it.
            let ports = Arc::as_ptr(&endpoint.ports);
            if !known.insert((endpoint.origin.network.clone(), endpoint.address, ports)) {
                let problem =
                    "this endpoint stands here twice; for a larger share give it a weight";
                return fail(place, problem);
            }
            endpoints.push(endpoint);
        }
        Ok(Service {
            subsets: subsets.collect(),
            policy: self.policy(&service.policy)?.shared(),
            endpoints: Chunked::from_items(endpoints),
            ports,
            host,
        })
    }

    /// A port's name: most services have the same few.
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    fn service_ports(&mut self, ports: &[PortFile]) -> Result<Vec<Port>, Wrong> {
        let mut known: Vec<Port> = Vec::new();
        for port in ports {
            let number = port.number.value;
            if number == 0 {
                return fail(port.number.referenced, "a service port is 1 to 65535");
            }
            let protocol = match port.protocol {
                ProtocolFile::Tcp => Protocol::Tcp,
                ProtocolFile::Udp => Protocol::Udp,
            };
            // One number may stand for a TCP and a UDP port (DNS: 53), as in a Kubernetes Service.
            let same = |other: &Port| (other.number, other.protocol) == (number, protocol);
            if known
                .iter()
                .any(|other| same(other) || *other.name == *port.name)
            {
                let problem = format!(
                    "port {number} or its name '{}' stands here twice",
                    port.name
                );
                return fail(port.number.referenced, problem);
            }
            known.push(Port {
                number,
                name: self.name(&port.name),
                protocol,
            });
        }
        known.sort();
        // Most services have one or two, and a list that grows begins with room for four.
        known.shrink_to_fit();
        Ok(known)
    }

    fn endpoint(&mut self, endpoint: &EndpointFile, ports: &[Port]) -> Result<Endpoint, Wrong> {
        if endpoint.weight.value == 0 {
            return fail(
                endpoint.weight.referenced,
                "a weight is at least 1; to keep an endpoint out of use write 'health: unhealthy'",
            );
        }
        if endpoint.weight.value > MAX_WEIGHT {
            return fail(
                endpoint.weight.referenced,
                format!(
                    "'weight' is at most {MAX_WEIGHT}; weights only count against each other, so divide them all alike"
                ),
            );
        }
        let own_ports: PortMap = match &endpoint.ports {
            None => ports
                .iter()
                .map(|port| (port.name.clone(), port.number))
                .collect(),
            Some(Spanned {
                value, referenced, ..
            }) => {
                let unknown = value
                    .keys()
                    .find(|name| !ports.iter().any(|port| *port.name == **name));
                if let Some(name) = unknown {
                    let known: Vec<_> = ports
                        .iter()
                        .map(|port| format!("'{}'", port.name))
                        .collect();
                    return fail(
                        *referenced,
                        format!(
                            "the service has no port named '{name}', only {}",
                            known.join(", ")
                        ),
                    );
                }
                if value.values().any(|port| *port == 0) {
                    return fail(*referenced, "an endpoint's port is 1 to 65535");
                }
                value
                    .iter()
                    .map(|(name, port)| (self.name(name), *port))
                    .collect()
            }
        };
        let workload = &endpoint.workload;
        let origin = Origin {
            cluster: endpoint.cluster.as_str().into(),
            network: endpoint.network.as_str().into(),
            locality: endpoint.locality.as_str().into(),
            workload: Workload {
                namespace: workload.namespace.as_str().into(),
                name: workload.name.as_str().into(),
                canonical_name: workload.canonical_name.as_str().into(),
                canonical_revision: workload.canonical_revision.as_str().into(),
            },
        };
        Ok(Endpoint {
            // `::ffff:10.0.0.1` is dialled as 10.0.0.1, and is the same endpoint.
            address: endpoint.address.value.to_canonical(),
            weight: endpoint.weight.value,
            health: match endpoint.health {
                HealthFile::Healthy => Health::Healthy,
                HealthFile::Degraded => Health::Degraded,
                HealthFile::Unhealthy => Health::Unhealthy,
                HealthFile::Terminating => Health::Terminating,
            },
            tls: match endpoint.tls {
                TlsFile::Istio => TlsMode::Istio,
                TlsFile::Disabled => TlsMode::Disabled,
            },
            ports: shared(&mut self.ports, own_ports),
            labels: shared(&mut self.labels, shared_map(&endpoint.labels)),
            origin: shared(&mut self.origins, origin),
        })
    }

    fn policy(&self, policy: &PolicyFile) -> Result<Policy, Wrong> {
        let outlier_detection = policy
            .outlier_detection
            .as_ref()
            .map(|given| self.outlier(given));
        let keepalive = policy.keepalive.as_ref().map(|given| self.keepalive(given));
        let failover = policy.failover.iter();
        let distribute = policy.distribute.iter();
        // 0 is none, as in a DestinationRule.
        let some_time =
            |given: Option<Span>| given.map(|span| span.0).filter(|span| !span.is_zero());
        Ok(Policy {
            load_balancer: match policy.load_balancer {
                LoadBalancerFile::LeastRequest => LoadBalancer::LeastRequest,
                LoadBalancerFile::Random => LoadBalancer::Random,
                LoadBalancerFile::RoundRobin => LoadBalancer::RoundRobin,
                LoadBalancerFile::SourceIp => LoadBalancer::SourceIp,
            },
            locality: LocalityPolicy {
                disabled: policy.ignore_locality,
                failover_priority: policy
                    .failover_priority
                    .iter()
                    .map(|label| label.as_str().into())
                    .collect(),
                failover: failover
                    .map(|(from, to)| Failover {
                        from: from.as_str().into(),
                        to: to.as_str().into(),
                    })
                    .collect(),
                distribute: distribute
                    .map(|(from, to)| Distribute {
                        from: from.as_str().into(),
                        to: shared_map(to),
                    })
                    .collect(),
                traffic_distribution: match policy.traffic_distribution {
                    TrafficDistributionFile::Default => TrafficDistribution::Default,
                    TrafficDistributionFile::Any => TrafficDistribution::Any,
                    TrafficDistributionFile::PreferClose
                    | TrafficDistributionFile::PreferSameZone => TrafficDistribution::PreferClose,
                    TrafficDistributionFile::PreferSameNode => TrafficDistribution::PreferSameNode,
                },
            },
            outlier_detection: outlier_detection.transpose()?,
            warmup: policy.warmup.map(|span| span.0),
            connect_timeout: self.time(policy.connect_timeout.as_ref())?,
            max_connections: policy.max_connections.filter(|most| *most > 0),
            idle_timeout: some_time(policy.idle_timeout),
            max_duration: some_time(policy.max_duration),
            keepalive: keepalive.transpose()?,
            ports: BTreeMap::new(),
        })
    }

    fn outlier(&self, given: &OutlierFile) -> Result<OutlierDetection, Wrong> {
        let usual = OutlierDetection::default();
        let base = self.time(given.base_ejection.as_ref())?;
        let base_ejection = base.unwrap_or(usual.base_ejection);
        let max_ejection = self.time(given.max_ejection.as_ref())?;
        Ok(OutlierDetection {
            consecutive_failures: given.consecutive_failures,
            base_ejection,
            max_ejection: max_ejection.unwrap_or_else(|| usual.max_ejection.max(base_ejection)),
            min_health_percent: given.min_health_percent.min(100),
        })
    }

    fn keepalive(&self, given: &KeepaliveFile) -> Result<Keepalive, Wrong> {
        let usual = Keepalive::default();
        let time = |given: Option<&Spanned<Span>>, usual| match given {
            None => Ok(usual),
            Some(span) if Keepalive::SECONDS.contains(&span.value.0.as_secs()) => Ok(span.value.0),
            Some(span) => fail(
                span.referenced,
                "it must be between 1s and 32767s (9h): the kernel takes nothing else",
            ),
        };
        Ok(Keepalive {
            time: time(given.time.as_ref(), usual.time)?,
            interval: time(given.interval.as_ref(), usual.interval)?,
        })
    }

    /// A time of which nothing would be nonsense: every attempt would be over, every ejection, before it began.
    fn time(&self, given: Option<&Spanned<Span>>) -> Result<Option<Duration>, Wrong> {
        match given {
            Some(span) if span.value.0.is_zero() => fail(
                span.referenced,
                "it must be longer than nothing; without it, the usual one holds",
            ),
            given => Ok(given.map(|span| span.value.0)),
        }
    }
}

fn network(id: &str, network: &NetworkFile, loaded: &mut Loaded) -> Result<(), Wrong> {
    let mut gateways = Vec::new();
    for gateway in &network.gateways {
        let mut clusters: Vec<model::ClusterId> = gateway
            .clusters
            .iter()
            .map(|id| id.as_str().into())
            .collect();
        clusters.sort();
        let (address, port) = (&gateway.address.value, gateway.port.value);
        if port == 0 {
            return fail(gateway.port.referenced, "a gateway's port is 1 to 65535");
        }
        if let Ok(ip) = address.parse::<IpAddr>() {
            let address = SocketAddr::new(ip.to_canonical(), port);
            let same = |known: &Gateway| known.address == address;
            if gateways.iter().any(same) {
                return fail(gateway.address.referenced, TWICE);
            }
            gateways.push(Gateway {
                address,
                name: None,
                clusters,
            });
            continue;
        }
        let name = hostname(&gateway.address)?;
        let network: NetworkId = id.into();
        let same = |known: &GatewayName| {
            (&known.network, &known.name, known.port) == (&network, &name, port)
        };
        if loaded.names.iter().any(same) {
            return fail(gateway.address.referenced, TWICE);
        }
        loaded.names.push(GatewayName {
            network,
            name,
            port,
            clusters,
        });
    }
    gateways.sort();
    loaded.part.networks.insert(id.into(), Network { gateways });
    Ok(())
}

fn passthrough(route: &PassthroughFile, part: &Part) -> Result<PassthroughRoute, Wrong> {
    let mut hosts = Vec::new();
    for host in &route.hosts {
        if host.value == "*" {
            hosts.push("*".into());
            continue;
        }
        let plain = Spanned::new(
            host.value
                .strip_prefix("*.")
                .unwrap_or(&host.value)
                .to_owned(),
            host.referenced,
            host.defined,
        );
        let name = hostname(&plain)?;
        hosts.push(if plain.value == host.value {
            name.as_str().into()
        } else {
            format!("*.{name}").into()
        });
    }
    let mut to = Vec::new();
    for target in &route.to {
        let host = hostname(&target.host)?;
        let service = part.services.find(|service| service.host.cmp(&host));
        let wanted = |port: &Port| (port.number, port.protocol) == (target.port, Protocol::Tcp);
        let known = service.is_some_and(|service| service.ports.iter().any(wanted));
        if !known {
            return fail(
                target.host.referenced,
                format!(
                    "no service '{host}' with port {} stands in this file",
                    target.port
                ),
            );
        }
        let subset: Arc<str> = target.subset.value.as_str().into();
        let has_subset = |service: &Arc<Service>| service.subsets.contains_key(&subset);
        if !subset.is_empty() && !service.is_some_and(has_subset) {
            let problem = format!("the service '{host}' has no subset '{subset}'");
            return fail(target.subset.referenced, problem);
        }
        to.push(Destination {
            host,
            port: target.port,
            subset,
            weight: target.weight,
        });
    }
    Ok(PassthroughRoute {
        hosts,
        port: route.port,
        to,
    })
}

fn hostname(name: &Spanned<String>) -> Result<Hostname, Wrong> {
    Hostname::parse(&name.value).or_else(|fault| fail(name.referenced, fault.to_string()))
}

fn fail<T>(place: Location, problem: impl Into<String>) -> Result<T, Wrong> {
    let problem = problem.into();
    Err(Wrong { place, problem })
}

fn shared<T: Clone + Eq + Hash>(known: &mut HashMap<T, Arc<T>>, value: T) -> Arc<T> {
    known
        .entry(value)
        .or_insert_with_key(|value| Arc::new(value.clone()))
        .clone()
}

fn shared_map<V: Clone, W: From<V>>(map: &BTreeMap<String, V>) -> BTreeMap<Arc<str>, W> {
    map.iter()
        .map(|(key, value)| (key.as_str().into(), value.clone().into()))
        .collect()
}
