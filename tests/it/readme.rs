//! The README says what is so: every reason with its flag, and only metrics that a scrape really has.

use proxy::close::Reason;
use tests::{endpoint, get, hello_service, until_async};

use crate::reasons::{HERE, V4, before_one};

const README: &str = include_str!("../../README.md");

#[test]
fn the_table_of_reasons_is_what_there_is_with_its_flags() {
    let chapter = README.split("### Reasons").nth(1).expect("the chapter");
    let chapter = chapter.split("\n### ").next().expect("its end");
    let rows = chapter.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let reason = cells.next()?.strip_suffix('`')?;
        Some((reason, cells.next()?))
    });
    let rows: Vec<_> = rows.collect();
    let all: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| (reason.as_str(), reason.flag()))
        .collect();
    assert_eq!(
        rows, all,
        "what the README has, and what there is, in its order"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_are_named_are_there_and_those_that_are_there_are_named() {
    let (mesh, backend) = before_one(|config| config.xds.address = Some((V4, 0).into())).await;
    let service = hello_service(vec![endpoint(backend.address(), HERE)]);
    let gateway = model::Gateway {
        address: backend.address(),
        name: None,
        clusters: Vec::new(),
    };
    mesh.publish(vec![service], &[("n3", vec![gateway])]).await;
    let client = mesh.client(gateway::config::Role::Inbound);
    client.ask().await.expect("an answer");
    let stats = mesh.app.addresses().stats;
    // Ends are only told once there was one, which comes a moment after the client has its answer.
    until_async("the connection has ended", async || {
        let scrape = get(stats, "/metrics").await.body;
        scrape.contains("causeway_connections_closed_total{")
    })
    .await;
    let scrape = get(stats, "/metrics").await.body;
    let types = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let there: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let words = README.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    // Those of Kubernetes or an xDS server as the source are not there with a file.
    let of_clusters = |word: &str| {
        word.starts_with("causeway_cluster_")
            || word.starts_with("causeway_xds_client_")
            || word == "causeway_findings"
    };
    let metrics = words
        .clone()
        .filter(|word| word.starts_with("causeway_") || word.starts_with("istio_tcp_"));
    for named in metrics.filter(|word| !of_clusters(word)) {
        assert!(
            there.contains(&named),
            "{named} is in the README, and not in a scrape: {there:?}"
        );
    }
    let ours = there.iter().filter(|name| name.starts_with("causeway_"));
    for name in ours {
        assert!(
            words.clone().any(|word| word == *name),
            "{name} is not in the README"
        );
    }
}
