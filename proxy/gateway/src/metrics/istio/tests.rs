//! Istio's series over real route tables: their labels, and that they come and go.

use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;

use model::{
    Chunked, Endpoint, Health, Origin, Port, PortMap, Protocol, Service, Snapshot, TlsMode,
    Workload,
};
use proxy::clock::{Clock, Millis};
use proxy::config::{Config, Listener, Role};
use proxy::control::Control;
use proxy::table::Tables;

use super::*;

fn service(n: u32) -> Arc<Service> {
    let origin = Origin {
        cluster: "us".into(),
        workload: Workload {
            namespace: "default".into(),
            name: format!("w{n}").as_str().into(),
            canonical_name: "hello".into(),
            canonical_revision: "v1".into(),
        },
        ..Origin::default()
    };
    Arc::new(Service {
        host: Hostname::parse(&format!("s{n}.default.svc.cluster.local")).expect("a host name"),
        ports: vec![Port {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Arc::default(),
        endpoints: Chunked::from_items(vec![Endpoint {
            address: std::net::Ipv4Addr::from(0x0a00_0001 + n).into(),
            weight: 1,
            health: Health::Healthy,
            tls: TlsMode::Istio,
            ports: Arc::new(PortMap::from([("http".into(), 80)])),
            labels: Arc::default(),
            origin: Arc::new(origin),
        }]),
    })
}

fn snapshot(version: u64, services: u32) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        version,
        services: Chunked::from_items((0..services).map(service).collect()),
        ..Snapshot::default()
    })
}

fn control() -> (Control, Arc<Tables>) {
    let config = Config {
        listeners: vec![Listener::new(([127, 0, 0, 1], 0).into(), Role::Inbound)],
        viewpoint: model::Viewpoint {
            cluster: "us".into(),
            ..model::Viewpoint::default()
        },
        ..Config::default()
    };
    Control::new(&config, Vec::new(), Clock::start())
}

/// One connection to every route, as the data path counts it.
fn use_all(tables: &Tables, snapshot: &Snapshot) -> Vec<Weak<Flow>> {
    let table = tables.load();
    let flows = table.routes().map(|route| {
        let service = snapshot.service(&route.service).expect("its service");
        let endpoint = service.endpoints.iter().next().expect("its endpoint");
        let flow = route.flows.of(Some(&endpoint.origin), "-");
        flow.opened.fetch_add(1, Relaxed);
        Arc::downgrade(&flow)
    });
    flows.collect()
}

/// What a scrape says now.
fn scrape(tables: &Tables, totals: &Totals, myself: &Myself) -> String {
    let pieces: Vec<Bytes> = Lines::new(&tables.load(), totals, myself).collect();
    let largest = pieces.iter().map(Bytes::len).max().unwrap_or(0);
    assert!(largest < PIECE + 2_048, "{largest} bytes are one piece");
    String::from_utf8(pieces.concat()).expect("text")
}

#[test]
fn ten_thousand_series_appear_and_disappear() {
    let (mut control, tables) = control();
    let totals = Totals::default();
    let scrape = || scrape(&tables, &totals, &Myself::default());
    for round in 0..3 {
        let now = snapshot(round * 2 + 1, 10_000);
        control.apply(&now, Millis(1));
        assert_eq!(scrape(), "", "unused routes have no series");
        let flows = use_all(&tables, &now);
        let text = scrape();
        for (name, help, _) in KINDS {
            let series = text.lines().filter(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with('{'))
            });
            assert_eq!(series.count(), 10_000, "{name}");
            let head = format!("# HELP {name} {help}\n# TYPE {name} counter\n{name}{{");
            assert_eq!(text.matches(&head).count(), 1, "{name}");
        }
        assert_eq!(text.lines().count(), 4 * 10_002);
        drop(now);
        control.apply(&snapshot(round * 2 + 2, 0), Millis(1));
        let left = scrape();
        assert_eq!(left, "", "series of services that are gone disappear");
        let left = flows.iter().filter(|flow| flow.strong_count() > 0).count();
        assert_eq!(left, 0, "and so do their counters");
    }
}

#[test]
fn labels_are_istios() {
    let (mut control, tables) = control();
    let now = snapshot(1, 1);
    control.apply(&now, Millis(1));
    use_all(&tables, &now);
    let labels = [
        ("service.istio.io/canonical-name", "gateway"),
        ("version", "v7"),
    ];
    let labels = labels.map(|(key, value)| (key.into(), value.into())).into();
    let myself = Myself::new("us", "istio-system", "eastwest", &labels);
    let text = scrape(&tables, &Totals::default(), &myself);
    let opened = "istio_tcp_connections_opened_total{";
    let series = text.lines().find_map(|line| line.strip_prefix(opened));
    assert_eq!(
        series
            .expect("a series")
            .replace("\",", " ")
            .replace("=\"", "="),
        "connection_security_policy=unknown destination_app=unknown destination_canonical_revision=v1 \
         destination_canonical_service=hello destination_cluster=us destination_principal=unknown \
         destination_service=s0.default.svc.cluster.local destination_service_name=s0 \
         destination_service_namespace=default destination_version=unknown destination_workload=w0 \
         destination_workload_namespace=default reporter=source request_protocol=tcp response_flags=- source_app=unknown \
         source_canonical_revision=v7 source_canonical_service=gateway source_cluster=us source_principal=unknown \
         source_version=v7 source_workload=eastwest source_workload_namespace=istio-system\"} 1"
    );
}

/// Names come from other clusters, which may say anything.
#[test]
fn what_a_label_says_cannot_end_it() {
    let hostile = Myself {
        workload: "a\"} 7\nb\\".to_owned(),
        ..Myself::default()
    };
    let text = source(&hostile);
    assert!(
        text.contains(r#"source_workload="a\"} 7\nb\\","#) && !text.contains('\n'),
        "{text}"
    );
}
