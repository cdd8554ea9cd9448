//! The README says what is so: every reason with its flag, and only metrics that a scrape really has.

use proxy::close::Reason;
use tests::{endpoint, get, hello_service};

use crate::reasons::{HERE, V4, before_one};

const README: &str = include_str!("../../README.md");

#[test]
fn every_reason_stands_in_the_table_with_its_flag() {
    let rows: Vec<&str> = README
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.as_str(), reason.flag());
        let found = rows.iter().filter(|line| line.starts_with(&row)).count();
        assert_eq!(found, 1, "{row}");
    }
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
    let scrape = get(mesh.app.addresses().stats, "/metrics").await.body;
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
