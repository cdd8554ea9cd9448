//! What a scrape costs: `cargo bench -p gateway --bench metrics`.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::{App, config};
use tokio::runtime::Runtime;

criterion_group!(benches, scrape);
criterion_main!(benches);

fn scrape(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("metrics");
    group.sample_size(20);
    for services in [10, 1_000] {
        let app = runtime.block_on(start(services));
        use_every_route(&app);
        let bytes = app.metrics().expect("text").len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{services} routes in use, {bytes} B"), |bencher| {
            bencher.iter(|| black_box(app.metrics()));
        });
        runtime.block_on(app.stop());
    }
}

/// A gateway with so many services of one endpoint each.
async fn start(services: u32) -> App {
    let folder = tempfile::tempdir().expect("a folder");
    let mut mesh = String::from("services:\n");
    for n in 0..services {
        let address = std::net::Ipv4Addr::from(0x0a00_0001 + n);
        let written = write!(
            mesh,
            "  - host: s{n}.default.svc.cluster.local\n    \
               ports: [{{number: 80, name: http}}]\n    \
               endpoints: [{{address: {address}, ports: {{http: 80}}, cluster: us, network: n, locality: r/z}}]\n"
        );
        written.expect("written");
    }
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, mesh).expect("written");
    let any = "{address: \"127.0.0.1:0\"}";
    let text = format!(
        "cluster: us\nnetwork: n\nlocality: r/z\nworkers: 1\n\
         listeners: [{{address: \"127.0.0.1:0\", role: inbound}}]\n\
         admin: {any}\nstats: {any}\nready: {any}\nsource: {{file: {}}}\n",
        file.display()
    );
    let config = config::parse("gateway.yaml", &text).expect("a configuration");
    App::start(config).await.expect("it starts")
}

/// One connection to every route, as the data path counts it.
fn use_every_route(app: &App) {
    let table = app.proxy().tables().load();
    for route in table.routes() {
        let view = route.balancer().view(app.proxy().now());
        let origin = &view.tiers[0].addresses[0].origin;
        route
            .flows
            .of(Some(origin), "-")
            .opened
            .fetch_add(1, Relaxed);
    }
}
