//! A gateway's data path, endpoints and clients in this process, with as little of its own as can be. It must not count.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use model::{
    Chunked, Endpoint, Health, Hostname, Origin, Policy, Port, PortMap, Protocol, Service,
    Snapshot, TlsMode,
};
use proxy::Proxy;
use proxy::config::{Config, Listener, Role};
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The service port of every service.
const PORT: u16 = 5000;

/// A running data path with one worker.
pub(crate) struct Gateway {
    pub(crate) proxy: Proxy,
    runtime: Runtime,
    _snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Gateway {
    /// One that leads to this endpoint.
    pub(crate) fn start(endpoint: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let services = vec![service(0, vec![endpoint.ip()], &ports(endpoint.port()))];
        let (sender, snapshots) = watch::channel(Arc::new(snapshot(services)));
        let proxy = {
            let _inside = runtime.enter();
            Proxy::start(config(&[Role::Inbound]), snapshots).expect("the data path starts")
        };
        Self {
            proxy,
            runtime,
            _snapshots: sender,
        }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.bound()[0].address
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(self.proxy.stop());
    }
}

pub(crate) fn config(roles: &[Role]) -> Config {
    let any = SocketAddr::new(LOCAL, 0);
    Config {
        listeners: roles.iter().map(|role| Listener::new(any, *role)).collect(),
        allow_loopback: true,
        ..Config::default()
    }
}

pub(crate) fn snapshot(services: Vec<Service>) -> Snapshot {
    Snapshot {
        version: 1,
        services: Chunked::from_items(services.into_iter().map(Arc::new).collect()),
        ..Snapshot::default()
    }
}

/// The ports of endpoints that listen on this one. Discovery pools them, so that services share them.
pub(crate) fn ports(port: u16) -> Arc<PortMap> {
    Arc::new(PortMap::from([("http".into(), port)]))
}

/// A service with endpoints at these addresses. What endpoints and services have in common they share, as discovery has it.
pub(crate) fn service(number: usize, addresses: Vec<IpAddr>, ports: &Arc<PortMap>) -> Service {
    let origin = Arc::new(Origin::default());
    let labels = Arc::default();
    let endpoint = |address| Endpoint {
        address,
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: ports.clone(),
        labels: Arc::clone(&labels),
        origin: origin.clone(),
    };
    Service {
        host: Hostname::parse(&host(number)).expect("a host name"),
        ports: ports
            .keys()
            .map(|name| Port {
                number: PORT,
                name: name.clone(),
                protocol: Protocol::Tcp,
            })
            .collect(),
        subsets: BTreeMap::new(),
        policy: Policy::default().shared(),
        endpoints: Chunked::from_items(addresses.into_iter().map(endpoint).collect()),
    }
}

fn host(number: usize) -> String {
    format!("s{number}.default.svc.cluster.local")
}

/// A client of the first service that has said its hello.
pub(crate) fn connected(gateway: SocketAddr, hello: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(gateway).expect("connected");
    client.set_nodelay(true).expect("a socket");
    client.write_all(hello).expect("sent");
    client
}

/// Receives exactly so many bytes and throws them away.
pub(crate) fn receive(stream: &mut TcpStream, count: usize) {
    let mut bytes = [0; 1024];
    let mut left = count;
    while left > 0 {
        let room = left.min(bytes.len());
        let got = stream.read(&mut bytes[..room]).expect("bytes");
        assert!(got > 0, "it ended {left} bytes too early");
        left -= got;
    }
}

/// The least ClientHello that names the first service and offers `istio`.
pub(crate) fn hello() -> Vec<u8> {
    let name = format!("outbound_.{PORT}_._.{}", host(0));
    let length = |n: usize| u16::try_from(n).expect("short").to_be_bytes();
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, data: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(length(data.len()));
        extensions.extend(data);
    };
    let entry = [&[0], &length(name.len())[..], name.as_bytes()].concat();
    extension(0, &[&length(entry.len())[..], &entry].concat());
    extension(16, b"\x00\x06\x05istio");
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(length(extensions.len()));
    body.extend(extensions);
    let message = [&[1, 0], &length(body.len())[..], &body].concat();
    [&[0x16, 3, 1], &length(message.len())[..], &message].concat()
}
