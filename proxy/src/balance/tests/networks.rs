//! Networks whose gateways are found dead by probes, and come back.

use super::*;
use crate::probe::Outcome;

const N3: &str = "203.0.113.3:15443";
const N4: &str = "203.0.113.4:15443";

fn gateway(address: &str) -> Gateway {
    Gateway {
        address: address.parse().expect("an address"),
        name: None,
        clusters: Vec::new(),
    }
}

impl Bench {
    /// This was found at a gateway so many times, at this moment; the routes follow.
    fn probed(&mut self, address: &str, outcome: Outcome, times: usize, now: Millis) {
        let key = EndpointKey(address.parse().expect("an address"));
        for _ in 0..times {
            self.control.on_probe(key, outcome, now, now);
        }
        self.control.recompile_stale(now);
    }
}

/// One endpoint in each of two other networks of different regions, and one of our own where `own`.
fn two_networks(bench: &mut Bench, own: bool, policy: Policy) -> Arc<Route> {
    let mut all = vec![
        away(1, "eu", "n3", "eu-west/a", Health::Healthy),
        away(2, "ap", "n4", "ap-south/a", Health::Healthy),
    ];
    if own {
        all.push(endpoint(3, "us-west/a", Health::Healthy));
    }
    let networks = [("n3", vec![gateway(N3)]), ("n4", vec![gateway(N4)])];
    bench.apply(service(all, policy), &networks)
}

/// Of a thousand first picks at this moment, how many go to each address.
fn picked(route: &Arc<Route>, now: Millis) -> HashMap<String, usize> {
    fastrand::seed(7);
    let mut counts = HashMap::new();
    for _ in 0..1_000 {
        let choice = route.pick(SOURCE, now, &Tried::default()).expect("a host");
        *counts.entry(choice.address().to_string()).or_default() += 1;
    }
    counts
}

/// Whatever the policy: the share that the ramp leaves over goes to the next network.
#[test]
fn a_dead_network_leaves_and_comes_back_on_a_ramp() {
    for load_balancer in [
        LoadBalancer::LeastRequest,
        LoadBalancer::RoundRobin,
        LoadBalancer::Random,
        LoadBalancer::SourceIp,
    ] {
        leaves_and_comes_back(Policy {
            load_balancer,
            ..Policy::default()
        });
    }
}

fn leaves_and_comes_back(policy: Policy) {
    let name = policy.load_balancer;
    let mut bench = Bench::with_regions(&["us-west", "eu-west", "ap-south"]);
    let route = two_networks(&mut bench, false, policy);
    assert_eq!(picked(&route, NOW), [(N3.to_owned(), 1_000)].into());

    bench.probed(N3, Outcome::Refused, 2, NOW);
    assert_eq!(picked(&route, NOW), [(N3.to_owned(), 1_000)].into());
    bench.probed(N3, Outcome::Refused, 1, NOW);
    assert_eq!(picked(&route, NOW), [(N4.to_owned(), 1_000)].into());
    let view = route.balancer().view(NOW);
    let shares: Vec<_> = view.tiers.iter().map(|tier| tier.share).collect();
    assert_eq!(shares, [0, 100], "its tier has lost its share too");

    let back = NOW.after(std::time::Duration::from_secs(60));
    bench.probed(N3, Outcome::Alive, 2, back);
    for (seconds, least, most) in [
        (0, 70, 130),
        (5, 450, 550),
        (9, 870, 930),
        (10, 1_000, 1_000),
    ] {
        let now = back.after(std::time::Duration::from_secs(seconds));
        let counts = picked(&route, now);
        let of_it = counts.get(N3).copied().unwrap_or(0);
        assert!(
            (least..=most).contains(&of_it),
            "{name:?}: {counts:?} after {seconds} s"
        );
        let view = route.balancer().view(now);
        let said = view.tiers[0].addresses[0].share * 10.0;
        assert!(
            (said - of_it as f64).abs() < 60.0,
            "{name:?}: {said} is said, {of_it} are so"
        );
    }
}

#[test]
fn two_that_die_together_are_tried_when_nothing_else_is_left() {
    let mut bench = Bench::new();
    let route = two_networks(&mut bench, true, Policy::default());
    bench.probed(N3, Outcome::TimedOut, 3, NOW);
    let own = route.pick(SOURCE, NOW, &Tried::default()).expect("our own");
    assert_eq!(own.address().to_string(), "10.0.0.3:80");
    let mut tried = Tried::default();
    tried.add(&own);
    let next = |tried: &Tried| {
        let choice = route.pick(SOURCE, NOW, tried).ok()?;
        Some(choice.address().to_string())
    };
    assert_eq!(
        next(&tried).as_deref(),
        Some(N4),
        "one of them simply leaves"
    );

    bench.probed(
        N4,
        Outcome::TimedOut,
        3,
        NOW.after(std::time::Duration::from_secs(5)),
    );
    assert_eq!(
        picked(&route, NOW),
        [("10.0.0.3:80".to_owned(), 1_000)].into()
    );
    let last = next(&tried).expect("a last resort");
    assert!([N3, N4].contains(&last.as_str()), "{last}");

    let view = route.balancer().view(NOW);
    let away = view.tiers.iter().flat_map(|tier| &tier.addresses);
    let away: Vec<_> = away.filter(|address| address.gateway).collect();
    assert!(away.len() == 2 && away.iter().all(|one| one.last_resort && one.share == 0.0));

    // One of them is back: it was not us, so the other one has simply left.
    bench.probed(
        N3,
        Outcome::Alive,
        2,
        NOW.after(std::time::Duration::from_secs(9)),
    );
    let choice = route
        .pick(SOURCE, NOW, &tried)
        .expect("the one that is back");
    assert_eq!(choice.address().to_string(), N3);
    tried.add(&choice);
    assert_eq!(next(&tried), None, "the dead one is not dialled");
}

#[test]
fn what_would_leave_nothing_is_ignored() {
    let mut bench = Bench::new();
    let all = vec![away(1, "eu", "n3", "eu-west/a", Health::Healthy)];
    let networks = [("n3", vec![gateway(N3)])];
    let route = bench.apply(service(all, Policy::default()), &networks);
    bench.probed(N3, Outcome::Refused, 3, NOW);
    assert_eq!(picked(&route, NOW), [(N3.to_owned(), 1_000)].into());
    assert!(route.balancer().view(NOW).ignores_ejections);
    bench.probed(N3, Outcome::Traffic, 2, NOW);
    assert!(!route.balancer().view(NOW).ignores_ejections);
}

/// One of two gateways is dead: the other one gets all that goes to the network, and the network keeps its share.
#[test]
fn a_dead_gateway_leaves_the_network_to_the_others() {
    let mut bench = Bench::new();
    let all = vec![away(1, "eu", "n3", "eu-west/a", Health::Healthy)];
    let networks = [("n3", vec![gateway(N3), gateway(N4)])];
    let route = bench.apply(service(all, Policy::default()), &networks);
    bench.probed(N3, Outcome::Reset, 3, NOW);
    assert_eq!(picked(&route, NOW), [(N4.to_owned(), 1_000)].into());
    assert!(!route.balancer().view(NOW).ignores_ejections);
}

/// An address that leaves the snapshot is forgotten: who gets it next begins anew.
#[test]
fn a_gateway_that_is_gone_is_forgotten() {
    let mut bench = Bench::new();
    let route = two_networks(&mut bench, false, Policy::default());
    bench.probed(N3, Outcome::Refused, 3, NOW);
    let all = vec![away(2, "ap", "n4", "ap-south/a", Health::Healthy)];
    bench.apply(
        service(all, Policy::default()),
        &[("n4", vec![gateway(N4)])],
    );
    let again = two_networks(&mut bench, false, Policy::default());
    assert!(Arc::ptr_eq(&route, &again));
    let states = route.balancer().view(NOW).tiers;
    let mut addresses = states.iter().flat_map(|tier| &tier.addresses);
    assert!(addresses.all(|address| !address.state.is_out()));
}
