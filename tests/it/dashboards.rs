//! The dashboards and alerts ask only for what the gateway exports: each query is parsed by promtool, looked up in a live
//! scrape, and answered by a real Prometheus.

mod board;
mod query;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use gateway::config::Role;
use model::{Gateway, Hostname, Service};
use proxy::close::{Blame, Close, Reason, Stage};
use serde_json::Value;
use sidecar::{Backend, Behaviour, HELLO_NAME, Pki};
use tests::{
    Mesh, Place, Prometheus, Region, check_metrics, endpoint, get, hello_service, metric, tool,
    until_async,
};

use self::board::{Board, alerts, alerts_file, boards, fill};
use self::query::{Series, missing, named, series};
use crate::kubernetes::api_server;
use crate::reasons::{HERE, V4};

const README: &str = include_str!("../../README.md");

const THERE: Place = Place {
    cluster: "eu",
    network: "n3",
    locality: "eu-west/a",
};

/// What a Kubernetes cluster with an east-west gateway has that nobody gave an address.
const WITHOUT_ADDRESS: &str = "apiVersion: v1
kind: Service
metadata: {name: lost, namespace: istio-system, labels: {topology.istio.io/network: network9}}
spec: {type: LoadBalancer, ports: [{name: tls, port: 15443}]}
";

#[test]
fn dashboards_are_what_grafana_reads() {
    let mut uids = BTreeSet::new();
    for board in boards() {
        let name = &board.name;
        assert_eq!(board.json["uid"], format!("causeway-{name}"));
        assert!(uids.insert(board.json["uid"].to_string()));
        // Grafana 11.0's; later ones raise it as they read it.
        assert_eq!(board.json["schemaVersion"], 39, "{name}");
        let variables = board.variables().iter();
        let variables: Vec<&str> = variables.filter_map(|one| one["name"].as_str()).collect();
        assert!(
            variables.starts_with(&["datasource", "namespace", "gateway"]),
            "{name}"
        );
        panels_stand_side_by_side(&board);
        for panel in board.panels() {
            let title = format!("{name}, {}", panel["title"]);
            let kind = panel["type"].as_str().expect("a kind");
            assert!(
                ["stat", "timeseries", "table", "state-timeline"].contains(&kind),
                "{title}"
            );
            assert!(
                !panel["description"].as_str().unwrap_or("").is_empty(),
                "{title}"
            );
            let targets = panel["targets"].as_array().expect("queries");
            let asks = targets.iter().chain([panel]);
            for with_source in asks {
                assert_eq!(with_source["datasource"]["uid"], "${datasource}", "{title}");
            }
            let ids: BTreeSet<String> =
                targets.iter().map(|one| one["refId"].to_string()).collect();
            assert_eq!(ids.len(), targets.len(), "{title}");
        }
        for query in board.queries() {
            for variable in ["$namespace", "$gateway"] {
                assert!(query.expr.contains(variable), "{}: {variable}", query.place);
            }
            assert!(!query.expr.contains("$service") || variables.contains(&"service"));
            let by = named(&fill(query.expr)).labels;
            for label in query.legend.split("{{").skip(1) {
                let label = label.split("}}").next().unwrap_or("");
                assert!(by.contains(label), "{}: legend {label}", query.place);
            }
        }
    }
}

/// Grafana's grid has 24 columns; what overlaps is moved, and the board looks otherwise than it was meant to.
fn panels_stand_side_by_side(board: &Board) {
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in board.panels() {
        assert!(
            ids.insert(panel["id"].as_u64().expect("an id")),
            "{}",
            panel["title"]
        );
        let place = |side: &str| panel["gridPos"][side].as_u64().expect("a number");
        assert!(place("x") + place("w") <= 24, "{}", panel["title"]);
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(
                    taken.insert((x, y)),
                    "{}: {} overlaps",
                    board.name,
                    panel["title"]
                );
            }
        }
    }
}

/// A reason that is misspelt, or that comes later, would be silently left out of a panel or an alert.
#[test]
fn reasons_in_queries_are_those_of_the_gateway() {
    let no_failures: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !Close::new(Stage::Accept, **reason, Blame::Nobody).is_failure())
        .map(|reason| reason.as_str())
        .collect();
    let (boards, alerts) = (boards(), alerts());
    let queries = boards.iter().flat_map(|board| board.queries());
    let mut exprs: Vec<String> = queries.map(|query| query.expr.to_owned()).collect();
    exprs.extend(alerts.into_iter().map(|alert| alert.expr));
    let mut seen = BTreeSet::new();
    for expr in &exprs {
        for matcher in expr.split("reason").skip(1) {
            let Some((operator, rest)) = matcher.split_once('"') else {
                continue;
            };
            let pattern = rest.split('"').next().unwrap_or("");
            match operator {
                "!~" => assert_eq!(
                    pattern.split('|').collect::<BTreeSet<_>>(),
                    no_failures.iter().copied().collect(),
                    "{expr}"
                ),
                "=" | "=~" => {
                    for one in pattern.split('|') {
                        let fits = |reason: &&Reason| match one.strip_suffix(".*") {
                            Some(start) => reason.as_str().starts_with(start),
                            None => reason.as_str() == one,
                        };
                        let found: Vec<_> = Reason::ALL.iter().filter(fits).collect();
                        assert!(!found.is_empty(), "no reason {one}: {expr}");
                        seen.extend(found.iter().map(|reason| reason.as_str()));
                    }
                }
                _ => {}
            }
        }
    }
    for reason in Reason::ALL {
        let name = reason.as_str();
        assert!(
            seen.contains(name),
            "no panel of one kind of failures has {name}"
        );
    }
}

#[test]
fn alerts_say_what_to_do() {
    let heading = README
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| format!("README.md#{}", title.to_lowercase().replace(' ', "-")));
    let headings: Vec<String> = heading.collect();
    for alert in alerts() {
        let Value::Object(annotations) = &alert.rule["annotations"] else {
            panic!("{} says nothing", alert.name);
        };
        for key in ["summary", "description", "runbook_url"] {
            let text = annotations[key].as_str().unwrap_or("");
            assert!(!text.is_empty(), "{}: {key}", alert.name);
            let by = named(&alert.expr).labels;
            let metrics = named(&alert.expr).metrics;
            for label in text.split("$labels.").skip(1) {
                let end = label.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                let label = &label[..end.unwrap_or(label.len())];
                // What is not grouped keeps all its labels.
                assert!(
                    by.contains(label) || (by.is_empty() && metrics.len() == 1),
                    "{}: {label}",
                    alert.name
                );
            }
        }
        let link = annotations["runbook_url"].as_str().unwrap_or("");
        assert!(headings.iter().any(|heading| heading == link), "{link}");
        let severity = alert.rule["labels"]["severity"].as_str().unwrap_or("");
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{}",
            alert.name
        );
    }
}

#[test]
fn alerts_fire_when_they_should_and_queries_are_promql() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let program = promtool.get_program().to_owned();
    let run = |arguments: &[&Path]| {
        let output = Command::new(&program)
            .args(arguments)
            .output()
            .expect("promtool runs");
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    };
    let boards = boards();
    let rules: Vec<Value> = boards
        .iter()
        .flat_map(|board| board.queries())
        .enumerate()
        .map(|(at, query)| {
            // The record's name tells which one promtool means.
            let record = format!(
                "{}_{at}",
                query
                    .place
                    .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            );
            serde_json::json!({"record": record, "expr": fill(query.expr)})
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queries.yaml");
    let text = serde_json::json!({"groups": [{"name": "queries", "rules": rules}]});
    std::fs::write(&file, text.to_string()).expect("written");
    run(&["check".as_ref(), "rules".as_ref(), &file]);
    run(&["check".as_ref(), "rules".as_ref(), &alerts_file()]);
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alerts.yaml");
    run(&["test".as_ref(), "rules".as_ref(), &cases]);
    let cases = std::fs::read_to_string(cases).expect("the cases");
    for alert in alerts() {
        let fires = format!(
            "alertname=\"{}\", alertstate=\"firing\", severity",
            alert.name
        );
        let sent = format!("alertname: {}\n        exp_alerts", alert.name);
        assert!(
            cases.contains(&fires) || cases.contains(&sent),
            "no case has {} fire",
            alert.name
        );
    }
}

/// A gateway with an endpoint in its own cluster, one in another, and one that is dead.
struct Busy {
    mesh: Mesh,
    _endpoints: [Backend; 3],
}

impl Busy {
    async fn start() -> Self {
        let mesh = Mesh::start(V4, |config| config.xds.address = Some((V4, 0).into())).await;
        let near = mesh.backend("near").await;
        let far = mesh.backend("far").await;
        let dead = mesh.backend("dead").await;
        dead.set(Behaviour::Refuse).await.expect("it refuses");
        let named = |host: &str, endpoint| Service {
            host: Hostname::parse(&format!("{host}.default.svc.cluster.local")).expect("a name"),
            ..hello_service(vec![endpoint])
        };
        let services = vec![
            named("hello", endpoint(near.address(), HERE)),
            named("far", endpoint(([10, 8, 0, 9], 9898).into(), THERE)),
            named("dead", endpoint(dead.address(), HERE)),
        ];
        let gateway = Gateway {
            address: far.address(),
            name: None,
            clusters: vec!["eu".into()],
        };
        mesh.publish(services, &[("n3", vec![gateway])]).await;
        let busy = Self {
            mesh,
            _endpoints: [near, far, dead],
        };
        busy.ask_all().await;
        until_async("all is counted", async || {
            let text = busy.scrape().await;
            text.contains("destination_cluster=\"eu\"")
                && text.contains("response_flags=\"UF,URX\"")
        })
        .await;
        busy
    }

    /// Asks each of them once.
    async fn ask_all(&self) {
        for (host, answers) in [("hello", true), ("far", true), ("dead", false)] {
            let name = HELLO_NAME.replace("hello", host);
            let client = self.mesh.client(Role::Outbound).named(&name);
            let answer = client.expect("a name").ask().await;
            assert_eq!(answer.is_ok(), answers, "{host}");
        }
    }

    async fn scrape(&self) -> String {
        get(self.stats(), "/stats/prometheus").await.body
    }

    fn stats(&self) -> SocketAddr {
        self.mesh.app.addresses().stats
    }
}

/// Queries of dashboards, their variables and alerts that name what is not in these series.
fn complaints(exported: &Series, asked_for: impl Fn(&str) -> bool) -> Vec<String> {
    let boards = boards();
    let of_boards = boards.iter().flat_map(|board| board.queries());
    let mut exprs: Vec<(String, String)> = of_boards
        .map(|query| (query.place.clone(), fill(query.expr)))
        .collect();
    for board in &boards {
        let definitions = board
            .variables()
            .iter()
            .filter_map(|one| one["definition"].as_str());
        exprs.extend(definitions.map(|definition| {
            let inside = definition
                .strip_prefix("label_values(")
                .and_then(|text| text.strip_suffix(')'));
            let (metric, label) = inside
                .and_then(|text| text.rsplit_once(", "))
                .expect("label_values(METRIC, LABEL)");
            (
                format!("{}: {definition}", board.name),
                fill(&format!("sum by ({label}) ({metric})")),
            )
        }));
    }
    exprs.extend(alerts().into_iter().map(|alert| (alert.name, alert.expr)));
    let wanted = exprs.iter().filter(|(_, expr)| {
        let metrics = named(expr).metrics;
        metrics.iter().all(|(metric, _)| asked_for(metric))
    });
    wanted
        .flat_map(|(place, expr)| {
            let missing = missing(expr, exported);
            missing
                .into_iter()
                .map(move |what| format!("{place}: no {what}"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_labels_are_in_a_live_scrape() {
    let scrape = Busy::start().await.scrape().await;
    let of_kubernetes =
        |metric: &str| metric.starts_with("causeway_cluster_") || metric == "causeway_findings";
    let complaints = complaints(&series(&scrape), |metric| !of_kubernetes(metric));
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// With Kubernetes as the source too, and every query answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_answers_every_query() {
    let Some(binary) = api_server("dashboards::a_real_prometheus_answers_every_query") else {
        return;
    };
    let pki = Pki::new();
    let mut home = Region::start(&binary, &pki, 1).await;
    let other = Region::start(&binary, &pki, 2).await;
    home.plane.apply(WITHOUT_ADDRESS).await;
    home.plane.apply(&other.remote_secret().await).await;
    home.start_gateway().await;
    home.until_synced(2).await;
    until_async(
        "what is wrong is found, and what is known is on disk",
        async || {
            let scrape = get(home.stats(), "/stats/prometheus").await.body;
            ["causeway_findings", "causeway_cluster_disk_written"]
                .iter()
                .all(|metric| scrape.contains(metric))
        },
    )
    .await;
    let busy = Busy::start().await;
    let of_file = busy.scrape().await;
    check_metrics(&of_file);
    let mut exported = series(&of_file);
    let of_kubernetes = get(home.stats(), "/stats/prometheus").await.body;
    check_metrics(&of_kubernetes);
    let found = ["kind=\"gateway_without_address\"", "cluster=\"ap\""];
    let concerned = metric(&of_kubernetes, "causeway_findings", &found);
    assert_eq!(concerned, 1.0, "{of_kubernetes}");
    exported.extend(series(&of_kubernetes));
    let complaints = complaints(&exported, |_| true);
    assert!(complaints.is_empty(), "{complaints:#?}");

    let pod = |name| [("namespace", "mesh"), ("pod", name)];
    let targets = [
        (busy.stats(), &pod("file")[..]),
        (home.stats(), &pod("kubernetes")[..]),
    ];
    let Some(prometheus) = Prometheus::start(&targets) else {
        return;
    };
    for board in boards() {
        for query in board.queries() {
            // Not every reason is had here; which there are is another test's.
            let expr = any_reason(&fill(query.expr));
            until_async(
                &format!("{} has an answer to {expr}", query.place),
                async || {
                    busy.ask_all().await;
                    let found = prometheus.query(&expr).await.unwrap_or_default();
                    found.iter().any(|series| {
                        let value = series["value"][1].as_str().unwrap_or("");
                        value.parse().is_ok_and(f64::is_finite)
                    })
                },
            )
            .await;
        }
    }
    for alert in alerts() {
        until_async(
            &format!("{} is answered: {}", alert.name, alert.expr),
            async || prometheus.query(&alert.expr).await.is_some(),
        )
        .await;
    }
}

/// The query for any reason in the place of the named ones.
fn any_reason(query: &str) -> String {
    let mut parts = query.split("reason=~\"");
    let mut changed = parts.next().unwrap_or("").to_owned();
    for part in parts {
        changed.push_str("reason=~\".+\"");
        changed.push_str(part.split_once('"').map_or("", |(_, rest)| rest));
    }
    changed
}
