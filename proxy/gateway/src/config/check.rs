//! The rules of a configuration that its form cannot say. It must not change anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use model::Keepalive;

use super::{Gateway, Role};

/// The longest TCP_USER_TIMEOUT: the kernel takes milliseconds as a signed number of 32 bits (net/ipv4/tcp.c).
const USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// The longest busy poll. To be woken takes a thread some tens of microseconds, so a millisecond is far more than can pay.
const BUSY_POLL_MICROS: u32 = 1_000;

/// What is wrong with the configuration as a whole: the key, and why.
pub(super) fn check(gateway: &Gateway) -> Result<(), (String, String)> {
    let wrong = |key: &str, why: &str| Err((key.to_owned(), why.to_owned()));
    if gateway.listeners.is_empty() {
        return wrong(
            "listeners",
            "there is none: give at least one, like {address: \"[::]:15443\", role: inbound}",
        );
    }
    for (at, listener) in gateway.listeners.iter().enumerate() {
        let mut before = gateway.listeners[..at].iter();
        let Some(other) = before.find(|other| overlap(other.address, listener.address)) else {
            continue;
        };
        let why = if other.address == listener.address {
            format!("two of them have the address {}", listener.address)
        } else {
            format!(
                "{} and {} overlap, so only one of them could be bound: [::] takes all addresses of both families, 0.0.0.0 all of IPv4",
                other.address, listener.address
            )
        };
        return wrong("listeners", &why);
    }
    for (at, listener) in gateway.listeners.iter().enumerate() {
        let Some(network) = &listener.network else {
            continue;
        };
        if listener.role != Role::Outbound {
            return wrong(
                "listeners",
                &format!(
                    "network: {network} stands on a listener that is not outbound: only those stand for a network"
                ),
            );
        }
        let same = |other: &super::Listener| other.network.as_ref() == Some(network);
        if gateway.listeners[..at].iter().any(same) {
            return wrong(
                "listeners",
                &format!("two of them stand for {network}: each network needs one"),
            );
        }
    }
    let source = &gateway.source;
    let named = [
        source.file.is_some(),
        source.kubernetes.is_some(),
        source.xds.is_some(),
    ];
    match named.iter().filter(|named| **named).count() {
        0 => {
            return wrong(
                "source",
                "there is none: name one, 'kubernetes: {}', 'file: mesh.yaml' or 'xds: {address: ...}'",
            );
        }
        1 => {}
        _ => {
            return wrong(
                "source",
                "there are several: name 'kubernetes', 'file' or 'xds', not more than one",
            );
        }
    }
    if let Some(xds) = &source.xds {
        xds.check()?;
    }
    if let Err((key, why)) = gateway.xds.check() {
        return wrong(key, why);
    }
    if gateway.workers == Some(0) {
        return wrong("workers", "at least 1 is needed");
    }
    if gateway.busy_poll_micros > BUSY_POLL_MICROS {
        return wrong(
            "busyPollMicros",
            &format!(
                "{BUSY_POLL_MICROS} at most: longer than that, sleeping costs nobody anything"
            ),
        );
    }
    if !gateway.admin.allow_remote && !gateway.admin.address.ip().is_loopback() {
        return wrong(
            "admin.address",
            "it is not a loopback address, and the admin API has no login: use 127.0.0.1, or say 'allowRemote: true'",
        );
    }
    let without_source = |listener: &super::Listener| {
        let proxy = listener.proxy_protocol.as_ref();
        proxy.is_some_and(|proxy| proxy.from.is_empty())
    };
    if gateway.listeners.iter().any(without_source) {
        return wrong(
            "listeners",
            "proxyProtocol.from is empty, so nobody could connect: list the load balancers' addresses, like [10.0.0.0/8]",
        );
    }
    if !(0.0..=1.0).contains(&gateway.access_log.sample) {
        return wrong("accessLog.sample", "it must be between 0 and 1");
    }
    if gateway.drain.window.0.is_zero() {
        return wrong("drain.window", "it must be longer than nothing");
    }
    if gateway
        .closing
        .max_age
        .is_some_and(|age| age.0.as_secs() < 1)
    {
        return wrong("closing.maxAge", "it must be 1s at least");
    }
    if !(512..=1 << 20).contains(&gateway.limits.hello_bytes) {
        return wrong("limits.helloBytes", "it must be between 512 and 1048576");
    }
    if gateway.limits.pending_hello_bytes < gateway.limits.hello_bytes {
        return wrong(
            "limits.pendingHelloBytes",
            "it must hold at least one hello (limits.helloBytes)",
        );
    }
    if let Some((key, _)) = gateway
        .timeouts
        .each()
        .into_iter()
        .find(|(_, time)| time.is_zero())
    {
        return wrong(&format!("timeouts.{key}"), "it must be longer than nothing");
    }
    for (key, time) in [
        ("timeouts.keepalive", gateway.timeouts.keepalive),
        (
            "timeouts.keepaliveInterval",
            gateway.timeouts.keepalive_interval,
        ),
    ] {
        if !Keepalive::SECONDS.contains(&time.0.as_secs()) {
            return wrong(
                key,
                "it must be between 1s and 32767s (9h): the kernel takes nothing else",
            );
        }
    }
    if gateway.timeouts.user.0 > USER_TIMEOUT {
        return wrong(
            "timeouts.user",
            "it must be 596h at most: the kernel takes no more",
        );
    }
    if let Some((key, why)) = gateway.probes.fault() {
        return wrong(&format!("probes.{key}"), why);
    }
    Ok(())
}

/// Whether the kernel binds only one of the two.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |one: SocketAddr, other: SocketAddr| match one.ip() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => other.is_ipv4(),
        ip => ip == other.ip(),
    };
    one.port() == other.port() && one.port() != 0 && (takes(one, other) || takes(other, one))
}
