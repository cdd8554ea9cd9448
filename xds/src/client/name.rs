//! The names that Istio gives to clusters: `outbound_.<port>_.<subset>_.<host>`, which is a server name too, and
//! `outbound|<port>|<subset>|<host>`. It knows no cluster.

use std::sync::Arc;

use model::Hostname;

/// What a cluster's name says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClusterName {
    /// Of a mesh name: its endpoints speak the mesh's mutual TLS.
    Mesh(ServicePort),
    /// Of a service as clients of the mesh know it.
    Plain(ServicePort),
    /// Another form, of which nothing is known; or that of a host with a wildcard, as a ServiceEntry may have it, which is
    /// no service here.
    Other,
}

/// A port of a service, under a subset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServicePort {
    /// The service's host.
    pub(crate) host: Hostname,
    /// The service port.
    pub(crate) port: u16,
    /// The subset; empty: the whole service.
    pub(crate) subset: Arc<str>,
}

const MESH: (&str, &str) = ("outbound_.", "_.");
const PLAIN: (&str, &str) = ("outbound|", "|");

impl ClusterName {
    /// Reads a name. The spelling is the one that Istio writes (`BuildSubsetKey`, `BuildDNSSrvSubsetKey`): a port without
    /// leading zeros and a host without a further separator.
    ///
    /// # Errors
    /// What is wrong with a name that begins like one of Istio's.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        if let Some(rest) = name.strip_prefix(MESH.0) {
            return Ok(ServicePort::parse(rest, MESH.1)?.map_or(Self::Other, Self::Mesh));
        }
        if let Some(rest) = name.strip_prefix(PLAIN.0) {
            return Ok(ServicePort::parse(rest, PLAIN.1)?.map_or(Self::Other, Self::Plain));
        }
        Ok(Self::Other)
    }

    /// The service port that it names.
    #[must_use]
    pub(crate) fn service_port(self) -> Option<ServicePort> {
        match self {
            Self::Mesh(of) | Self::Plain(of) => Some(of),
            Self::Other => None,
        }
    }
}

impl ServicePort {
    /// `None` where the host has a wildcard.
    fn parse(rest: &str, separator: &str) -> Result<Option<Self>, String> {
        let parts = rest.split_once(separator);
        let parts = parts.and_then(|(port, rest)| Some((port, rest.split_once(separator)?)));
        let Some((digits, (subset, host))) = parts else {
            return Err(format!("its name lacks parts between '{separator}'"));
        };
        let port = match digits.parse() {
            Ok(port) if !digits.starts_with(['0', '+']) => port,
            _ => return Err(format!("its name has the port '{digits}'")),
        };
        if host.contains(separator) {
            return Err(format!("its name has more than three '{separator}'"));
        }
        let rest = host.strip_prefix("*.");
        let read = Hostname::parse(rest.unwrap_or(host));
        let host = read.map_err(|fault| format!("in its name {fault}"))?;
        let subset = subset.into();
        Ok(rest.is_none().then_some(Self { host, port, subset }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_istio_writes_them() {
        let of = |port, subset: &str, host| ServicePort {
            host: Hostname::parse(host).expect("a host name"),
            port,
            subset: subset.into(),
        };
        for (name, expected) in [
            (
                "outbound_.80_._.a.b.svc",
                ClusterName::Mesh(of(80, "", "a.b.svc")),
            ),
            ("outbound_.80_.v1_.a", ClusterName::Mesh(of(80, "v1", "a"))),
            (
                "outbound|80||a.b.svc",
                ClusterName::Plain(of(80, "", "a.b.svc")),
            ),
            (
                "outbound|65535|v_1|a",
                ClusterName::Plain(of(65535, "v_1", "a")),
            ),
            ("BlackHoleCluster", ClusterName::Other),
            ("inbound|80||", ClusterName::Other),
            ("outbound|443||*.example.com", ClusterName::Other),
            ("outbound_.443_._.*.example.com", ClusterName::Other),
            ("", ClusterName::Other),
        ] {
            assert_eq!(ClusterName::parse(name), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_name_that_begins_like_istios_and_goes_on_otherwise_is_refused() {
        for (name, why) in [
            ("outbound_.80", "lacks parts"),
            ("outbound|80|a", "lacks parts"),
            ("outbound_.080_._.a", "the port '080'"),
            ("outbound_.+80_._.a", "the port '+80'"),
            ("outbound_.65536_._.a", "the port '65536'"),
            ("outbound|http||a", "the port 'http'"),
            ("outbound|80|||a", "more than three"),
            ("outbound_.80_._.", "is not a host name"),
            ("outbound|80||a b", "is not a host name"),
            ("outbound|80||*", "is not a host name"),
            ("outbound|80||*.*.a", "is not a host name"),
            ("outbound|x||*.a", "the port 'x'"),
        ] {
            let refused = ClusterName::parse(name).expect_err(name);
            assert!(refused.contains(why), "{name}: {refused}");
        }
    }
}
