//! When each address is asked, and how many at once.

use std::net::{Ipv4Addr, SocketAddr};

use model::{
    Chunked, Endpoint, Gateway, Health, Hostname, Network, Origin, Port, Protocol, Service,
    Snapshot, TlsMode, Viewpoint,
};

use super::*;
use crate::config::{Config, Listener, Role};
use crate::host::Hosts;

fn key(port: u16) -> EndpointKey {
    EndpointKey(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn gateways(count: u16) -> BTreeMap<EndpointKey, Vec<LeadsTo>> {
    let ports = 1..=count;
    ports
        .map(|port| (key(port), vec![("n3".into(), Vec::new())]))
        .collect()
}

/// How many are asked at the same time.
const AT_ONCE: usize = 64;

fn probes(count: u16) -> Probes {
    let mut probes = Probes::new(config::Probes::default(), AT_ONCE);
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
    let settings = config::Probes {
        active: false,
        ..config::Probes::default()
    };
    let mut probes = Probes::new(settings, AT_ONCE);
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

/// Where there are more than can be asked at the same time, none is asked again before all have been.
#[tokio::test]
async fn each_has_its_turn() {
    let count = u16::try_from(AT_ONCE * 3).expect("small");
    let (mut probes, routes) = (probes(count), routes());
    let mut asked: BTreeMap<EndpointKey, u32> = BTreeMap::new();
    let mut now = Millis(10);
    while asked.len() < usize::from(count) {
        for key in probes.due(now) {
            probes.ask(key, &routes, now);
        }
        now = now.after(Duration::from_millis(500));
        let Some((key, _)) = probes.told().await else {
            continue;
        };
        // Whatever it was: it is due again at once.
        probes.note(key, Outcome::TimedOut, now);
        let times = asked.entry(key).or_default();
        *times += 1;
        let again = *times > 1;
        assert!(!again || asked.len() > AT_ONCE * 2, "{key:?} again");
    }
}

/// Other networks' gateways matter to a gateway that sends somebody there: its clients, or those that it tells over xDS where to
/// go. Then the names that are ready behind them are known too.
#[test]
fn only_who_sends_somebody_there_probes() {
    let endpoint = Endpoint {
        address: Ipv4Addr::new(10, 3, 0, 1).into(),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: Arc::new([("http".into(), 80)].into()),
        labels: Arc::default(),
        origin: Arc::new(Origin {
            network: "n3".into(),
            ..Origin::default()
        }),
    };
    let service = Service {
        host: Hostname::parse("s").expect("a host name"),
        ports: vec![Port {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::default(),
        endpoints: Chunked::from_items(vec![endpoint]),
    };
    let gateway = Gateway {
        address: ([203, 0, 113, 3], 15443).into(),
        name: None,
        clusters: Vec::new(),
    };
    let network = Network {
        gateways: vec![gateway],
    };
    let snapshot = Arc::new(Snapshot {
        version: 1,
        networks: Arc::new([("n3".into(), network)].into()),
        services: Chunked::from_items(vec![Arc::new(service)]),
        passthrough: Arc::default(),
    });
    for (role, advises, expected) in [
        (Role::Inbound, false, 0),
        (Role::Inbound, true, 1),
        (Role::Outbound, false, 1),
    ] {
        let config = Config {
            listeners: vec![Listener::new((Ipv4Addr::LOCALHOST, 0).into(), role)],
            viewpoint: Viewpoint {
                network: "n1".into(),
                ..Viewpoint::default()
            },
            advises,
            ..Config::default()
        };
        let (sender, _) = mpsc::unbounded_channel();
        let mut routes = Routes::new(&config, Vec::new(), Arc::default(), sender);
        routes.apply(&snapshot, &mut Hosts::new(), Millis(1));
        let gateways = routes.gateways();
        assert_eq!(gateways.len(), expected, "{role:?}, advises: {advises}");
        for leads_to in gateways.values() {
            assert_eq!(routes.some_through(leads_to, 5).len(), 1);
        }
    }
}
