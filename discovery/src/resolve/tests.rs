//! What is known of names while answers come, are empty, or fail. Time is paused; `localhost` alone is really asked for.

use std::io;

use super::*;

fn gateway(name: &str) -> GatewayName {
    GatewayName {
        network: "n3".into(),
        name: Hostname::parse(name).expect("a host name"),
        port: 15443,
        clusters: Vec::new(),
    }
}

fn hosts(names: &[GatewayName]) -> Vec<&Hostname> {
    names.iter().map(|gateway| &gateway.name).collect()
}

fn gateways(resolver: &Resolver, names: &[GatewayName]) -> Vec<String> {
    let mut part = Part::default();
    resolver.add_to(&mut part, names);
    let networks = part.networks.values();
    networks
        .flat_map(|network| &network.gateways)
        .map(|gateway| gateway.address.to_string())
        .collect()
}

fn addresses(ips: &[&str]) -> Answer {
    let ips = ips.iter().map(|ip| ip.parse().expect("an address"));
    Answer::Addresses(ips.collect())
}

fn empty() -> Answer {
    Answer::Empty("no such name".into())
}

fn fault() -> Answer {
    Answer::Fault(io::ErrorKind::TimedOut.into())
}

async fn later(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_is_kept_while_there_is_none() {
    let names = [gateway("gw.example")];
    let name = &names[0].name;
    let mut resolver = Resolver::default();
    resolver.learn(name, addresses(&["203.0.113.7", "2001:db8::7"]));
    let both = ["203.0.113.7:15443", "[2001:db8::7]:15443"];
    assert_eq!(gateways(&resolver, &names), both);
    for _ in 0..1_000 {
        resolver.learn(name, fault());
        later(30).await;
    }
    assert_eq!(gateways(&resolver, &names), both, "for hours");
    resolver.learn(name, addresses(&["203.0.113.8"]));
    assert_eq!(gateways(&resolver, &names), ["203.0.113.8:15443"]);
    resolver.ask_all([]);
    assert!(gateways(&resolver, &names).is_empty(), "no longer wanted");
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_keeps_the_last_good_for_ten_minutes() {
    let names = [gateway("gw.example")];
    let name = &names[0].name;
    let mut resolver = Resolver::default();
    resolver.learn(name, addresses(&["203.0.113.7"]));
    later(3_600).await;
    // What counts is when it was first empty, not when it was last good.
    resolver.learn(name, empty());
    later(300).await;
    resolver.learn(name, empty());
    later(299).await;
    resolver.learn(name, empty());
    assert_eq!(gateways(&resolver, &names), ["203.0.113.7:15443"]);
    later(1).await;
    assert_eq!(
        gateways(&resolver, &names),
        ["203.0.113.7:15443"],
        "an answer has to say so"
    );
    // A failure neither takes it away nor begins anew.
    resolver.learn(name, fault());
    assert_eq!(gateways(&resolver, &names), ["203.0.113.7:15443"]);
    resolver.learn(name, empty());
    assert!(gateways(&resolver, &names).is_empty());
    resolver.learn(name, addresses(&["203.0.113.7"]));
    assert_eq!(
        gateways(&resolver, &names),
        ["203.0.113.7:15443"],
        "it is back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_begins_the_ten_minutes_anew() {
    let names = [gateway("gw.example")];
    let name = &names[0].name;
    let mut resolver = Resolver::default();
    resolver.learn(name, addresses(&["203.0.113.7"]));
    resolver.learn(name, empty());
    later(599).await;
    resolver.learn(name, addresses(&["203.0.113.7"]));
    later(30).await;
    resolver.learn(name, empty());
    assert_eq!(gateways(&resolver, &names), ["203.0.113.7:15443"]);
    later(600).await;
    resolver.learn(name, empty());
    assert!(gateways(&resolver, &names).is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_of_another_life_hold_by_the_same_rule() {
    let names = [gateway("gw.example")];
    let name = &names[0].name;
    let ip = "203.0.113.7".parse().expect("an address");
    let before = BTreeMap::from([(name.clone(), vec![ip])]);
    let mut resolver = Resolver::with(before.clone());
    assert_eq!(gateways(&resolver, &names), ["203.0.113.7:15443"]);
    resolver.ask_new(hosts(&names));
    assert_eq!(resolver.answers.len(), 1, "they are asked for at once");
    for answer in [fault(), empty()] {
        resolver.learn(name, answer);
        assert_eq!(gateways(&resolver, &names), ["203.0.113.7:15443"]);
    }
    later(600).await;
    resolver.learn(name, empty());
    assert!(gateways(&resolver, &names).is_empty(), "not even from disk");
    let mut resolver = Resolver::with(before);
    resolver.learn(name, addresses(&["203.0.113.8"]));
    assert_eq!(gateways(&resolver, &names), ["203.0.113.8:15443"]);
}

#[test]
fn rounds_are_30_seconds_apart_a_tenth_more_or_less() {
    let pauses: Vec<f64> = (0..1_000)
        .map(|_| Resolver::pause().as_secs_f64())
        .collect();
    assert!(pauses.iter().all(|pause| (27.0..=33.0).contains(pause)));
    assert!(pauses.iter().any(|pause| *pause < 28.5) && pauses.iter().any(|pause| *pause > 31.5));
}

#[tokio::test]
async fn a_name_is_not_asked_for_twice_at_a_time() {
    let names = [gateway("localhost"), gateway("localhost")];
    let mut resolver = Resolver::default();
    resolver.ask_new(hosts(&names));
    resolver.ask_all(hosts(&names));
    assert_eq!(resolver.answers.len(), 1);
    assert!(resolver.answer().await);
    assert!(!resolver.answer().await);
    assert!(!gateways(&resolver, &names).is_empty());
    resolver.ask_new(hosts(&names));
    assert_eq!(resolver.answers.len(), 0, "it is not new");
    resolver.ask_all(hosts(&names));
    assert_eq!(resolver.answers.len(), 1, "it is asked for again and again");
}
