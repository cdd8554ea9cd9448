//! The rules of a configuration that its form cannot say. It must not change anything.

use super::Gateway;

/// What is wrong with the configuration as a whole: the key, and why.
pub(super) fn check(gateway: &Gateway) -> Result<(), (String, String)> {
    let wrong = |key: &str, why: &str| Err((key.to_owned(), why.to_owned()));
    if gateway.listeners.is_empty() {
        return wrong(
            "listeners",
            "there is none: give at least one, like {address: \"0.0.0.0:15443\", role: inbound}",
        );
    }
    for (at, listener) in gateway.listeners.iter().enumerate() {
        let same = |other: &super::Listener| {
            other.address == listener.address && listener.address.port() != 0
        };
        if gateway.listeners[..at].iter().any(same) {
            return wrong(
                "listeners",
                &format!("two of them have the address {}", listener.address),
            );
        }
    }
    if gateway.source.file.is_none() {
        return wrong(
            "source",
            "there is none: name one, 'file: mesh.yaml' (the only kind of this version)",
        );
    }
    if gateway.workers == Some(0) {
        return wrong("workers", "at least 1 is needed");
    }
    if !gateway.admin.allow_remote && !gateway.admin.address.ip().is_loopback() {
        return wrong(
            "admin.address",
            "it is not a loopback address, and the admin API has no login: use 127.0.0.1, or say 'allowRemote: true'",
        );
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
    Ok(())
}
