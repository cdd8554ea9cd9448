//! One step of the data path, many times over, for a tool that counts instructions: `steps hello 1000`, `steps pick 1000`.
//! `proxy/tests/guard` runs it under valgrind. It must not read a clock.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use model::{
    Chunked, Endpoint, Health, Hostname, Origin, Port, PortMap, Protocol, Service, Snapshot,
    TlsMode,
};
use proxy::balance::{Recent, Tried};
use proxy::clock::{Clock, Millis};
use proxy::config::{Config, Listener, Role};
use proxy::control::Control;
use proxy::hello::Parser;

/// A mesh name of usual length.
const NAME: &str = "outbound_.5000_._.hello.default.svc.cluster.local";

/// The default ceiling of a hello.
const LIMIT: usize = 64 << 10;

/// A padded hello of the time before post-quantum keys.
const HELLO: usize = 517;

/// Endpoints of the route that is picked from.
const ENDPOINTS: u32 = 10_000;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next();
    let count = arguments.next().and_then(|count| count.parse().ok());
    match (what.as_deref(), count) {
        (Some("hello"), Some(count)) => hellos(count),
        (Some("pick"), Some(count)) => picks(count),
        _ => {
            eprintln!("steps: 'hello' or 'pick', and how often");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn hellos(count: u64) {
    let raw = hello();
    for _ in 0..count {
        let parsed = Parser::new(LIMIT).advance(black_box(&raw));
        assert!(black_box(parsed).is_ok_and(|hello| hello.is_some()));
    }
}

fn picks(count: u64) {
    let config = Config {
        listeners: vec![Listener::new(SocketAddr::new(SOURCE, 0), Role::Inbound)],
        ..Config::default()
    };
    let (mut control, tables) = Control::new(&config, Vec::new(), Clock::start());
    control.apply(&Arc::new(snapshot()), Millis(1));
    let table = tables.load();
    let route = table.find(Role::Inbound, 0, NAME).expect("a route");
    // As a worker picks.
    let mut recent = Recent::default();
    for _ in 0..count {
        let (balancer, rng) = recent.of(route);
        let picked = route.pick_from(
            balancer,
            rng,
            black_box(SOURCE),
            Millis(1),
            &Tried::default(),
        );
        assert!(black_box(picked).is_ok());
    }
}

fn snapshot() -> Snapshot {
    let ports = Arc::new(PortMap::from([("http".into(), 80)]));
    let origin = Arc::new(Origin::default());
    let endpoint = |n| Endpoint {
        address: IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + n)),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: ports.clone(),
        labels: Arc::default(),
        origin: origin.clone(),
    };
    let service = Service {
        host: Hostname::parse("hello.default.svc.cluster.local").expect("a host name"),
        ports: vec![Port {
            number: 5000,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::default(),
        endpoints: Chunked::from_items((0..ENDPOINTS).map(endpoint).collect()),
    };
    Snapshot {
        version: 1,
        services: Chunked::from_items(vec![Arc::new(service)]),
        ..Snapshot::default()
    }
}

/// A hello in one record, with the extensions of a usual client, the last of them padding.
fn hello() -> Vec<u8> {
    let name = [&[0], vec16(NAME.as_bytes()).as_slice()].concat();
    let mut list = extension(0, &vec16(&name));
    for kind in [23, 0xff01, 10, 11, 35, 5, 13, 18, 51, 45, 43, 27] {
        list.extend(extension(kind, &[0; 8]));
    }
    list.extend(extension(16, &vec16(b"\x13istio-peer-exchange\x05istio")));
    // Record header 5, message header 4, version and random 34, three lists 33 + 34 + 2, extensions' length 2, and the
    // padding's own header 4.
    let fixed = 5 + 4 + 34 + 33 + 34 + 2 + 2 + 4;
    list.extend(extension(21, &vec![0; HELLO - fixed - list.len()]));
    let mut body = [3; 34].to_vec();
    body.push(32);
    body.extend([7; 32]);
    body.extend(vec16(&[0x13; 32]));
    body.extend([1, 0]);
    body.extend(vec16(&list));
    let mut message = (body.len() as u32).to_be_bytes().to_vec();
    message[0] = 1;
    message.extend(body);
    let raw = [&[0x16, 3, 1], vec16(&message).as_slice()].concat();
    assert_eq!(raw.len(), HELLO);
    raw
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().as_slice(), &vec16(data)].concat()
}

fn vec16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}
