//! The session against a server by the book, in both protocols.

mod hostile;
mod recorded;
mod storms;

use std::collections::VecDeque;

use crate::client::book::Book;
use crate::client::samples::{self, One, chain, cluster, mesh_chain, names};
use crate::proto::core::HealthStatus;
use crate::proto::discovery::ResourceName;
use crate::proto::pack;
use crate::proto::protobuf::Any;

use super::*;

const A: &str = "outbound_.80_._.a";
const B: &str = "outbound_.80_._.b";
const OK: HealthStatus = HealthStatus::Healthy;

/// A client and a server, with the responses that are on their way.
struct Pair {
    session: Session,
    server: Book,
    snapshot: Arc<Snapshot>,
    refused: Vec<Refusal>,
}

impl Pair {
    fn new(mode: Mode) -> Self {
        Self {
            session: Session::new(mode, "n1".into()),
            server: Book::default(),
            snapshot: Arc::default(),
            refused: Vec::new(),
        }
    }

    fn put(&mut self, kind: Kind, name: &str, body: Any) {
        self.server.set(kind, name, Some(body));
    }

    /// A mesh name with its cluster and these endpoints.
    fn serve(&mut self, name: &str, hosts: &[One<'_>]) {
        self.put(Kind::Clusters, name, pack(&cluster(name)));
        let endpoints = samples::endpoints(name, &[(0, "us/a", 1, hosts)]);
        self.put(Kind::Endpoints, name, pack(&endpoints));
    }

    fn listen(&mut self, names: &[&str]) {
        let chains = names.iter().map(|name| mesh_chain(name)).collect();
        let listener = samples::listener(15443, chains);
        self.put(Kind::Listeners, &listener.name.clone(), pack(&listener));
    }

    /// A new stream, and everything that is said on it.
    fn connect(&mut self) {
        self.server.disconnect();
        let requests = self.session.open();
        self.say(requests);
    }

    /// The server tells what has changed, and everything that follows.
    fn push(&mut self) {
        let delta = self.session.mode() == Mode::Delta;
        for response in self.server.push(delta) {
            self.hear(response);
        }
        self.snapshot = self.session.snapshot(&self.snapshot);
    }

    /// Requests reach the server in the order in which they were sent.
    fn say(&mut self, requests: Vec<Request>) {
        let mut queue = VecDeque::from(requests);
        while let Some(request) = queue.pop_front() {
            if let Some(response) = self.server.request(request) {
                let received = self.session.receive(response);
                self.refused.extend(received.refused);
                queue.extend(received.requests);
            }
        }
        self.snapshot = self.session.snapshot(&self.snapshot);
    }

    fn hear(&mut self, response: Response) {
        let received = self.session.receive(response);
        self.refused.extend(received.refused);
        self.say(received.requests);
    }

    fn names(&self) -> BTreeMap<String, Vec<String>> {
        names(&self.snapshot)
    }
}

fn listed(names: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let entry = |(name, endpoints): &(&str, &[&str])| {
        let endpoints = endpoints.iter().map(ToString::to_string).collect();
        ((*name).to_owned(), endpoints)
    };
    names.iter().map(entry).collect()
}

fn both(story: impl Fn(Pair)) {
    for mode in [Mode::Delta, Mode::Sotw] {
        story(Pair::new(mode));
    }
}

#[test]
fn endpoints_are_asked_for_where_a_chain_leads_and_nowhere_else() {
    both(|mut pair| {
        pair.serve(A, &[("10.0.0.1", 80, OK, 1)]);
        pair.serve(B, &[("10.0.0.2", 80, OK, 1)]);
        assert!(!pair.session.is_complete());
        pair.connect();
        // Clusters alone lead nowhere, and there is no listener.
        assert_eq!(pair.names(), listed(&[]));
        assert!(pair.session.is_complete());
        pair.listen(&[A]);
        pair.push();
        assert_eq!(pair.names(), listed(&[(A, &["0 10.0.0.1:80"])]));
        assert_eq!(pair.session.world().count(Kind::Endpoints), 1);
        pair.listen(&[A, B]);
        pair.push();
        let two = listed(&[(A, &["0 10.0.0.1:80"]), (B, &["0 10.0.0.2:80"])]);
        assert_eq!(pair.names(), two);
        pair.listen(&[B]);
        pair.push();
        assert_eq!(pair.names(), listed(&[(B, &["0 10.0.0.2:80"])]));
        assert_eq!(pair.session.world().count(Kind::Endpoints), 1);
        assert_eq!(pair.server.nacks, []);
    });
}

#[test]
fn what_goes_is_gone_and_what_has_no_endpoints_is_still_a_name() {
    both(|mut pair| {
        pair.serve(A, &[("10.0.0.1", 80, OK, 1)]);
        pair.serve(B, &[("10.0.0.2", 80, OK, 1)]);
        pair.listen(&[A, B]);
        pair.connect();
        pair.server.set(Kind::Endpoints, A, None);
        pair.push();
        assert_eq!(pair.names(), listed(&[(A, &[]), (B, &["0 10.0.0.2:80"])]));
        pair.server.set(Kind::Clusters, B, None);
        pair.push();
        assert_eq!(pair.names(), listed(&[(A, &[]), (B, &[])]));
        pair.server.set(Kind::Listeners, "0.0.0.0_15443", None);
        pair.push();
        assert_eq!(pair.names(), listed(&[]));
    });
}

#[test]
fn a_bad_resource_is_refused_costs_no_other_and_the_last_good_one_stays() {
    both(|mut pair| {
        pair.serve(A, &[("10.0.0.1", 80, OK, 1)]);
        pair.serve(B, &[("10.0.0.2", 80, OK, 1)]);
        pair.listen(&[A, B]);
        pair.connect();
        let bad = samples::endpoints(A, &[(0, "", 1, &[("nowhere", 80, OK, 1)])]);
        pair.put(Kind::Endpoints, A, pack(&bad));
        pair.serve(B, &[("10.0.0.3", 80, OK, 1)]);
        pair.push();
        let names = listed(&[(A, &["0 10.0.0.1:80"]), (B, &["0 10.0.0.3:80"])]);
        assert_eq!(pair.names(), names);
        let refused: Vec<_> = pair.session.refused().collect();
        assert_eq!(
            refused,
            [(Kind::Endpoints, A, "'nowhere' is not an IP address")]
        );
        let [(Kind::Endpoints, complaint)] = &*pair.server.nacks else {
            panic!("{:?}", pair.server.nacks);
        };
        assert_eq!(*complaint, format!("{A}: 'nowhere' is not an IP address"));
        // The same for clusters and listeners.
        let mut odd = cluster(B);
        odd.lb_policy = 99;
        pair.put(Kind::Clusters, B, pack(&odd));
        let listener = samples::listener(15443, vec![chain(&["*"], &[], &[("c", 1)])]);
        pair.put(Kind::Listeners, "0.0.0.0_15443", pack(&listener));
        pair.push();
        assert_eq!(pair.names(), names);
        assert_eq!(pair.session.refused().count(), 3);
        // A good one mends it.
        pair.serve(A, &[("10.0.0.4", 80, OK, 1)]);
        pair.serve(B, &[("10.0.0.3", 80, OK, 1)]);
        pair.listen(&[A]);
        pair.push();
        assert_eq!(pair.names(), listed(&[(A, &["0 10.0.0.4:80"])]));
        assert_eq!(pair.session.refused().count(), 0);
    });
}

#[test]
fn a_first_assignment_that_cannot_be_read_holds_nothing_up() {
    both(|mut pair| {
        pair.serve(A, &[("nowhere", 80, OK, 1)]);
        pair.serve(B, &[("10.0.0.2", 80, OK, 1)]);
        pair.listen(&[A, B]);
        pair.connect();
        assert!(pair.session.is_complete());
        // The name is there without endpoints, as for Envoy: a route to it and others goes on to the others.
        let names = listed(&[(A, &[]), (B, &["0 10.0.0.2:80"])]);
        assert_eq!(pair.names(), names);
    });
}

/// A response that has the server's own errors (`resource_errors`), and resources in state of the world.
fn errors(mode: Mode, kind: Kind, of: &[(&str, i32)], resources: Vec<Any>) -> Response {
    let error = |(name, code): &(&str, i32)| ResourceError {
        resource_name: Some(ResourceName {
            name: (*name).to_owned(),
            ..ResourceName::default()
        }),
        error_detail: Some(Status {
            code: *code,
            message: "so it is".into(),
            details: Vec::new(),
        }),
    };
    let (resource_errors, type_url) = (of.iter().map(error).collect(), kind.type_url().into());
    match mode {
        Mode::Delta => Response::Delta(DeltaDiscoveryResponse {
            resource_errors,
            type_url,
            ..DeltaDiscoveryResponse::default()
        }),
        Mode::Sotw => Response::Sotw(DiscoveryResponse {
            resource_errors,
            type_url,
            resources,
            ..DiscoveryResponse::default()
        }),
    }
}

/// Nothing is wrong with what the server says then, so it is not refused.
#[test]
fn where_the_server_has_an_error_the_last_good_one_stays_and_what_is_not_found_is_gone() {
    const C: &str = "outbound_.80_._.c";
    both(|mut pair| {
        let mode = pair.session.mode();
        for (name, address) in [(A, "10.0.0.1"), (B, "10.0.0.2"), (C, "10.0.0.3")] {
            pair.serve(name, &[(address, 80, OK, 1)]);
        }
        pair.listen(&[A, B]);
        pair.connect();
        let rest = vec![pack(&cluster(A)), pack(&cluster(B))];
        for (kind, of, rest) in [
            (Kind::Endpoints, [(A, 13), (B, 5)], Vec::new()),
            (Kind::Clusters, [(C, 7), ("gone", 5)], rest),
        ] {
            let received = pair.session.receive(errors(mode, kind, &of, rest));
            assert_eq!(received.refused, []);
            let [answer] = &received.requests[..] else {
                panic!("{received:?}");
            };
            let error = match answer {
                Request::Delta(request) => &request.error_detail,
                Request::Sotw(request) => &request.error_detail,
            };
            assert_eq!(*error, None);
        }
        pair.snapshot = pair.session.snapshot(&pair.snapshot);
        assert_eq!(pair.names(), listed(&[(A, &["0 10.0.0.1:80"]), (B, &[])]));
        assert_eq!(pair.session.world().count(Kind::Clusters), 3);
        let said: Vec<_> = pair.session.refused().collect();
        assert_eq!(
            said,
            [
                (Kind::Clusters, C, "the server says: so it is (code 7)"),
                (Kind::Endpoints, A, "the server says: so it is (code 13)")
            ]
        );
        // The error goes with the next good one.
        let endpoints = samples::endpoints(A, &[(0, "us/a", 1, &[("10.0.0.4", 80, OK, 1)])]);
        pair.put(Kind::Endpoints, A, pack(&endpoints));
        pair.push();
        assert_eq!(pair.names()[A], ["0 10.0.0.4:80"]);
        let said: Vec<_> = pair.session.refused().map(|(kind, ..)| kind).collect();
        assert_eq!(said, [Kind::Clusters]);
        // And nobody waits for one that comes to nothing.
        let mut session = Session::new(mode, "n1".into());
        session.open();
        let listener = samples::listener(15443, vec![mesh_chain(A), mesh_chain(B)]);
        for (kind, body) in [
            (Kind::Clusters, pack(&cluster(A))),
            (Kind::Clusters, pack(&cluster(B))),
            (Kind::Listeners, pack(&listener)),
        ] {
            let taken = session.put(kind, &body.value, "");
            taken.expect("a good resource");
        }
        assert_eq!(session.waiting(), [A.into(), B.into()]);
        session.receive(errors(
            mode,
            Kind::Endpoints,
            &[(A, 13), (B, 5)],
            Vec::new(),
        ));
        assert_eq!(session.waiting(), []);
    });
}

#[test]
fn a_new_stream_takes_nothing_away_and_learns_what_went_meanwhile() {
    for (mode, unversioned) in [
        (Mode::Delta, false),
        (Mode::Delta, true),
        (Mode::Sotw, false),
    ] {
        let mut pair = Pair::new(mode);
        pair.server.unversioned = unversioned;
        pair.serve(A, &[("10.0.0.1", 80, OK, 1)]);
        pair.serve(B, &[("10.0.0.2", 80, OK, 1)]);
        pair.listen(&[A, B]);
        pair.connect();
        let before = pair.snapshot.clone();
        pair.connect();
        assert!(Arc::ptr_eq(&before, &pair.snapshot), "nothing has changed");
        pair.server.disconnect();
        pair.listen(&[A]);
        pair.server.set(Kind::Clusters, B, None);
        pair.serve(A, &[("10.0.0.9", 80, OK, 1)]);
        pair.connect();
        assert_eq!(pair.names(), listed(&[(A, &["0 10.0.0.9:80"])]));
        assert_eq!(pair.session.world().count(Kind::Clusters), 1);
    }
}

#[test]
fn the_first_requests_of_a_stream_say_what_is_known() {
    let mut pair = Pair::new(Mode::Delta);
    pair.serve(A, &[("10.0.0.1", 80, OK, 1)]);
    pair.listen(&[A]);
    pair.connect();
    let requests = pair.session.open();
    let known = |request: &Request| match request {
        Request::Delta(request) => {
            let mut known: Vec<_> = request.initial_resource_versions.iter().collect();
            known.sort();
            let known = known
                .into_iter()
                .map(|(name, version)| format!("{name} {version}"));
            let subscribed = request.resource_names_subscribe.join(" ");
            (request.response_nonce.clone(), subscribed, known.collect())
        }
        Request::Sotw(_) => panic!("the other protocol"),
    };
    let known: Vec<(String, String, Vec<String>)> = requests.iter().map(known).collect();
    let none = String::new;
    assert_eq!(
        known,
        [
            (none(), none(), vec![format!("{A} 1")]),
            (none(), none(), vec!["0.0.0.0_15443 3".to_owned()]),
            (none(), A.to_owned(), vec![format!("{A} 2")]),
        ]
    );
    pair.session.set_mode(Mode::Sotw);
    for request in pair.session.open() {
        let Request::Sotw(request) = request else {
            panic!("the other protocol");
        };
        assert_eq!(
            (request.version_info, request.response_nonce),
            (none(), none())
        );
    }
}

#[test]
fn what_does_not_come_is_waited_for_and_then_taken_for_not_there() {
    let mut session = Session::new(Mode::Delta, "n1".into());
    session.open();
    session.give_up(false);
    assert!(
        !session.is_complete(),
        "a server that has said nothing may have everything"
    );
    let respond = |session: &mut Session, kind: Kind, name: &str, body: Any| {
        let response = DeltaDiscoveryResponse {
            type_url: kind.type_url().into(),
            resources: vec![crate::proto::discovery::Resource {
                name: name.into(),
                resource: Some(body),
                ..Default::default()
            }],
            nonce: "n".into(),
            ..DeltaDiscoveryResponse::default()
        };
        session.receive(Response::Delta(response))
    };
    respond(&mut session, Kind::Clusters, A, pack(&cluster(A)));
    let listener = samples::listener(15443, vec![mesh_chain(A)]);
    respond(
        &mut session,
        Kind::Listeners,
        &listener.name,
        pack(&listener),
    );
    assert_eq!(session.waiting(), [A.into()]);
    assert!(!session.is_complete());
    let before = Arc::default();
    assert_eq!(
        names(&session.snapshot(&before)),
        listed(&[]),
        "a name comes with its endpoints"
    );
    session.give_up(false);
    assert!(session.is_complete());
    assert_eq!(names(&session.snapshot(&before)), listed(&[(A, &[])]));
    let late = samples::endpoints(A, &[(0, "", 1, &[("10.0.0.1", 80, OK, 1)])]);
    respond(&mut session, Kind::Endpoints, A, pack(&late));
    assert_eq!(
        names(&session.snapshot(&before)),
        listed(&[(A, &["0 10.0.0.1:80"])])
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let resource = |name: &str, body: Any| crate::proto::discovery::Resource {
        name: name.into(),
        resource: Some(body),
        ..Default::default()
    };
    let twice = vec![
        resource(A, pack(&cluster(A))),
        resource(A, pack(&cluster(A))),
    ];
    for (resources, expected, known) in [
        (twice, "it stands twice in one response", 1),
        (
            vec![resource(A, pack(&cluster(B)))],
            "it calls itself 'outbound_.80_._.b'",
            0,
        ),
        (
            vec![resource(A, pack(&samples::endpoints(A, &[])))],
            "its type is type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            0,
        ),
    ] {
        let mut session = Session::new(Mode::Delta, "n1".into());
        session.open();
        let received = session.receive(Response::Delta(DeltaDiscoveryResponse {
            type_url: Kind::Clusters.type_url().into(),
            resources,
            nonce: "7".into(),
            ..DeltaDiscoveryResponse::default()
        }));
        let refusal = Refusal {
            name: A.into(),
            why: expected.into(),
        };
        assert_eq!(received.refused, [refusal]);
        let Some(Request::Delta(nack)) = received.requests.first() else {
            panic!("no answer");
        };
        assert_eq!(nack.response_nonce, "7");
        let said = nack
            .error_detail
            .as_ref()
            .map(|status| (status.code, &*status.message));
        assert_eq!(said, Some((3, &*format!("{A}: {expected}"))));
        assert_eq!(session.world().count(Kind::Clusters), known);
    }
}
