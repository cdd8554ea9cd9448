//! Ejection, ramp and counts of one address.

use super::*;

const RULE: OutlierDetection = OutlierDetection {
    consecutive_failures: 3,
    base_ejection: Duration::from_secs(10),
    max_ejection: Duration::from_secs(300),
    min_health_percent: 0,
};

fn host() -> Host {
    Host::new(EndpointKey(SocketAddr::from(([10, 0, 0, 1], 80))))
}

#[test]
fn a_million_of_them_fit() {
    assert_eq!(size_of::<Host>() + 2 * size_of::<usize>(), 56);
}

#[test]
fn the_third_failure_in_a_row_ejects_and_says_so_once() {
    let host = host();
    for _ in 0..2 {
        host.dial_failed(&RULE, Millis(5));
    }
    host.connected(Duration::from_millis(3));
    host.succeeded(Millis(6));
    for _ in 0..2 {
        host.dial_failed(&RULE, Millis(7));
    }
    assert!(!host.is_out(), "a success in between starts the count over");
    let said: Vec<_> = (0..3).map(|_| host.dial_failed(&RULE, Millis(8))).collect();
    assert_eq!(host.state(), State::Ejected(Millis(10_008)));
    assert_eq!(said, [Some(Millis(10_008)), None, None]);
}

#[test]
fn a_return_ramps_and_the_next_ejection_is_twice_as_long() {
    let host = host();
    for _ in 0..3 {
        host.dial_failed(&RULE, Millis(0));
    }
    assert_eq!(host.share_percent(Millis(1), Duration::ZERO), 0);
    host.readmit(Millis(10_000));
    assert_eq!(host.share_percent(Millis(15_000), Duration::ZERO), 50);
    assert_eq!(host.share_percent(Millis(20_000), Duration::ZERO), 100);
    for _ in 0..3 {
        host.dial_failed(&RULE, Millis(30_000));
    }
    assert_eq!(host.state(), State::Ejected(Millis(50_000)));
    host.readmit(Millis(50_000));
    host.succeeded(Millis(350_000));
    for _ in 0..3 {
        host.dial_failed(&RULE, Millis(400_000));
    }
    assert_eq!(
        host.state(),
        State::Ejected(Millis(410_000)),
        "long health is rewarded"
    );
}

#[test]
fn the_health_of_a_gateway_is_shared_and_its_counts_are_not() {
    let host = host();
    let shared = HostRef::new(host);
    let of_route = || HostRef::new(Host::of_route(shared.clone()));
    let (a, b) = (of_route(), of_route());
    let connection = a.opened();
    assert_eq!((a.open(), b.open(), shared.open()), (1, 0, 0));
    let again = a.clone();
    assert_eq!(again.open(), 1);
    drop(again);
    assert_eq!(a.open(), 1);
    drop(connection);
    assert_eq!(a.open(), 0);
    for _ in 0..3 {
        a.dial_failed(&RULE, Millis(1));
    }
    assert!(b.is_out());
    assert_eq!(a.fingerprint(), b.fingerprint());
}

/// Snapshots come and go; an address that a new one has, too, is on its ramp still.
#[test]
fn a_ramp_outlives_whoever_used_the_address() {
    let mut hosts = Hosts::new();
    let key = host().key();
    let (before, new) = hosts.of(key);
    assert!(new);
    before.readmit(Millis(10_000));
    drop(before);
    hosts.sweep();
    let (after, new) = hosts.of(key);
    assert!(!new);
    assert_eq!(after.share_percent(Millis(15_000), Duration::ZERO), 50);
}

/// What was in use once does not stay for ever: where most of it has gone, the registry is as small as what is left, once nobody
/// has it at hand any more.
#[test]
fn addresses_are_forgotten_when_more_than_half_of_them_have_gone() {
    let mut hosts = Hosts::new();
    let key = |number: u16| EndpointKey(SocketAddr::from(([10, 0, 0, 1], number)));
    let mut used: Vec<HostRef> = (0..10_000).map(|number| hosts.of(key(number)).0).collect();
    let mut leave = |hosts: &mut Hosts, endpoints: usize, at: u64| {
        hosts.count_out(endpoints, Millis(at));
        let due = hosts.next_due();
        used.truncate(used.len() - endpoints);
        due
    };
    assert_eq!(
        leave(&mut hosts, 4_000, 1_000),
        None,
        "they may be back soon"
    );
    assert_eq!(leave(&mut hosts, 1_001, 2_000), Some(Millis(12_000)));
    hosts.forget_due(Millis(11_999));
    assert_eq!(hosts.len(), 10_000, "whoever picked lately may have them");
    hosts.forget_due(Millis(12_000));
    assert_eq!((hosts.len(), hosts.next_due()), (4_999, None));

    // The same few come and go, so none of them is forgotten.
    for at in 0..100 {
        hosts.count_out(60, Millis(at));
    }
    hosts.forget_due(Millis(60_000));
    drop(used.split_off(4_000));
    for at in 0..100 {
        hosts.count_out(60, Millis(60_000 + at));
    }
    hosts.forget_due(Millis(120_000));
    assert_eq!((hosts.len(), hosts.next_due()), (4_999, None));
}
