//! Ejection, ramp and counts of one address.

use super::*;

fn host() -> (Host, mpsc::UnboundedReceiver<Event>) {
    let (events, receiver) = mpsc::unbounded_channel();
    let key = EndpointKey(SocketAddr::from(([10, 0, 0, 1], 80)));
    (Host::new(key, events), receiver)
}

#[test]
fn a_million_of_them_fit() {
    assert_eq!(size_of::<Host>() + 2 * size_of::<usize>(), 80);
}

#[test]
fn the_third_failure_in_a_row_ejects_and_says_so_once() {
    let (host, mut events) = host();
    for _ in 0..2 {
        host.dial_failed(Millis(5));
    }
    host.connected(Duration::from_millis(3));
    host.succeeded(Millis(6));
    for _ in 0..2 {
        host.dial_failed(Millis(7));
    }
    assert!(
        !host.is_ejected(),
        "a success in between starts the count over"
    );
    for _ in 0..3 {
        host.dial_failed(Millis(8));
    }
    assert_eq!(host.state(), State::Ejected(Millis(10_008)));
    assert!(matches!(events.try_recv(), Ok(Event::Ejected { .. })));
    assert!(events.try_recv().is_err());
}

#[test]
fn a_return_ramps_and_the_next_ejection_is_twice_as_long() {
    let (host, _events) = host();
    for _ in 0..3 {
        host.dial_failed(Millis(0));
    }
    assert_eq!(host.share_percent(Millis(1), Duration::ZERO), 0);
    host.readmit(Millis(10_000));
    assert_eq!(host.share_percent(Millis(15_000), Duration::ZERO), 50);
    assert_eq!(host.share_percent(Millis(20_000), Duration::ZERO), 100);
    for _ in 0..3 {
        host.dial_failed(Millis(30_000));
    }
    assert_eq!(host.state(), State::Ejected(Millis(50_000)));
    host.readmit(Millis(50_000));
    host.succeeded(Millis(350_000));
    for _ in 0..3 {
        host.dial_failed(Millis(400_000));
    }
    assert_eq!(
        host.state(),
        State::Ejected(Millis(410_000)),
        "long health is rewarded"
    );
}

#[test]
fn the_health_of_a_gateway_is_shared_and_its_counts_are_not() {
    let (host, _events) = host();
    let shared = Arc::new(host);
    let (a, b) = (Host::of_route(Arc::clone(&shared)), Host::of_route(shared));
    a.take();
    assert_eq!((a.open(), b.open()), (1, 0));
    for _ in 0..3 {
        a.dial_failed(Millis(1));
    }
    assert!(b.is_ejected());
    assert_eq!(a.fingerprint(), b.fingerprint());
}
