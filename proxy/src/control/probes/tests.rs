//! When each address is asked, and how many at once.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::config::Config;

fn key(port: u16) -> EndpointKey {
    EndpointKey(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn gateways(count: u16) -> BTreeMap<EndpointKey, Vec<LeadsTo>> {
    let ports = 1..=count;
    ports
        .map(|port| (key(port), vec![("n3".into(), Vec::new())]))
        .collect()
}

fn probes(count: u16) -> Probes {
    let mut probes = Probes::new(config::Probes::default());
    assert!(probes.follow(gateways(count), Millis(10)).is_empty());
    probes
}

fn routes() -> Routes {
    let (sender, _) = mpsc::unbounded_channel();
    Routes::new(&Config::default(), Vec::new(), Arc::default(), sender)
}

/// When an address is due, in milliseconds after this moment.
fn due(probes: &Probes, port: u16, now: Millis) -> u64 {
    let due = probes.target(key(port)).and_then(|target| target.due);
    due.expect("it is not being asked").since(now).as_millis() as u64
}

#[test]
fn a_new_address_is_asked_at_once_and_one_that_is_gone_is_told() {
    let mut probes = probes(2);
    assert_eq!(probes.next_due(), Some(Millis(10)));
    probes.note(key(1), Outcome::Alive, Millis(20));
    probes.note(key(2), Outcome::Alive, Millis(20));
    assert!(probes.due(Millis(900)).is_empty());
    let mut other = gateways(3);
    other.remove(&key(2));
    assert_eq!(probes.follow(other, Millis(900)), [key(2)]);
    assert_eq!(probes.due(Millis(900)), [key(3)]);
    let state = probes.target(key(1)).map(|target| target.verdict.state());
    assert_eq!(state, Some(ProbeState::Alive), "what is known is kept");
}

#[test]
fn without_them_nobody_is_asked() {
    let mut probes = Probes::new(config::Probes {
        active: false,
        ..config::Probes::default()
    });
    probes.follow(gateways(2), Millis(10));
    assert_eq!(probes.next_due(), None);
}

/// A dead address is found out in the time that the settings promise: three limits after the longest interval.
#[test]
fn who_fails_is_asked_again_soon_until_it_is_decided() {
    let mut probes = probes(1);
    let mut now = Millis(1_000);
    let mut wait = |probes: &mut Probes, outcome| {
        now = now.after(Duration::from_millis(1));
        probes.note(key(1), outcome, now);
        due(probes, 1, now)
    };
    let is_interval = |ms: u64| (900..=1_100).contains(&ms);
    assert!(is_interval(wait(&mut probes, Outcome::Alive)));
    assert_eq!(wait(&mut probes, Outcome::Unable), 1_000);
    assert_eq!(wait(&mut probes, Outcome::TimedOut), 0);
    assert_eq!(wait(&mut probes, Outcome::Refused), 250);
    let dead = wait(&mut probes, Outcome::Reset);
    assert!(is_interval(dead), "dead now: {dead}");
    assert!(is_interval(wait(&mut probes, Outcome::TimedOut)));
    assert_eq!(wait(&mut probes, Outcome::Alive), 250, "it may be back");
    assert!(is_interval(wait(&mut probes, Outcome::Alive)), "it is");
}

#[test]
fn traffic_stands_for_a_probe_once_and_only_while_it_is_fresh() {
    let mut probes = probes(1);
    let served = Millis(5_000);
    assert!(probes.is_served(key(1), served, Millis(5_900)));
    assert!(!probes.is_served(key(1), served, Millis(6_000)));
    assert!(
        !probes.is_served(key(2), served, Millis(5_900)),
        "not probed"
    );
    probes.note(key(1), Outcome::Traffic, served);
    assert!(
        !probes.is_served(key(1), served, Millis(5_900)),
        "told already"
    );
    probes.note(key(1), Outcome::Refused, Millis(5_950));
    assert!(!probes.is_served(key(1), Millis(5_900), Millis(5_960)));
    assert!(probes.is_served(key(1), Millis(5_970), Millis(5_980)));
}

/// However many addresses are due at once, so many are asked; each that is decided makes room for the next.
#[tokio::test]
async fn probes_are_bounded() {
    let count = u16::try_from(AT_ONCE * 3).expect("small");
    let (mut probes, routes) = (probes(count), routes());
    let mut answered = 0;
    while answered < count {
        for key in probes.due(Millis(10)) {
            probes.ask(key, &routes, Millis(10));
        }
        assert!(probes.tasks.len() <= AT_ONCE);
        if probes.tasks.len() == AT_ONCE {
            assert_eq!(probes.next_due(), None, "there is no room");
        }
        if let Some((key, outcome)) = probes.told().await {
            probes.note(key, outcome, Millis(10));
            answered += 1;
        }
    }
}
