//! What a running istiod was recorded to send, answered to the client as it asks: its snapshot routes as istiod's own
//! configuration does, name by name, refusal by refusal.

use prost::Message;

use super::*;
use crate::proto::cluster::Cluster;
use crate::proto::endpoint::ClusterLoadAssignment;
use crate::proto::endpoint::lb_endpoint::HostIdentifier;
use crate::proto::listener::Listener;
use crate::proto::protobuf::Any;

const HELLO: &str = "outbound_.5000_._.hello.default.svc.cluster.local";
const V1: &str = "outbound_.5000_.v1_.hello.default.svc.cluster.local";
const V2: &str = "outbound_.5000_.v2_.hello.default.svc.cluster.local";

/// A recording, put into a server response by response, as far as the client has seen it.
struct Replay {
    pair: Pair,
    rest: std::vec::IntoIter<(Kind, Response)>,
}

impl Replay {
    /// The first round: clusters, endpoints, listeners.
    fn start(recording: &str, mode: Mode) -> Self {
        let mut replay = Self {
            pair: Pair::new(mode),
            rest: samples::recorded(recording).into_iter(),
        };
        replay.pair.server.unversioned = true;
        replay.take(3);
        replay.pair.connect();
        replay
    }

    /// So many responses more, and the client is told of all of them.
    fn go_on(&mut self, responses: usize) {
        self.take(responses);
        self.pair.push();
        assert_eq!(self.pair.names(), self.by_envoys_rules());
        assert_eq!(self.pair.refused, []);
    }

    fn take(&mut self, responses: usize) {
        for (kind, response) in self.rest.by_ref().take(responses) {
            let (bodies, removed, whole) = match response {
                Response::Delta(response) => {
                    let resources = response.resources.into_iter();
                    let bodies: Vec<Any> = resources.filter_map(|one| one.resource).collect();
                    (bodies, response.removed_resources, false)
                }
                Response::Sotw(response) => {
                    (response.resources, Vec::new(), kind != Kind::Endpoints)
                }
            };
            let named: Vec<(String, Any)> = bodies
                .into_iter()
                .map(|body| (name_of(kind, &body), body))
                .collect();
            let mut gone = removed;
            if whole {
                let held = self.pair.server.resources.entry(kind).or_default().keys();
                gone.extend(
                    held.filter(|name| !named.iter().any(|(known, _)| known == *name))
                        .cloned(),
                );
            }
            for (name, body) in named {
                self.pair.put(kind, &name, body);
            }
            for name in gone {
                self.pair.server.set(kind, &name, None);
            }
        }
    }

    /// What Envoy does with the same resources, worked out from them alone: the chain of the exact name, its tcp_proxy's
    /// cluster, that cluster's endpoints by priority.
    fn by_envoys_rules(&self) -> BTreeMap<String, Vec<String>> {
        let held = |kind| self.pair.server.resources.get(&kind).into_iter().flatten();
        let mut endpoints: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, (_, body)) in held(Kind::Endpoints) {
            let assignment = ClusterLoadAssignment::decode(&*body.value).expect("an assignment");
            let mut of = Vec::new();
            for group in &assignment.endpoints {
                for one in &group.lb_endpoints {
                    let Some(HostIdentifier::Endpoint(endpoint)) = &one.host_identifier else {
                        panic!("no endpoint");
                    };
                    let text = format!("{:?}", endpoint.address);
                    let ip = text.split('"').nth(1).expect("an address");
                    let port = text
                        .split("PortValue(")
                        .nth(1)
                        .and_then(|rest| rest.split(')').next());
                    let mark = if one.health_status == 1 {
                        ""
                    } else {
                        " unready"
                    };
                    of.push(format!(
                        "{} {ip}:{}{mark}",
                        group.priority,
                        port.expect("a port")
                    ));
                }
            }
            of.sort();
            endpoints.insert(name.clone(), of);
        }
        let clusters: BTreeSet<&String> = held(Kind::Clusters).map(|(name, _)| name).collect();
        let mut names = BTreeMap::new();
        for (_, (_, body)) in held(Kind::Listeners) {
            let listener = Listener::decode(&*body.value).expect("a listener");
            for chain in &listener.filter_chains {
                let of = chain.filter_chain_match.as_ref().expect("a match");
                for name in &of.server_names {
                    assert!(
                        clusters.contains(name),
                        "istiod names the cluster as the chain"
                    );
                    names.insert(
                        name.clone(),
                        endpoints.get(name).cloned().unwrap_or_default(),
                    );
                }
            }
        }
        names
    }

    fn of(&self, name: &str) -> Option<Vec<String>> {
        self.pair.names().get(name).cloned()
    }
}

fn name_of(kind: Kind, body: &Any) -> String {
    let bytes = &*body.value;
    match kind {
        Kind::Clusters => Cluster::decode(bytes).expect("a cluster").name,
        Kind::Endpoints => {
            ClusterLoadAssignment::decode(bytes)
                .expect("endpoints")
                .cluster_name
        }
        Kind::Listeners => Listener::decode(bytes).expect("a listener").name,
    }
}

fn list(endpoints: &[&str]) -> Option<Vec<String>> {
    Some(endpoints.iter().map(ToString::to_string).collect())
}

#[test]
fn the_first_round_routes_as_istiods_own_configuration_does() {
    for (recording, mode) in [
        ("router-delta", Mode::Delta),
        ("router-sotw", Mode::Sotw),
        ("default-router-delta", Mode::Delta),
    ] {
        let mut replay = Replay::start(recording, mode);
        replay.go_on(0);
        assert_eq!(
            replay.of(HELLO),
            list(&["0 10.2.1.10:9898", "0 10.2.1.11:9898"]),
            "{recording}"
        );
        assert_eq!(replay.pair.names().len(), 7, "{recording}");
        assert_eq!(
            replay.of("outbound_.9898_._.hello.default.svc.cluster.local"),
            None
        );
        let kubernetes = "outbound_.443_._.kubernetes.default.svc.cluster.local";
        assert_eq!(
            replay.of(kubernetes),
            list(&[]),
            "exposed, but nothing there speaks mutual TLS"
        );
        let host = model::Hostname::parse("hello.default.svc.cluster.local").expect("a host name");
        let service = replay.pair.snapshot.service(&host).expect("the service");
        let first = service.endpoints.iter().next().expect("an endpoint");
        assert_eq!(first.origin.locality, "us-east/us-east-1".into());
        assert_eq!(
            (first.origin.cluster.as_str(), first.origin.network.as_str()),
            ("us", "n1")
        );
        let workload = &first.origin.workload;
        assert_eq!(
            (&*workload.name, &*workload.canonical_revision),
            ("hello-0", "v1")
        );
        assert_eq!(first.tls, model::TlsMode::Istio);
        assert_eq!(
            service.policy,
            Arc::default(),
            "istiod's usual values are no wishes"
        );
    }
}

#[test]
fn istios_own_filters_are_passed_over_and_counted() {
    let replay = Replay::start("default-router-delta", Mode::Delta);
    let unused = replay.pair.session.world().unused();
    assert_eq!(unused.left_out, []);
    let skipped: Vec<_> = unused
        .skipped
        .iter()
        .map(|(what, count)| (&**what, *count))
        .collect();
    assert_eq!(
        skipped,
        [
            ("istio.metadata_exchange", 14),
            ("type.googleapis.com/stats.PluginConfig", 7),
        ]
    );
}

/// Each event of the recording, in both protocols; after each of them all names are compared, and those that it is about are
/// said here.
#[test]
fn every_recorded_change_is_followed() {
    for (recording, mode) in [
        ("router-push-delta", Mode::Delta),
        ("router-push-sotw", Mode::Sotw),
    ] {
        let mut replay = Replay::start(recording, mode);
        // The DestinationRule detects outliers, so the other zone is the second tier; a subset of one endpoint has one tier.
        let one = "0 10.2.1.10:9898";
        let two = "0 10.2.1.11:9898";
        let far = "1 10.2.1.11:9898";
        let gone = "1 10.2.1.11:9898 unready";
        replay.go_on(0);
        assert_eq!(replay.of(V2), list(&[two]), "at first");
        replay.go_on(1);
        assert_eq!(
            replay.of(HELLO),
            list(&[one, gone]),
            "hello-1 turns unready"
        );
        assert_eq!(replay.of(V2), list(&["0 10.2.1.11:9898 unready"]));
        replay.go_on(1);
        assert_eq!(replay.of(HELLO), list(&[one]), "hello-1 is removed");
        assert_eq!(replay.of(V2), list(&[]));
        replay.go_on(1);
        assert_eq!(replay.of(HELLO), list(&[]), "all are removed");
        replay.go_on(1);
        assert_eq!(replay.of(HELLO), list(&[one, far]), "they are back");
        replay.go_on(3);
        assert_eq!(replay.of(V1), None, "the DestinationRule is deleted");
        assert_eq!(replay.of(HELLO), list(&[one, two]));
        replay.go_on(3);
        assert_eq!(replay.of(V1), list(&[one]), "it is created");
        let names = replay.pair.names().len();
        let rest = replay.rest.len();
        assert_eq!(rest, 8, "{recording}: what follows is counted below");
        replay.go_on(2);
        assert_eq!(
            replay.pair.names().len(),
            names + 1,
            "a Service is created, one of its two ports for UDP"
        );
        replay.go_on(2);
        assert_eq!(replay.pair.names().len(), names, "it is deleted");
        replay.go_on(2);
        assert_eq!(replay.pair.names().len(), 0, "the Gateway is deleted");
        replay.go_on(2);
        assert_eq!(replay.pair.names().len(), names, "it is created");
        assert_eq!(replay.of(V2), list(&[two]));
    }
}
