//! Istio's series over real route tables: their labels, and that they come and go.

use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;

use model::{
    Chunked, Endpoint, Health, Port, PortMap, Protocol, Service, Snapshot, TlsMode, Workload,
};
use proxy::clock::{Clock, Millis};
use proxy::config::{Config, Listener, Role};
use proxy::control::Control;

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

#[test]
fn ten_thousand_series_appear_and_disappear() {
    let (mut control, tables) = control();
    let metrics =
        IstioTcp::new(tables.clone(), Arc::default(), &Myself::default()).expect("good names");
    for round in 0..3 {
        let now = snapshot(round * 2 + 1, 10_000);
        control.apply(&now, Millis(1));
        assert!(metrics.collect().is_empty(), "unused routes have no series");
        let flows = use_all(&tables, &now);
        let families = metrics.collect();
        let counts: Vec<_> = families
            .iter()
            .map(|family| family.get_metric().len())
            .collect();
        assert_eq!(counts, [10_000; 4]);
        drop((families, now));
        control.apply(&snapshot(round * 2 + 2, 0), Millis(1));
        assert!(
            metrics.collect().is_empty(),
            "series of services that are gone disappear"
        );
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
    let families = IstioTcp::new(tables, Arc::default(), &myself)
        .expect("good names")
        .collect();
    let series = &families[0].get_metric()[0];
    let labels: Vec<_> = series
        .get_label()
        .iter()
        .map(|label| format!("{}={}", label.name(), label.value()))
        .collect();
    assert_eq!(
        labels.join(" "),
        "connection_security_policy=unknown destination_app=unknown destination_canonical_revision=v1 \
         destination_canonical_service=hello destination_cluster=us destination_principal=unknown \
         destination_service=s0.default.svc.cluster.local destination_service_name=s0 \
         destination_service_namespace=default destination_version=unknown destination_workload=w0 \
         destination_workload_namespace=default reporter=source request_protocol=tcp response_flags=- source_app=unknown \
         source_canonical_revision=v7 source_canonical_service=gateway source_cluster=us source_principal=unknown \
         source_version=v7 source_workload=eastwest source_workload_namespace=istio-system"
    );
}
