//! The data path as a whole, where one of its workers is gone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::close::Reason;
use crate::config::{Limits, Listener, Role};

fn two_workers() -> Config {
    Config {
        listeners: vec![Listener::new(
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            Role::Inbound,
        )],
        workers: 2,
        allow_loopback: true,
        limits: Limits {
            connections: Some(1_000),
            ..Limits::default()
        },
        ..Config::default()
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(outcome.is_ok(), "waited in vain until {what}");
}

#[tokio::test]
async fn what_is_known_at_the_start_is_in_force_at_once() {
    let known = Snapshot {
        version: 7,
        ..Snapshot::default()
    };
    let (_snapshots, receiver) = watch::channel(Arc::new(known));
    let proxy = Proxy::start(two_workers(), receiver).expect("it starts");
    assert_eq!(proxy.snapshot_version(), 7);
    proxy.stop().await;
}

/// The other one has no open connections, so every client is offered to it, and each has to be taken back.
#[tokio::test]
async fn a_worker_that_has_ended_costs_no_client() {
    let (_snapshots, receiver) = watch::channel(Arc::default());
    let proxy = Proxy::start(two_workers(), receiver).expect("it starts");
    proxy.shared.inboxes[1].send(Message::Stop).expect("told");
    until("the second worker has ended", || {
        proxy.threads.lock()[1].is_finished()
    })
    .await;
    let address = proxy.bound()[0].address;
    let clients: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(address).expect("connected"))
        .collect();
    until("all are held", || proxy.open() == clients.len()).await;
    assert!(proxy.totals().closes.is_empty());
    drop(clients);
    until("all are counted", || {
        let probes =
            |closes: &[(_, Reason, u64)]| closes.iter().any(|c| (c.1, c.2) == (Reason::Probe, 20));
        probes(&proxy.totals().closes) && proxy.open() == 0
    })
    .await;
    proxy.stop().await;
}

/// A second gateway on the same address must not take half of the first one's clients.
#[tokio::test]
async fn a_second_gateway_on_the_same_address_is_told_so() {
    let (_snapshots, receiver) = watch::channel(Arc::default());
    let first = Proxy::start(two_workers(), receiver.clone()).expect("it starts");
    let mut same = two_workers();
    same.listeners[0].address = first.bound()[0].address;
    let fault = Proxy::start(same, receiver).expect_err("the address is taken");
    assert_eq!(fault.kind(), io::ErrorKind::AddrInUse);
    let said = fault.to_string();
    let named = format!("cannot listen on {}: ", first.bound()[0].address);
    assert!(said.starts_with(&named), "{said}");
    assert!(said.ends_with("choose another address"), "{said}");
    first.stop().await;
}
