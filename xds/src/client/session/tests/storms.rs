//! Whatever the order of changes, streams, refusals and pushes: in the end the client has the server's resources and nothing
//! else.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Cluster(usize, Option<bool>),
    Endpoints(usize, Option<Vec<u8>>),
    BadEndpoints(usize),
    Listen(Vec<usize>),
    NoListener,
    Push,
    /// The stream ends with so many of the pushed responses undelivered.
    Cut(usize),
    Connect,
}

const NAMES: [&str; 5] = [
    "outbound_.80_._.a",
    "outbound_.80_.v1_.a",
    "outbound_.81_._.a",
    "outbound_.80_._.b",
    "outbound_.80_.v1_.b",
];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        (name.clone(), proptest::option::of(any::<bool>())).prop_map(|(n, c)| Step::Cluster(n, c)),
        (
            name.clone(),
            proptest::option::of(proptest::collection::vec(0_u8..6, 0..4))
        )
            .prop_map(|(n, e)| Step::Endpoints(n, e)),
        name.clone().prop_map(Step::BadEndpoints),
        proptest::collection::vec(name, 0..6).prop_map(Step::Listen),
        Just(Step::NoListener),
        Just(Step::Push),
        Just(Step::Push),
        (0_usize..3).prop_map(Step::Cut),
        Just(Step::Connect),
    ]
}

/// Endpoints in two priorities; the same number is the same endpoint everywhere.
fn assignment(name: &str, hosts: &[u8]) -> Any {
    let address = |n: &u8| format!("10.0.0.{n}");
    let addresses: Vec<String> = hosts.iter().map(address).collect();
    let hosts: Vec<One<'_>> = addresses
        .iter()
        .map(|address| (&**address, 80, OK, 1))
        .collect();
    let (near, far) = hosts.split_at(hosts.len() / 2);
    pack(&samples::endpoints(
        name,
        &[(0, "us/a", 1, near), (1, "us/b", 1, far)],
    ))
}

impl Pair {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Cluster(n, None) => self.server.set(Kind::Clusters, NAMES[n], None),
            Step::Cluster(n, Some(own)) => {
                let mut given = cluster(NAMES[n]);
                if !own {
                    given.lb_policy = 3;
                }
                self.put(Kind::Clusters, NAMES[n], pack(&given));
            }
            Step::Endpoints(n, None) => self.server.set(Kind::Endpoints, NAMES[n], None),
            Step::Endpoints(n, Some(hosts)) => {
                self.put(Kind::Endpoints, NAMES[n], assignment(NAMES[n], &hosts));
            }
            Step::BadEndpoints(n) => {
                let bad = samples::endpoints(NAMES[n], &[(999, "", 1, &[])]);
                self.put(Kind::Endpoints, NAMES[n], pack(&bad));
            }
            Step::Listen(names) => {
                let names: BTreeSet<_> = names.into_iter().map(|n| NAMES[n]).collect();
                self.listen(&names.into_iter().collect::<Vec<_>>());
            }
            Step::NoListener => self.server.set(Kind::Listeners, "0.0.0.0_15443", None),
            Step::Push => self.push(),
            Step::Cut(delivered) => {
                let delta = self.session.mode() == Mode::Delta;
                for response in self.server.push(delta).into_iter().take(delivered) {
                    self.session.receive(response);
                }
                self.server.disconnect();
            }
            Step::Connect => self.connect(),
        }
    }

    /// Whatever cannot be read is good again.
    fn mend(&mut self) {
        for name in NAMES {
            let bad = pack(&samples::endpoints(name, &[(999, "", 1, &[])]));
            let held = self.server.resources.get(&Kind::Endpoints);
            let held = held.and_then(|of| of.get(name)).map(|(_, body)| body);
            if held == Some(&bad) {
                self.put(Kind::Endpoints, name, assignment(name, &[1]));
            }
        }
    }
}

/// What follows from the resources that a server holds, read by themselves.
fn fresh(server: &Book) -> Arc<Snapshot> {
    let mut world = World::new("n1".into());
    for kind in Kind::ALL {
        let held = server.resources.get(&kind).into_iter().flatten();
        for (name, (_, body)) in held {
            world.put(kind, &body.value, name).expect("a good resource");
        }
    }
    world.give_up();
    world.snapshot(&Arc::default())
}

fn story(mode: Mode, unversioned: bool, steps: Vec<Step>) {
    let mut pair = Pair::new(mode);
    pair.server.unversioned = unversioned;
    for step in steps {
        pair.apply(step);
    }
    pair.mend();
    pair.connect();
    pair.push();
    let expected = fresh(&pair.server);
    assert_eq!(pair.snapshot.services, expected.services);
    assert_eq!(pair.snapshot.passthrough, expected.passthrough);
    assert_eq!(pair.session.refused().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_client_ends_with_what_the_server_has(
        steps in proptest::collection::vec(step(), 0..40),
        mode in prop_oneof![Just(Mode::Delta), Just(Mode::Sotw)],
        unversioned: bool,
    ) {
        story(mode, unversioned, steps);
    }
}
