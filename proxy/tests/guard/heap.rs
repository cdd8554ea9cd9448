//! What is asked of the allocator for each of what there is much of. The allocator's own share comes on top.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, PoisonError};

use proxy::clock::{Clock, Millis};
use proxy::config::Role;
use proxy::control::Control;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{BYTES_OF_A_ROUTE, BYTES_OF_AN_ENDPOINT, BYTES_OF_AN_IDLE_CONNECTION};
use crate::stage::{Gateway, LOCAL, config, connected, hello, ports, receive, service, snapshot};
use crate::{ALLOCATOR, ALONE};

/// Bytes in use. A reallocation is counted as its difference.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn each(bytes: usize, count: usize) -> f64 {
    bytes as f64 / count as f64
}

#[test]
fn an_idle_connection_is_small() {
    /// Connections before those that are counted: lists have their size by then.
    const WARM: usize = 64;
    /// Connections that are counted. Each has four descriptors here, those of both ends of both legs.
    const COUNTED: usize = 512;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    raise_descriptors();
    let backend = TcpListener::bind((LOCAL, 0)).expect("bound");
    let gateway = Gateway::start(backend.local_addr().expect("an address"));
    let hello = hello();
    let mut pairs = Vec::with_capacity(WARM + COUNTED);
    let mut connect = |count: usize| {
        for _ in 0..count {
            let mut client = connected(gateway.address(), &hello);
            let (mut served, _) = backend.accept().expect("accepted");
            receive(&mut served, hello.len());
            // One answer, so that the connection is one that relays.
            served.write_all(b"answer").expect("sent");
            receive(&mut client, 6);
            pairs.push((client, served));
        }
    };
    connect(WARM);
    let before = live();
    connect(COUNTED);
    let bytes = live() - before;
    assert_eq!(gateway.proxy.open(), WARM + COUNTED);
    BYTES_OF_AN_IDLE_CONNECTION.hold(each(bytes, COUNTED));
    drop(pairs);
    gateway.stop();
}

#[test]
fn an_endpoint_and_a_route_are_small() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Dialled from both views.
    let both = [Role::Inbound, Role::Outbound];
    BYTES_OF_AN_ENDPOINT.hold(each(compiled(&both, 1, 20_000), 20_000));
    BYTES_OF_A_ROUTE.hold(each(compiled(&both, 2_000, 1), 2_000 * both.len()));
}

/// Bytes of snapshot and table of so many services with so many endpoints each.
fn compiled(roles: &[Role], services: u32, endpoints: u32) -> usize {
    let (mut control, tables) = Control::new(&config(roles), Vec::new(), Clock::start());
    let before = live();
    let ports = ports(8080);
    let one = |number: u32| {
        let addresses = (0..endpoints).map(|at| {
            let address = 0x0a00_0001 + number * endpoints + at;
            IpAddr::V4(Ipv4Addr::from(address))
        });
        service(number as usize, addresses.collect(), &ports)
    };
    let snapshot = Arc::new(snapshot((0..services).map(one).collect()));
    control.apply(&snapshot, Millis(1));
    let bytes = live() - before;
    assert_eq!(
        tables.load().routes().count(),
        services as usize * roles.len()
    );
    bytes
}

/// Raises the soft limit of open files to the hard one.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("its own limit");
    assert!(
        maximum.is_none_or(|limit| limit >= 4096),
        "{maximum:?} descriptors"
    );
}
