//! Whether a gateway says the same of an end everywhere. It must not provoke one.

use proxy::close::{Blame, Close, Reason, Stage};
use serde_json::Value;

use crate::{Mesh, get, metric, until_async};

/// Waits until the metric counts an end for this reason, the log has its line, and `/failures` the same if it is one.
///
/// # Panics
/// When one of them does not within two minutes, or they differ.
pub async fn says(mesh: &Mesh, reason: Reason) {
    let name = reason.as_str();
    let label = format!("reason=\"{name}\"");
    until_async(&format!("the metric says {name}"), async || {
        let text = get(mesh.app.addresses().stats, "/metrics").await.body;
        metric(&text, "causeway_connections_closed_total", &[&label]) >= 1.0
    })
    .await;
    if reason == Reason::Probe {
        return;
    }
    let is_this = |line: &Value| line["reason"] == name;
    until_async(&format!("the log says {name}"), async || {
        mesh.access_log().iter().any(is_this)
    })
    .await;
    let lines = mesh.access_log();
    let line = lines.iter().rfind(|line| is_this(line)).expect("just seen");
    assert_eq!(line["flag"], reason.flag());
    let text = get(mesh.app.addresses().stats, "/metrics").await.body;
    let stage = format!("stage={}", line["stage"]);
    let counted = metric(
        &text,
        "causeway_connections_closed_total",
        &[&label, &stage],
    );
    assert!(counted >= 1.0, "no {stage} in {text}");
    let path = format!("/failures?reason={name}");
    let failures = get(mesh.app.addresses().admin, &path).await.json();
    let failures = failures["failures"].as_array().expect("a list");
    let is_failure = Close::new(Stage::Accept, reason, Blame::Nobody).is_failure();
    assert_eq!(
        failures.contains(line),
        is_failure,
        "{failures:?} and {line}"
    );
}
