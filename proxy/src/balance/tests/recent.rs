//! A worker's own references to balancers: never older than what is in force, and gone when they are let go.

use super::*;

#[test]
fn it_follows_what_control_publishes() {
    let mut bench = Bench::new();
    let mut recent = Recent::default();
    for count in [3, 1, 2] {
        let endpoints = (0..count).map(|n| endpoint(n + 1, "us-west/a", Health::Healthy));
        let route = bench.apply(service(endpoints.collect(), Policy::default()), &[]);
        for _ in 0..2 {
            let (picked, _) = recent.of(&route);
            assert!(std::ptr::eq(picked, &**route.balancer()), "{count}");
        }
    }
}

/// More routes than it has places: those that share one take turns, and none gets another's.
#[test]
fn routes_that_share_a_place_are_told_apart() {
    let (events, _told) = tokio::sync::mpsc::unbounded_channel();
    let route = |n| {
        let host = Hostname::parse(&format!("s{n}")).expect("a host name");
        Arc::new(Route::new(
            host,
            80,
            "".into(),
            Role::Inbound,
            events.clone(),
        ))
    };
    let routes: Vec<Arc<Route>> = (0..600).map(route).collect();
    for route in &routes {
        route.publish(Balancer::default());
    }
    let mut recent = Recent::default();
    for route in routes.iter().chain(&routes) {
        assert!(
            std::ptr::eq(recent.of(route).0, &**route.balancer()),
            "{}",
            route.name()
        );
    }
}

/// What control has replaced is freed once the worker lets go.
#[test]
fn it_keeps_nothing_that_was_let_go() {
    let mut bench = Bench::new();
    let one = || vec![endpoint(1, "us-west/a", Health::Healthy)];
    let route = bench.apply(service(one(), Policy::default()), &[]);
    let mut recent = Recent::default();
    recent.of(&route);
    let old = Arc::downgrade(&route.balancer_arc());
    bench.apply(service(one(), random()), &[]);
    assert!(old.upgrade().is_some(), "it is not kept at all");
    recent.clear();
    assert!(old.upgrade().is_none());
    assert!(std::ptr::eq(recent.of(&route).0, &**route.balancer()));
}

/// A route that is compiled again and again, as one of many endpoints is, costs a worker one balancer, not one for each time.
#[test]
fn of_each_route_only_the_newest_is_kept() {
    let mut bench = Bench::new();
    let one = |weight| {
        let mut one = endpoint(1, "us-west/a", Health::Healthy);
        one.weight = weight;
        vec![one]
    };
    let mut recent = Recent::default();
    let mut old = Vec::new();
    for weight in 1..=300 {
        let route = bench.apply(service(one(weight), Policy::default()), &[]);
        recent.of(&route);
        old.push(Arc::downgrade(&route.balancer_arc()));
    }
    let alive = old.iter().filter(|balancer| balancer.strong_count() > 0);
    assert_eq!(alive.count(), 1);
}
