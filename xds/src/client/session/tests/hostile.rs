//! Servers that have gone mad: whatever they send, so much is kept of it and no more, and what is good stays.

use super::*;
use crate::proto::discovery::Resource;

const CEILINGS: Ceilings = Ceilings {
    resources: 3,
    endpoints: 5,
    response: usize::MAX,
};

fn resource(name: &str, body: Any) -> Resource {
    Resource {
        name: name.into(),
        version: "1".into(),
        resource: Some(body),
        ..Resource::default()
    }
}

fn limited(mut pair: Pair) -> Pair {
    pair.session.limit(CEILINGS);
    pair
}

fn hosts(count: usize) -> Vec<One<'static>> {
    const ADDRESSES: [&str; 6] = [
        "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6",
    ];
    ADDRESSES[..count]
        .iter()
        .map(|address| (*address, 80, OK, 1))
        .collect()
}

#[test]
fn a_set_without_end_is_taken_up_to_the_ceiling() {
    both(|pair| {
        let mut pair = limited(pair);
        pair.serve(A, &hosts(1));
        pair.listen(&[A]);
        pair.connect();
        for n in 0..100 {
            let name = format!("outbound_.80_._.c{n}");
            pair.put(Kind::Clusters, &name, pack(&cluster(&name)));
            pair.push();
        }
        // One listener, A, and one of the hundred.
        assert_eq!(pair.session.world().count(Kind::Clusters), 2);
        assert!(
            pair.refused[0].why.contains("3 clusters and listeners"),
            "{:?}",
            pair.refused[0]
        );
        assert_eq!(pair.names(), listed(&[(A, &["0 10.0.0.1:80"])]));
        // What is known goes on being followed, and there is room again when something goes.
        pair.serve(A, &hosts(2));
        pair.push();
        assert_eq!(
            pair.names(),
            listed(&[(A, &["0 10.0.0.1:80", "0 10.0.0.2:80"])])
        );
        for n in 0..100 {
            pair.server
                .set(Kind::Clusters, &format!("outbound_.80_._.c{n}"), None);
        }
        pair.push();
        pair.serve(B, &hosts(1));
        pair.push();
        assert_eq!(pair.session.world().count(Kind::Clusters), 2);
        assert_eq!(pair.session.refused().count(), 0);
    });
}

#[test]
fn endpoints_without_end_are_refused_and_the_last_good_ones_stay() {
    both(|pair| {
        let mut pair = limited(pair);
        pair.serve(A, &hosts(3));
        pair.serve(B, &hosts(2));
        pair.listen(&[A, B]);
        pair.connect();
        assert_eq!(pair.refused, []);
        pair.serve(A, &hosts(4));
        pair.push();
        let [refusal] = &pair.refused[..] else {
            panic!("{:?}", pair.refused);
        };
        assert_eq!(refusal.name, A);
        assert!(refusal.why.contains("6 endpoints, and 5"), "{refusal:?}");
        assert_eq!(pair.names()[A].len(), 3);
        // The others give them up.
        pair.serve(B, &hosts(1));
        pair.push();
        pair.serve(A, &hosts(4));
        pair.push();
        assert_eq!((pair.names()[A].len(), pair.names()[B].len()), (4, 1));
        assert_eq!(pair.session.refused().count(), 0);
    });
}

#[test]
fn of_endless_refusals_a_beginning_is_on_record() {
    let mut session = Session::new(Mode::Delta, "n1".into());
    session.open();
    for round in 0..3 {
        let bad = (0..LISTED).map(|n| resource(&format!("{round}-{n}"), pack(&cluster(A))));
        let received = session.receive(Response::Delta(DeltaDiscoveryResponse {
            type_url: Kind::Clusters.type_url().into(),
            resources: bad.collect(),
            ..DeltaDiscoveryResponse::default()
        }));
        assert_eq!(received.refused.len(), LISTED);
        let Some(Request::Delta(nack)) = received.requests.first() else {
            panic!("no answer");
        };
        let said = nack.error_detail.as_ref().expect("a refusal");
        assert!(said.message.ends_with("and 995 more"), "{}", said.message);
    }
    assert_eq!(session.refused().count(), LISTED);
    // Nor is a name quoted that has no end; a good one of it is one all the same.
    let long = "x".repeat(1 << 20);
    let mut session = Session::new(Mode::Delta, "n1".into());
    session.open();
    let mut tell = |body: Any| {
        session.receive(Response::Delta(DeltaDiscoveryResponse {
            type_url: Kind::Clusters.type_url().into(),
            resources: vec![resource(&long, body)],
            ..DeltaDiscoveryResponse::default()
        }))
    };
    let refused = tell(pack(&cluster(A))).refused;
    assert_eq!(
        (refused[0].name.len(), refused[0].why.len() < 2 * QUOTED),
        (QUOTED, true)
    );
    assert_eq!(tell(pack(&cluster(&long))).refused, []);
    assert_eq!(session.refused().count(), 0);
}

#[test]
fn what_was_never_asked_for_is_not_even_answered() {
    for type_url in [
        "",
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "\u{0}",
    ] {
        let mut session = Session::new(Mode::Sotw, "n1".into());
        session.open();
        let received = session.receive(Response::Sotw(DiscoveryResponse {
            type_url: type_url.into(),
            resources: vec![pack(&cluster(A))],
            nonce: "1".into(),
            ..DiscoveryResponse::default()
        }));
        assert_eq!(received, Received::default(), "{type_url}");
        assert_eq!(session.world().count(Kind::Clusters), 0);
    }
    // Endpoints that nobody wants are not kept.
    let mut session = Session::new(Mode::Delta, "n1".into());
    session.open();
    let endpoints = samples::endpoints(A, &[(0, "us/a", 1, &hosts(1))]);
    session.receive(Response::Delta(DeltaDiscoveryResponse {
        type_url: Kind::Endpoints.type_url().into(),
        resources: vec![resource(A, pack(&endpoints))],
        ..DeltaDiscoveryResponse::default()
    }));
    assert_eq!(session.world().count(Kind::Endpoints), 0);
}

#[test]
fn in_state_of_the_world_too_a_name_stands_once_and_has_its_type() {
    let mut session = Session::new(Mode::Sotw, "n1".into());
    session.open();
    let mut tell = |resources: Vec<Any>| {
        session.receive(Response::Sotw(DiscoveryResponse {
            type_url: Kind::Clusters.type_url().into(),
            resources,
            nonce: "1".into(),
            ..DiscoveryResponse::default()
        }))
    };
    let twice = tell(vec![
        pack(&cluster(A)),
        pack(&cluster(B)),
        pack(&cluster(A)),
    ]);
    assert_eq!(twice.refused.len(), 1);
    assert_eq!(
        (&*twice.refused[0].name, &*twice.refused[0].why),
        (A, "it stands twice in one response")
    );
    let odd = tell(vec![pack(&cluster(A)), pack(&samples::endpoints(B, &[]))]);
    assert!(odd.refused[0].why.starts_with("its type is"), "{odd:?}");
    // It may have been any of those that seem to be gone.
    assert_eq!(session.world().count(Kind::Clusters), 2);
}

/// A resource without a body only says that what is known goes on (`Resource.ttl`).
#[test]
fn a_heartbeat_changes_nothing() {
    let beat = Resource {
        name: A.into(),
        ..Resource::default()
    };
    let delta = |resource| {
        Response::Delta(DeltaDiscoveryResponse {
            type_url: Kind::Clusters.type_url().into(),
            resources: vec![resource],
            ..DeltaDiscoveryResponse::default()
        })
    };
    let sotw = |resource| {
        let envelope = Any {
            type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(),
            value: prost::Message::encode_to_vec(&resource),
        };
        Response::Sotw(DiscoveryResponse {
            type_url: Kind::Clusters.type_url().into(),
            resources: vec![envelope],
            ..DiscoveryResponse::default()
        })
    };
    let modes: [(Mode, &dyn Fn(Resource) -> Response); 2] =
        [(Mode::Delta, &delta), (Mode::Sotw, &sotw)];
    for (mode, response) in modes {
        let mut session = Session::new(mode, "n1".into());
        session.open();
        session.receive(response(resource(A, pack(&cluster(A)))));
        let received = session.receive(response(beat.clone()));
        assert_eq!(received.refused, []);
        assert_eq!(session.world().count(Kind::Clusters), 1, "{mode:?}");
    }
}
