//! What the control task keeps when most of what there was has gone.

use std::net::{IpAddr, Ipv4Addr};

use model::{
    Chunked, Endpoint, Health, Hostname, Origin, Policy, Port, PortMap, Protocol, Service, TlsMode,
};

use super::*;
use crate::config::{Listener, Role};

fn snapshot(version: u64, endpoints: u32) -> Arc<Snapshot> {
    let (ports, origin) = (
        Arc::new(PortMap::from([("http".into(), 80)])),
        Arc::new(Origin::default()),
    );
    let endpoint = |number: u32| Endpoint {
        address: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: ports.clone(),
        labels: Arc::default(),
        origin: origin.clone(),
    };
    let service = Service {
        host: Hostname::parse("s").expect("a host name"),
        ports: vec![Port {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Policy::default().shared(),
        endpoints: Chunked::from_items((0..endpoints).map(endpoint).collect()),
    };
    let services = (endpoints > 0).then(|| Arc::new(service));
    Arc::new(Snapshot {
        version,
        services: Chunked::from_items(services.into_iter().collect()),
        ..Snapshot::default()
    })
}

/// Whether a service shrinks or vanishes: a worker that has just picked still has the old balancer, and then lets it go.
#[test]
fn addresses_that_have_gone_are_forgotten_when_nobody_has_them_any_more() {
    for (left, most) in [(1_000, 1_000), (0, 0)] {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            listeners: vec![Listener::new(address, Role::Inbound)],
            ..Config::default()
        };
        let (mut control, tables) = Control::new(&config, Vec::new(), Clock::start());
        control.apply(&snapshot(1, 5_000), Millis(1_000));
        let table = tables.load();
        let route = table.find(Role::Inbound, 0, "outbound_.80_._.s");
        let at_hand = route.map(|route| route.balancer_arc());
        drop(table);
        control.apply(&snapshot(2, left), Millis(2_000));
        control.do_what_is_due(Millis(2_000));
        assert_eq!(control.hosts.len(), 5_000);
        drop(at_hand);
        let due = control.next_due().expect("something to do");
        assert!(due <= Millis(20_000), "{due:?}");
        control.do_what_is_due(due);
        assert_eq!(control.hosts.len(), most);
    }
}
