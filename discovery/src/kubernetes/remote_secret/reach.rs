//! Whether an address is likely to be reached from elsewhere. It must not try.

use std::net::IpAddr;

/// What to say of a server address that other clusters may not reach; `None` if it looks public.
pub(super) fn warning(server: &str) -> Option<String> {
    let uri: http::Uri = server.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let kind = match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() => "of this machine alone",
        Ok(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => "private",
        Ok(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => "private",
        Ok(_) => return None,
        Err(_) if host.eq_ignore_ascii_case("localhost") => "of this machine alone",
        Err(_) if !host.contains('.') => "without a domain",
        Err(_) => return None,
    };
    Some(format!(
        "the address {server} is {kind}: other clusters may not reach it; --server gives the one that they do"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_look_public_pass() {
        for (server, word) in [
            ("https://127.0.0.1:6443", "alone"),
            ("https://0.0.0.0:6443", "alone"),
            ("https://localhost:6443", "alone"),
            ("https://[::1]:6443", "alone"),
            ("https://10.0.0.1", "private"),
            ("https://172.20.0.2:6443", "private"),
            ("https://192.168.1.1", "private"),
            ("https://[fd00::1]:6443", "private"),
            ("https://kind-control-plane:6443", "domain"),
        ] {
            let said = warning(server);
            assert!(
                said.as_ref().is_some_and(|it| it.contains(word)),
                "{server}: {said:?}"
            );
        }
        for server in [
            "https://203.0.113.1:6443",
            "https://api.example.com",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(warning(server), None, "{server}");
        }
    }
}
