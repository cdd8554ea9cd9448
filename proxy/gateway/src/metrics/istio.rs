//! Istio's TCP metrics, as an east-west gateway of Istio's has them (istio/proxy's stats filter), so that dashboards and Kiali
//! keep working. Labels are rendered at the scrape; a route that nobody has used has no series, and those of a service or
//! workload that is gone disappear.
//!
//! They are the one thing in a scrape of which there may be very many, so they are written straight into its text, piece by
//! piece, instead of all at once as families of the prometheus crate.
//!
//! Series: at most 4 for each of (route x workload x flags) in use. 10,000 routes that are all used, each served by one
//! workload, are 40,000 series.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use model::{Hostname, Labels};
use proxy::flows::Flow;
use proxy::table::RouteTable;

use super::totals::{Counts, Key, Totals};

/// The four metrics: name, help, place among the counts.
type Kind = (&'static str, &'static str, usize);

const KINDS: [Kind; 4] = [
    (
        "istio_tcp_connections_opened_total",
        "Connections opened, as Istio counts them.",
        0,
    ),
    (
        "istio_tcp_connections_closed_total",
        "Connections closed, as Istio counts them.",
        1,
    ),
    ("istio_tcp_sent_bytes_total", "Bytes sent to clients.", 3),
    (
        "istio_tcp_received_bytes_total",
        "Bytes received from clients.",
        2,
    ),
];

/// Who the gateway is, in Istio's labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Myself {
    pub(crate) workload: String,
    pub(crate) namespace: String,
    pub(crate) canonical_service: String,
    pub(crate) canonical_revision: String,
    pub(crate) app: String,
    pub(crate) version: String,
    pub(crate) cluster: String,
}

impl Myself {
    /// By the labels that name a workload's canonical service and revision (Istio's
    /// `istio.io/istio/pkg/model/proxy.go`: the first of several that is there).
    pub(crate) fn new(cluster: &str, namespace: &str, workload: &str, labels: &Labels) -> Self {
        let first = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| labels.get(*key));
            found.map(ToString::to_string).unwrap_or_default()
        };
        let named = first(&[
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ]);
        Self {
            workload: workload.to_owned(),
            namespace: namespace.to_owned(),
            canonical_service: if named.is_empty() {
                workload.to_owned()
            } else {
                named
            },
            canonical_revision: first(&[
                "service.istio.io/canonical-revision",
                "app.kubernetes.io/version",
                "version",
            ]),
            app: first(&["app"]),
            version: first(&["version"]),
            cluster: cluster.to_owned(),
        }
    }
}

/// Bytes of a piece, a series more or less.
const PIECE: usize = 64 << 10;

/// Routes that are gone through at once: a fraction of a millisecond.
const ROUTES: usize = 128;

/// The series of every flow, as lines of Prometheus' text format, piece by piece.
pub(super) struct Lines {
    /// Labels that all of them have, with what stands before them.
    source: String,
    sums: Arc<[(Key, Counts)]>,
    /// The metric, and the place among the sums, of the next line.
    next: (usize, usize),
}

impl Lines {
    /// Of the routes in this table; `totals` is what the last scrape left.
    pub(super) fn new(table: &RouteTable, totals: &Totals, myself: &Myself) -> Self {
        // Istio's labels know no port, subset or direction: routes of one service that are served by one workload are one series.
        let mut flows: BTreeMap<Key, Vec<Arc<Flow>>> = BTreeMap::new();
        for (at, route) in table.routes().enumerate() {
            if at % ROUTES == 0 {
                // As between pieces: a worker may share the core.
                std::thread::yield_now();
            }
            route.flows.sweep();
            for entry in route.flows.each() {
                let origin = entry.origin.as_deref();
                let key = (
                    route.service.clone(),
                    origin.map(|origin| (origin.workload.clone(), origin.cluster.clone())),
                    entry.flags,
                );
                flows.entry(key).or_default().push(entry.flow);
            }
        }
        Self {
            source: source(myself),
            sums: totals.of(flows).into_iter().collect(),
            next: (0, 0),
        }
    }
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut text = String::with_capacity(PIECE + 2_048);
        while text.len() < PIECE && !self.sums.is_empty() {
            let Some((name, help, at)) = KINDS.get(self.next.0) else {
                break;
            };
            if self.next.1 == 0 {
                // A string takes everything, here and below.
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
            }
            let Some((key, counts)) = self.sums.get(self.next.1) else {
                self.next = (self.next.0 + 1, 0);
                continue;
            };
            text.push_str(name);
            labels(&mut text, key, &self.source);
            let _ = writeln!(text, " {}", counts[*at]);
            self.next.1 += 1;
        }
        (!text.is_empty()).then(|| text.into())
    }
}

/// A series' labels in the order of their names, those of the gateway last.
fn labels(text: &mut String, (service, served, flags): &Key, source: &str) {
    let workload = served.as_ref().map(|(workload, _)| workload);
    let of = |field: fn(&model::Workload) -> &str| workload.map_or("", field);
    let cluster = served.as_ref().map_or("", |(_, cluster)| cluster.as_str());
    let (name, namespace) = service_name(service);
    text.push('{');
    for (label, value) in [
        ("connection_security_policy", UNKNOWN),
        ("destination_app", UNKNOWN),
        (
            "destination_canonical_revision",
            revision(of(|workload| &workload.canonical_revision)),
        ),
        (
            "destination_canonical_service",
            known(of(|workload| &workload.canonical_name)),
        ),
        ("destination_cluster", known(cluster)),
        ("destination_principal", UNKNOWN),
        ("destination_service", service.as_str()),
        ("destination_service_name", name),
        ("destination_service_namespace", known(namespace)),
        ("destination_version", UNKNOWN),
        ("destination_workload", known(of(|workload| &workload.name))),
        (
            "destination_workload_namespace",
            known(of(|workload| &workload.namespace)),
        ),
        ("reporter", "source"),
        ("request_protocol", "tcp"),
        ("response_flags", flags),
    ] {
        label_of(text, label, value);
    }
    text.push_str(source);
    text.push('}');
}

/// The gateway's own labels, rendered once.
fn source(myself: &Myself) -> String {
    let mut text = String::new();
    for (label, value) in [
        ("source_app", known(&myself.app)),
        (
            "source_canonical_revision",
            revision(&myself.canonical_revision),
        ),
        ("source_canonical_service", known(&myself.canonical_service)),
        ("source_cluster", known(&myself.cluster)),
        ("source_principal", UNKNOWN),
        ("source_version", known(&myself.version)),
        ("source_workload", known(&myself.workload)),
        ("source_workload_namespace", known(&myself.namespace)),
    ] {
        label_of(&mut text, label, value);
    }
    // The last one has nothing behind it.
    text.pop();
    text
}

/// A label and a comma. What Prometheus' text format sets apart in a value is escaped: backslash, quote, line feed.
fn label_of(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let plain = part.trim_end_matches(['\\', '"', '\n']);
        text.push_str(plain);
        match part[plain.len()..].chars().next() {
            Some('\n') => text.push_str("\\n"),
            Some(other) => text.extend(['\\', other]),
            None => {}
        }
    }
    text.push_str("\",");
}

const UNKNOWN: &str = "unknown";

fn known(value: &str) -> &str {
    if value.is_empty() { UNKNOWN } else { value }
}

/// Istio calls a workload without a revision `latest`.
fn revision(value: &str) -> &str {
    if value.is_empty() { "latest" } else { value }
}

/// A cluster-local host name is `NAME.NAMESPACE.svc.DOMAIN`; any other has no namespace.
fn service_name(host: &Hostname) -> (&str, &str) {
    let mut labels = host.as_str().splitn(4, '.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(name), Some(namespace), Some("svc")) => (name, namespace),
        _ => (host.as_str(), ""),
    }
}

#[cfg(test)]
mod tests;
