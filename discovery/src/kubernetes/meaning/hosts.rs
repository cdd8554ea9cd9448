//! Host names of Services, and what patterns of hosts cover. Pure rules.

use model::Hostname;

use crate::kubernetes::facts::Key;

/// The host of a Service; `None` where its name makes none.
pub(super) fn host_of(key: &Key, domain: &str) -> Option<Hostname> {
    Hostname::parse(&format!("{}.{}.svc.{domain}", key.name, key.namespace)).ok()
}

/// The Service that a host stands for; `None` where it has another form.
pub(super) fn key_of(host: &Hostname, domain: &str) -> Option<Key> {
    let rest = host.as_str().strip_suffix(domain)?.strip_suffix(".svc.")?;
    let (name, namespace) = rest.split_once('.')?;
    let plain = !namespace.contains('.') && !name.is_empty();
    plain.then(|| Key::new(namespace, name))
}

/// A name without a dot is short for a Service of the namespace where it stands (Istio's `ResolveShortnameToFQDN`).
pub(super) fn full_name(name: &str, namespace: &str, domain: &str) -> String {
    if name.contains('.') || name.starts_with('*') {
        name.to_owned()
    } else {
        format!("{name}.{namespace}.svc.{domain}")
    }
}

/// Whether a pattern covers a host: the host itself, `*` everything, `*.suffix` whatever ends in the suffix, over any
/// number of labels (Istio's `host.Name.SubsetOf`; `*suffix` is a suffix too).
pub(super) fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// Names that only our own cluster's endpoints serve (Istio's defaults for `clusterLocal`, `M/cluster_local.go`): what
/// runs in kube-system, the API server, and istiod.
pub(super) fn is_cluster_local(key: &Key, system_namespace: &str) -> bool {
    let (namespace, name) = (&*key.namespace, &*key.name);
    namespace == "kube-system"
        || (namespace == "default" && name == "kubernetes")
        || (namespace == system_namespace && name == "istiod")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_suffixes() {
        let host = "hello.default.svc.cluster.local";
        for (pattern, expected) in [
            ("*", true),
            ("*.local", true),
            ("*.default.svc.cluster.local", true),
            ("hello.default.svc.cluster.local", true),
            ("*.hello.default.svc.cluster.local", false),
            ("*.other.svc.cluster.local", false),
            ("*hello.default.svc.cluster.local", false),
            ("hello", false),
            ("", false),
        ] {
            assert_eq!(covers(pattern, host), expected, "{pattern}");
        }
        assert!(covers("*.local", "hello.default.svc.clusterset.local"));
    }

    #[test]
    fn a_host_and_its_service_lead_to_each_other() {
        let key = Key::new("default", "hello");
        let host = host_of(&key, "cluster.local").expect("a host");
        assert_eq!(host.as_str(), "hello.default.svc.cluster.local");
        assert_eq!(key_of(&host, "cluster.local"), Some(key));
        for other in [
            "hello.example",
            "a.b.c.svc.cluster.local",
            "svc.cluster.local",
        ] {
            let host = Hostname::parse(other).expect("a host");
            assert_eq!(key_of(&host, "cluster.local"), None, "{other}");
        }
    }
}
