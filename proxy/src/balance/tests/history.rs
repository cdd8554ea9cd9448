//! Whatever happened before, a route ends up compiled as if from scratch.

use proptest::prelude::*;

use super::*;

/// One thing that happens to a service.
#[derive(Clone, Debug)]
enum Step {
    /// An endpoint appears, or changes its weight, health, place or network.
    Put(u32, u32, Health, usize),
    /// One goes.
    Gone(u32),
    /// Its dials fail until it is ejected.
    Eject(u32),
}

const PLACES: [(&str, &str, &str); 5] = [
    ("us", "n2", "us-west/a"),
    ("us", "n2", "us-west/b"),
    ("us", "n2", "us-east/a"),
    ("eu", "n3", "eu-west/a"),
    ("lost", "n9", "ap/a"),
];

fn step() -> impl Strategy<Value = Step> {
    let health = prop_oneof![
        4 => Just(Health::Healthy),
        1 => Just(Health::Degraded),
        1 => Just(Health::Unhealthy),
        1 => Just(Health::Terminating),
    ];
    let key = 1_u32..600;
    prop_oneof![
        6 => (key.clone(), 1_u32..4, health, 0..PLACES.len()).prop_map(|(n, w, h, p)| Step::Put(n, w, h, p)),
        2 => key.clone().prop_map(Step::Gone),
        1 => key.prop_map(Step::Eject),
    ]
}

/// What a balancer comes to, whichever way its chunks are cut.
fn summary(route: &Arc<Route>) -> Vec<(u32, u32, Vec<String>)> {
    let view = route.balancer().view(NOW);
    let tier = |tier: &TierView| {
        let address = |a: &AddressView| {
            let ready = a.ready.as_str();
            format!(
                "{} {ready} {} {:.6} {:?}",
                a.address, a.weight, a.share, a.origin
            )
        };
        let mut addresses: Vec<_> = tier.addresses.iter().map(address).collect();
        addresses.sort();
        let there = tier.availability;
        (tier.share, there.healthy * 10_000 + there.total, addresses)
    };
    view.tiers.iter().map(tier).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn step_by_step_is_as_from_scratch(
        start in prop::collection::vec(1_u32..600, 0..500),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let gateways = [1, 2].map(|last| Gateway {
            address: SocketAddr::from(([203, 0, 113, last], 15443)),
            name: None,
            clusters: vec!["eu".into()],
        });
        let networks = [("n3", gateways.to_vec())];
        let at = |n: u32, health, place: usize| {
            let (cluster, network, locality) = PLACES[place];
            away(n, cluster, network, locality, health)
        };
        let start = start.into_iter().map(|n| at(n, Health::Healthy, n as usize % PLACES.len()));
        let mut now = service(start.collect(), Policy::default());
        let mut bench = Bench::new();
        let route = bench.apply(now.clone(), &networks);
        let mut ejected = Vec::new();
        for step in steps {
            match step {
                Step::Put(n, weight, health, place) => {
                    now.endpoints = now.endpoints.with(Endpoint { weight, ..at(n, health, place) });
                    bench.apply(now.clone(), &networks);
                }
                Step::Gone(n) => {
                    let known = now.endpoints.iter().find(|e| e.address == at(n, Health::Healthy, 0).address);
                    if let Some(known) = known.cloned() {
                        now.endpoints = now.endpoints.without(&known);
                        bench.apply(now.clone(), &networks);
                    }
                }
                Step::Eject(n) => {
                    let known = now.endpoints.iter().find(|e| e.address == at(n, Health::Healthy, 0).address);
                    if let Some(key) = known.and_then(|e| e.dial_key("http")) {
                        bench.eject(key);
                        ejected.push(key);
                    }
                }
            }
        }
        let mut fresh = Bench::new();
        for key in ejected {
            fresh.eject(key);
        }
        let from_scratch = fresh.apply(now, &networks);
        prop_assert_eq!(summary(&route), summary(&from_scratch));
    }
}

impl Bench {
    /// Dials to this address fail until it is ejected, and the routes that knew it follow.
    fn eject(&mut self, key: EndpointKey) {
        let host = self.control.host(key);
        for _ in 0..3 {
            host.dial_failed(&model::OutlierDetection::default(), NOW);
        }
        let routes: Vec<_> = self.tables.load().routes().cloned().collect();
        for route in routes {
            self.control.on_event(Event::Dirty(route), NOW);
        }
    }
}
