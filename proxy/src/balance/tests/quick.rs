//! The quick pick comes to what the whole one comes to, by the same chance, or leaves it alone.

use fastrand::Rng;
use proptest::prelude::*;

use super::*;

/// What happens to a host before it is picked.
#[derive(Clone, Copy, Debug)]
enum Past {
    Nothing,
    Busy(u32),
    Ramps,
    IsOut,
}

fn past() -> impl Strategy<Value = Past> {
    prop_oneof![
        4 => Just(Past::Nothing),
        2 => (1_u32..9).prop_map(Past::Busy),
        1 => Just(Past::Ramps),
        1 => Just(Past::IsOut),
    ]
}

proptest! {
    #[test]
    fn it_is_what_the_whole_pick_is_or_nothing(
        near in prop::collection::vec((1_u32..3, past()), 1..9),
        far in prop::collection::vec(past(), 0..4),
        equal in any::<bool>(),
        balancer in prop_oneof![
            3 => Just(LoadBalancer::LeastRequest),
            1 => Just(LoadBalancer::Random),
        ],
        seeds in prop::collection::vec(any::<u64>(), 20),
    ) {
        let weighted = near.iter().map(|(weight, past)| (*weight, "us-west/a", *past));
        let all = weighted.chain(far.iter().map(|past| (1, "us-west/b", *past)));
        let all: Vec<_> = (1..).zip(all).collect();
        let endpoints = all.iter().map(|(n, (weight, zone, _))| Endpoint {
            weight: if equal { 1 } else { *weight },
            ..endpoint(*n, zone, Health::Healthy)
        });
        let policy = Policy { load_balancer: balancer, ..Policy::default() };
        let mut bench = Bench::new();
        let route = bench.apply(service(endpoints.collect(), policy), &[]);
        let mut busy = Vec::new();
        // After the route is compiled, as an ejection is before control has heard of it.
        for (n, (_, zone, past)) in &all {
            let key = endpoint(*n, zone, Health::Healthy).dial_key("http").expect("a port");
            let host = bench.control.host(key);
            match past {
                Past::Nothing => {}
                Past::Busy(open) => busy.extend((0..*open).map(|_| host.opened())),
                Past::Ramps => host.readmit(NOW),
                Past::IsOut => host.found_dead(NOW),
            }
        }
        let balancer = route.balancer();
        for seed in seeds {
            let (mut quick, mut whole) = (Rng::with_seed(seed), Rng::with_seed(seed));
            let quickly = balancer.draw_quickly(&mut quick);
            let Some((slot, tier)) = quickly else {
                prop_assert_eq!(quick.get_seed(), seed);
                continue;
            };
            let mut draw = Draw {
                balancer: &balancer,
                route: &route,
                source: SOURCE,
                now: NOW,
                rng: &mut whole,
            };
            let (other, its) = draw.draw().expect("the quick pick found one");
            prop_assert!(std::ptr::eq(slot, other));
            prop_assert_eq!((tier, quick.get_seed()), (its, whole.get_seed()));
        }
    }
}

/// It is what nearly every pick is: else it would only cost.
#[test]
fn healthy_endpoints_of_equal_weight_are_picked_quickly() {
    let mut bench = Bench::new();
    let endpoints = (0..600).map(|n| endpoint(n + 1, "us-west/a", Health::Healthy));
    let route = bench.apply(service(endpoints.collect(), Policy::default()), &[]);
    let balancer = route.balancer();
    let mut rng = Rng::with_seed(1);
    let mut seen = HashSet::new();
    for _ in 0..20_000 {
        let (slot, tier) = balancer.draw_quickly(&mut rng).expect("a slot");
        assert_eq!(tier, 0);
        seen.insert(std::ptr::from_ref(slot));
    }
    assert_eq!(seen.len(), 600, "each is picked");
}
