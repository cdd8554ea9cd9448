//! What a change compiles anew, and what it leaves alone.

use super::*;

fn parts(route: &Arc<Route>) -> HashSet<*const Slot> {
    let balancer = route.balancer();
    let groups = balancer.tiers.iter().flat_map(|tier| &tier.pools[0].groups);
    groups
        .flat_map(Group::parts)
        .map(|part| part.slots.as_ptr())
        .collect()
}

/// One of 50,000 is ejected, and another one after it: each time one chunk is compiled anew.
#[test]
fn one_ejection_compiles_one_chunk() {
    let mut bench = Bench::new();
    let endpoints = (0..50_000)
        .map(|n| endpoint(n + 1, "us-west/a", Health::Healthy))
        .collect();
    let route = bench.apply(service(endpoints, Policy::default()), &[]);
    for _ in 0..2 {
        // Kept, so that no new part can stand at an old one's place.
        let kept = route.balancer_arc();
        let old = parts(&route);
        let choice = route.pick(SOURCE, NOW, &Tried::default()).expect("a host");
        (0..3).for_each(|_| choice.dial_failed(&route, NOW));
        bench.control.on_event(Event::Dirty(route.clone()), NOW);
        let new = parts(&route);
        assert_eq!((old.len(), old.difference(&new).count()), (197, 1));
        drop(kept);
    }
}

/// One endpoint of 50,000 changes: one chunk is compiled anew, all other parts are the same objects.
#[test]
fn one_change_compiles_one_chunk() {
    let mut bench = Bench::new();
    let endpoints = (0..50_000)
        .map(|n| endpoint(n + 1, "us-west/a", Health::Healthy))
        .collect();
    let before = service(endpoints, Policy::default());
    let route = bench.apply(before.clone(), &[]);
    let kept = route.balancer_arc();
    let old = parts(&route);
    let mut changed = before.endpoints.iter().nth(25_000).expect("one").clone();
    changed.health = Health::Unhealthy;
    let after = Service {
        endpoints: before.endpoints.with(changed.clone()),
        ..before
    };
    bench.apply(after, &[]);
    let new = parts(&route);
    assert_eq!((old.len(), old.difference(&new).count()), (197, 1));
    drop(kept);
    let gone = changed.dial_key("http").map(|EndpointKey(address)| address);
    let mut tried = Tried::default();
    for _ in 0..8 {
        let choice = route.pick(SOURCE, NOW, &tried).expect("a host");
        assert_ne!(Some(choice.address()), gone);
        tried.add(&choice);
    }
}
