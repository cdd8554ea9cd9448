//! Istio's TCP metrics, as an east-west gateway of Istio's has them (istio/proxy's stats filter), so that dashboards and Kiali
//! keep working. Labels are rendered at the scrape; a route that nobody has used has no series, and those of a service or
//! workload that is gone disappear.
//!
//! Series: at most 4 for each of (route x workload x flags) in use. 10,000 routes that are all used, each served by one
//! workload, are 40,000 series.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Hostname, Labels, Origin};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use proxy::flows::Flow;
use proxy::table::{Route, Tables};

use super::totals::{Key, Totals};

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

/// Renders the flows of every route.
pub(super) struct IstioTcp {
    tables: Arc<Tables>,
    totals: Arc<Totals>,
    descriptions: Vec<Desc>,
    source: Vec<(&'static str, String)>,
}

impl IstioTcp {
    /// For these tables; `totals` is what the last scrape left.
    ///
    /// # Errors
    /// Never: the names are good ones.
    pub(super) fn new(
        tables: Arc<Tables>,
        totals: Arc<Totals>,
        myself: &Myself,
    ) -> prometheus::Result<Self> {
        let descriptions = KINDS.iter().map(|(name, help, _)| {
            Desc::new(
                (*name).to_owned(),
                (*help).to_owned(),
                Vec::new(),
                [].into(),
            )
        });
        Ok(Self {
            tables,
            totals,
            descriptions: descriptions.collect::<Result<_, _>>()?,
            source: vec![
                ("source_workload", known(&myself.workload)),
                ("source_workload_namespace", known(&myself.namespace)),
                ("source_canonical_service", known(&myself.canonical_service)),
                (
                    "source_canonical_revision",
                    revision(&myself.canonical_revision),
                ),
                ("source_principal", UNKNOWN.to_owned()),
                ("source_app", known(&myself.app)),
                ("source_version", known(&myself.version)),
                ("source_cluster", known(&myself.cluster)),
            ],
        })
    }

    fn labels(&self, route: &Route, origin: Option<&Origin>, flags: &str) -> Vec<LabelPair> {
        let workload = origin.map(|origin| &origin.workload);
        let of = |field: fn(&model::Workload) -> &str| known(workload.map_or("", field));
        let (name, namespace) = service_name(&route.service);
        let canonical = of(|workload| &workload.canonical_name);
        let mut labels = vec![label("reporter", "source")];
        labels.extend(self.source.iter().map(|(name, value)| label(name, value)));
        labels.extend([
            label("destination_workload", &of(|workload| &workload.name)),
            label(
                "destination_workload_namespace",
                &of(|workload| &workload.namespace),
            ),
            label("destination_canonical_service", &canonical),
            label(
                "destination_canonical_revision",
                &revision(workload.map_or("", |workload| &workload.canonical_revision)),
            ),
            label("destination_principal", UNKNOWN),
            label("destination_app", UNKNOWN),
            label("destination_version", UNKNOWN),
            label("destination_service", route.service.as_str()),
            label("destination_service_name", name),
            label("destination_service_namespace", &known(namespace)),
            label(
                "destination_cluster",
                &known(origin.map_or("", |origin| origin.cluster.as_str())),
            ),
            label("request_protocol", "tcp"),
            label("response_flags", flags),
            label("connection_security_policy", UNKNOWN),
        ]);
        labels.sort_by(|a, b| a.name().cmp(b.name()));
        labels
    }
}

impl Collector for IstioTcp {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let table = self.tables.load();
        // Istio's labels know no port, subset or direction: routes of one service that are served by one workload are one series.
        let mut labels = BTreeMap::new();
        let mut flows: BTreeMap<Key, Vec<Arc<Flow>>> = BTreeMap::new();
        for route in table.routes() {
            route.flows.sweep();
            for entry in route.flows.each() {
                let origin = entry.origin.as_deref();
                let key = (
                    route.service.clone(),
                    origin.map(|origin| (origin.workload.clone(), origin.cluster.clone())),
                    entry.flags,
                );
                labels
                    .entry(key.clone())
                    .or_insert_with(|| self.labels(route, origin, entry.flags));
                flows.entry(key).or_default().push(entry.flow);
            }
        }
        let sums = self.totals.of(flows);
        let family = |(name, help, at): &Kind| {
            let metrics = sums.iter().map(|(key, counts)| {
                let mut counter = Counter::default();
                counter.set_value(counts[*at] as f64);
                let mut metric = Metric::from_label(labels[key].clone());
                metric.set_counter(counter);
                metric
            });
            let mut family = MetricFamily::default();
            family.set_name((*name).to_owned());
            family.set_help((*help).to_owned());
            family.set_field_type(MetricType::COUNTER);
            family.set_metric(metrics.collect());
            family
        };
        if sums.is_empty() {
            return Vec::new();
        }
        KINDS.iter().map(family).collect()
    }
}

const UNKNOWN: &str = "unknown";

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn known(value: &str) -> String {
    if value.is_empty() { UNKNOWN } else { value }.to_owned()
}

/// Istio calls a workload without a revision `latest`.
fn revision(value: &str) -> String {
    if value.is_empty() { "latest" } else { value }.to_owned()
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
