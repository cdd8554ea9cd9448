//! Other networks and their gateways: what probes find there, and what clients see when a network dies and comes back.

mod door;
mod load;

use std::time::Duration;

use discovery::Span;
use gateway::config::{Gateway as Config, Role, Switch};
use model::Gateway;
use proxy::close::{Reason, Stage};
use proxy::control::{NetworkState, ProbeState};
use proxy::probe::Outcome;
use serde_json::Value;
use sidecar::{AlertDescription, Backend, Behaviour, Kind};
use tests::{
    Mesh, Place, endpoint, get, hello_service, in_one_of_three, metric, until, until_async,
};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use self::door::{Door, Weather};
use self::load::Load;
use crate::reasons::{HERE, V4};

const EU: Place = Place {
    cluster: "eu",
    network: "n3",
    locality: "eu-west/a",
};
const AP: Place = Place {
    cluster: "ap",
    network: "n4",
    locality: "ap-south/a",
};

/// Addresses of a network that has a gateway at each of its Nodes.
const MANY: u8 = 200;

/// Another network: its gateway, and an endpoint that answers with the name of its cluster.
struct Away {
    place: Place,
    gateway: Mesh,
    backend: Backend,
}

impl Away {
    async fn start(home: &Mesh, place: Place) -> Self {
        let gateway = Mesh::start(V4, |config| {
            config.cluster = place.cluster.into();
            config.network = place.network.into();
            config.locality = place.locality.into();
        })
        .await;
        let ip = sidecar::fresh_loopback();
        let backend = Backend::start(&home.pki, place.cluster, ip).await;
        let away = Self {
            place,
            gateway,
            backend: backend.expect("an endpoint"),
        };
        away.publish(true).await;
        away
    }

    /// Its own gateway knows the endpoint, or the service without it.
    async fn publish(&self, known: bool) {
        let endpoints = known.then(|| self.endpoint()).into_iter().collect();
        self.gateway
            .publish(vec![hello_service(endpoints)], &[])
            .await;
    }

    fn endpoint(&self) -> model::Endpoint {
        endpoint(self.backend.address(), self.place)
    }

    fn inbound(&self) -> std::net::SocketAddr {
        self.gateway.address(Role::Inbound)
    }
}

async fn home() -> Mesh {
    home_with(|_| ()).await
}

async fn home_with(change: impl FnOnce(&mut Config)) -> Mesh {
    Mesh::start(V4, |config| {
        change(config);
        config.regions = ["us-west", "eu-west", "ap-south"].map(str::to_owned).into();
    })
    .await
}

fn entered_at(address: std::net::SocketAddr) -> Gateway {
    Gateway {
        address,
        name: None,
        clusters: Vec::new(),
    }
}

fn state_of(mesh: &Mesh, network: &str) -> Option<NetworkState> {
    let networks = mesh.proxy().networks();
    networks.get(network).map(|health| health.state)
}

async fn until_network(mesh: &Mesh, network: &str, state: NetworkState) {
    until(&format!("{network} is {}", state.as_str()), || {
        state_of(mesh, network) == Some(state)
    })
    .await;
}

async fn until_probed(mesh: &Mesh, address: std::net::SocketAddr, state: ProbeState) {
    until(&format!("{address} is {}", state.as_str()), || {
        let gateways = mesh.proxy().gateways();
        gateways.get(&address).map(|health| health.state) == Some(state)
    })
    .await;
}

fn probes(mesh: &Mesh, outcome: Outcome) -> u64 {
    let mut counts = mesh.proxy().probes();
    let found = counts.find(|(known, _)| *known == outcome);
    found.map_or(0, |(_, count)| count)
}

/// A gateway of ours answers probes for its endpoints, which hear nothing of them; what it answers is what clients would get.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_ours_is_probed() {
    let home = home().await;
    let eu = Away::start(&home, EU).await;
    let address = eu.inbound();
    let networks = [("n3", vec![entered_at(address)])];
    home.publish(vec![hello_service(vec![eu.endpoint()])], &networks)
        .await;
    until_probed(&home, address, ProbeState::Alive).await;
    until("it is counted there", || {
        eu.gateway.count(Reason::Probe) > 1
    })
    .await;
    let closes = eu.gateway.proxy().totals().closes;
    let all_answered = |(stage, reason, _): &(Stage, Reason, u64)| {
        (*stage, *reason) == (Stage::Answer, Reason::Probe)
    };
    assert!(closes.iter().all(all_answered), "{closes:?}");
    assert_eq!(eu.backend.connections(), 0, "no endpoint hears of it");
    assert!(eu.gateway.access_log().is_empty(), "and it is no failure");

    // Traffic stands for probes while it flows.
    let before = eu.gateway.count(Reason::Probe);
    let traffic = probes(&home, Outcome::Traffic);
    while probes(&home, Outcome::Traffic) < traffic + 2 {
        let answer = home.client(Role::Outbound).ask().await.expect("an answer");
        assert_eq!(answer.who, "eu");
    }
    let asked = eu.gateway.count(Reason::Probe) - before;
    assert!(asked <= 1, "{asked} probes beside traffic");

    // It has nobody to give a client to, and says so.
    eu.publish(false).await;
    until_network(&home, "n3", NetworkState::Dead).await;
    says(&home, address, "dead", "alert").await;
    eu.publish(true).await;
    until_network(&home, "n3", NetworkState::Usable).await;
    says(&home, address, "alive", "alive").await;
}

/// The same in `/networks`, `/endpoints`, `/explain`, `/status` and the metrics.
async fn says(home: &Mesh, address: std::net::SocketAddr, state: &str, outcome: &str) {
    let admin = home.app.addresses().admin;
    let networks = get(admin, "/networks").await.json();
    let network = &networks["networks"][0];
    let gateway = &network["gateways"][0];
    assert_eq!(gateway["address"], address.to_string(), "{networks}");
    assert_eq!(gateway["state"], state, "{networks}");
    assert_eq!(gateway["last"]["outcome"], outcome, "{networks}");
    let of_network = if state == "dead" { "dead" } else { "usable" };
    assert_eq!(network["state"], of_network, "{networks}");
    let status = get(admin, "/status").await.json();
    assert_eq!(status["networkHealth"]["n3"]["state"], of_network);
    let endpoints = get(admin, "/endpoints").await.json();
    let shown = &endpoints["endpoints"][0];
    assert_eq!(shown["probe"]["state"], state, "{endpoints}");
    assert_eq!(shown["state"] == "dead", state == "dead", "{endpoints}");
    let port = home.address(Role::Outbound).port();
    let path = format!("/explain?sni={}&port={port}", sidecar::HELLO_NAME);
    let said = get(admin, &path).await.json();
    let explained = &said["listeners"][0]["tiers"][0]["endpoints"][0];
    assert_eq!(explained["probe"]["state"], state, "{said}");
    let text = get(home.app.addresses().stats, "/metrics").await.body;
    let is = |name: &str, labels: &[&str]| metric(&text, name, labels);
    let network_state = format!("state=\"{of_network}\"");
    let labels = ["network=\"n3\"", network_state.as_str()];
    assert_eq!(is("causeway_network_state", &labels), 1.0);
    let gateway_state = format!("state=\"{state}\"");
    let labels = ["network=\"n3\"", gateway_state.as_str()];
    assert_eq!(is("causeway_gateways", &labels), 1.0);
    let outcome = format!("outcome=\"{outcome}\"");
    assert!(is("causeway_probes_total", &[&outcome]) >= 2.0);
}

/// Nothing is ready behind it, so there is no name to ask for: that somebody takes the hello is a weak sign.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_a_sign_of_life_is_weak() {
    let home = home().await;
    let eu = Away::start(&home, EU).await;
    let mut unready = eu.endpoint();
    unready.health = model::Health::Unhealthy;
    let networks = [("n3", vec![entered_at(eu.inbound())])];
    home.publish(vec![hello_service(vec![unready])], &networks)
        .await;
    until_probed(&home, eu.inbound(), ProbeState::Weak).await;
    // One that is ready is a name to ask for.
    home.publish(vec![hello_service(vec![eu.endpoint()])], &networks)
        .await;
    until_probed(&home, eu.inbound(), ProbeState::Alive).await;
}

/// The promise that is made to users; what it takes is four seconds.
const LEFT: Duration = Duration::from_secs(5);

async fn a_network_dies(weather: Weather) {
    in_one_of_three(async || a_network_dies_once(weather).await).await;
}

/// Requests go to eu through two gateways; both die like this under load, and come back. Or what was not in time.
async fn a_network_dies_once(weather: Weather) -> Result<(), String> {
    let home = home().await;
    let (eu, ap) = (Away::start(&home, EU).await, Away::start(&home, AP).await);
    let mut doors = [Door::open(eu.inbound()), Door::open(eu.inbound())];
    let through = doors.iter().map(|door| entered_at(door.address)).collect();
    let networks = [("n3", through), ("n4", vec![entered_at(ap.inbound())])];
    let service = hello_service(vec![eu.endpoint(), ap.endpoint()]);
    home.publish(vec![service], &networks).await;
    let load = Load::start(&home.client(Role::Outbound));
    let answered = |who: &str, since: Instant| {
        let seen = load.seen();
        let of_it = seen.iter().filter(|one| one.began >= since);
        of_it.filter(|one| one.answer.as_deref() == Ok(who)).count()
    };
    until("eu answers", || answered("eu", load.started()) >= 50).await;

    // What is under way at this moment may be cut.
    let died = Instant::now();
    for door in &mut doors {
        door.set(weather).await;
    }
    until_network(&home, "n3", NetworkState::Dead).await;
    let left = Instant::now();
    // Whoever keeps routes has heard of it by then, however busy the machine is.
    let later = left + Duration::from_secs(1);
    until("ap has answered for a while", || {
        answered("ap", later) >= 20
    })
    .await;

    for door in &mut doors {
        door.set(Weather::Open).await;
    }
    let open = Instant::now();
    until_network(&home, "n3", NetworkState::Usable).await;
    let back = Instant::now();
    until("all go to eu again", || {
        let seen = load.seen();
        let last = seen.iter().rev().take(30);
        last.filter(|one| one.answer.as_deref() == Ok("eu")).count() == 30
    })
    .await;
    let started = load.started();
    let seen = load.finish().await;
    let moments = [
        (died, "its gateways die"),
        (left, "it has left"),
        (open, "they are there again"),
        (back, "it is back, on a ramp"),
    ];
    println!("{weather:?}\n{}", Load::table(started, &seen, &moments));

    let failed = || seen.iter().filter(|one| one.answer.is_err());
    let wrong: Vec<_> = failed()
        .filter(|one| one.ended < died || one.began > later)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let last = failed().map(|one| one.ended).max().unwrap_or(died);
    let took = left.max(last) - died;
    if took > LEFT {
        return Err(format!("it was left after {took:?}"));
    }
    let mut after: Vec<_> = seen.iter().filter(|one| one.began >= back).collect();
    after.sort_by_key(|one| one.began);
    let first = after.iter().take(30);
    let of_eu = first
        .filter(|one| one.answer.as_deref() == Ok("eu"))
        .count();
    // Which lasts for ten seconds: thirty requests take a small part of it, where nothing holds them up.
    if of_eu > 15 {
        let of_eu = format!("{of_eu} of the first 30 went to who was just back");
        return Err(of_eu);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_dies_and_refuses() {
    a_network_dies(Weather::Refuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_dies_and_swallows() {
    a_network_dies(Weather::Swallow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_dies_and_resets() {
    a_network_dies(Weather::Reset).await;
}

/// A network that is entered at every Node of a large cluster: all its addresses are asked together, so that it is found out as soon
/// as one that has few. That is seen without a clock: none of them has been asked a fourth time before the last is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_many_addresses_dies_as_fast_as_one_of_few() {
    let home = home().await;
    // Whoever connects is taken by the kernel, and never hears anything.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([0, 0, 0, 0], 0).into()).expect("bound");
    let silent = socket.listen(4_096).expect("it listens");
    let port = silent.local_addr().expect("its address").port();
    let address = |n| std::net::SocketAddr::from(([127, 20, 0, n], port));
    let gateways: Vec<_> = (1..=MANY).map(|n| entered_at(address(n))).collect();
    let away = endpoint(([10, 3, 0, 1], 9898).into(), EU);
    home.publish(vec![hello_service(vec![away])], &[("n3", gateways)])
        .await;
    until_network(&home, "n3", NetworkState::Dead).await;
    let asked = probes(&home, Outcome::TimedOut);
    let all = u64::from(MANY);
    assert!((all * 3..all * 4).contains(&asked), "{asked}");
}

/// What our probes meet is our own firewall: every other network looks dead at the same moment, and none is.
#[tokio::test(flavor = "multi_thread")]
async fn all_networks_that_look_dead_at_once_are_the_last_resort() {
    // No last resort is dialled beside who comes first, however late a busy machine tells that he has answered.
    let home = home_with(|config| config.timeouts.stagger = Span(Duration::from_secs(5))).await;
    let (eu, ap) = (Away::start(&home, EU).await, Away::start(&home, AP).await);
    let mut doors = [Door::open(eu.inbound()), Door::open(ap.inbound())];
    let networks = [
        ("n3", vec![entered_at(doors[0].address)]),
        ("n4", vec![entered_at(doors[1].address)]),
    ];
    let own = home.backend("us").await;
    let all = vec![endpoint(own.address(), HERE), eu.endpoint(), ap.endpoint()];
    home.publish(vec![hello_service(all)], &networks).await;
    for door in &doors {
        until_probed(&home, door.address, ProbeState::Alive).await;
    }
    for door in &mut doors {
        door.set(Weather::ResetProbes).await;
    }
    for network in ["n3", "n4"] {
        until_network(&home, network, NetworkState::LastResort).await;
    }
    let admin = home.app.addresses().admin;
    let status = get(admin, "/status").await.json();
    assert_eq!(status["networkHealth"]["n4"]["state"], "last_resort");
    let endpoints = get(admin, "/endpoints").await.json();
    let shown = endpoints["endpoints"].as_array().expect("a list");
    let last_resorts = shown.iter().filter(|one| one["lastResort"] == true);
    assert_eq!(last_resorts.count(), 2, "{endpoints}");
    let labels = ["network=\"n3\"", "state=\"last_resort\""];
    let text = get(home.app.addresses().stats, "/metrics").await.body;
    assert_eq!(metric(&text, "causeway_network_state", &labels), 1.0);

    let client = home.client(Role::Outbound);
    for _ in 0..50 {
        assert_eq!(client.ask().await.expect("an answer").who, "us");
    }
    // Nothing else is left, and nobody fails.
    own.set(Behaviour::Refuse).await.expect("it refuses");
    for _ in 0..50 {
        let answer = client.ask().await.expect("a last resort");
        assert_ne!(answer.who, "us");
    }
    // Clients that are answered are as good as probes that are.
    until_async("they are usable again", async || {
        client.ask().await.expect("an answer");
        let status: Value = get(admin, "/status").await.json();
        let of = |network: &str| status["networkHealth"][network]["state"] == "usable";
        of("n3") || of("n4")
    })
    .await;
}

/// Three gateways say that they know no such name: that is the client's doing, and none of them is out for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_all_gateways_refuse_ejects_none() {
    let home = Mesh::start(V4, |config| config.probes.active = Switch::Off).await;
    let eu = Away::start(&home, EU).await;
    eu.gateway.publish(Vec::new(), &[]).await;
    let doors: Vec<_> = (0..3).map(|_| Door::open(eu.inbound())).collect();
    let through = doors.iter().map(|door| entered_at(door.address)).collect();
    home.publish(vec![hello_service(vec![eu.endpoint()])], &[("n3", through)])
        .await;
    for _ in 0..10 {
        let refused = home.client(Role::Outbound).ask().await;
        let refused = refused.expect_err("nobody knows it");
        assert_eq!(
            refused.kind,
            Kind::Alert(AlertDescription::UnrecognisedName)
        );
    }
    until("all are counted", || home.count(Reason::GatewayAlert) == 10).await;
    assert_eq!(home.proxy().ejections(), 0);
}
