//! The dashboards and alert rules of the chart, as files. It must not know what is in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One dashboard.
pub(crate) struct Board {
    /// Its file's name, without the extension.
    pub(crate) name: String,
    /// What Grafana reads.
    pub(crate) json: Value,
}

/// A query of a panel.
pub(crate) struct Query<'a> {
    /// Which one, for people.
    pub(crate) place: String,
    /// What is asked, with Grafana's variables.
    pub(crate) expr: &'a str,
    /// How its series are called.
    pub(crate) legend: &'a str,
}

/// An alert.
pub(crate) struct Alert {
    /// Its name.
    pub(crate) name: String,
    /// What is asked.
    pub(crate) expr: String,
    /// The rule.
    pub(crate) rule: Value,
}

/// The folder of the chart.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/causeway")
}

/// Every dashboard.
pub(crate) fn boards() -> Vec<Board> {
    let files = std::fs::read_dir(chart().join("dashboards")).expect("the folder");
    let boards: Vec<Board> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a text");
            let json = serde_json::from_str(&text);
            Board {
                name: path
                    .file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
                json: json.unwrap_or_else(|fault| panic!("{}: {fault}", path.display())),
            }
        })
        .collect();
    assert!(!boards.is_empty());
    boards
}

/// The file of the alert rules.
pub(crate) fn alerts_file() -> PathBuf {
    chart().join("alerts/gateway.yaml")
}

/// Every alert.
pub(crate) fn alerts() -> Vec<Alert> {
    let text = std::fs::read_to_string(alerts_file()).expect("the rules");
    let file: Value = serde_saphyr::from_str(&text).expect("YAML");
    let groups = file["groups"].as_array().expect("groups");
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"));
    let alerts: Vec<Alert> = rules
        .map(|rule| Alert {
            name: rule["alert"].as_str().expect("a name").to_owned(),
            expr: rule["expr"].as_str().expect("a query").to_owned(),
            rule: rule.clone(),
        })
        .collect();
    assert!(!alerts.is_empty());
    alerts
}

impl Board {
    /// Its panels.
    pub(crate) fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().expect("panels")
    }

    /// Its variables.
    pub(crate) fn variables(&self) -> &[Value] {
        self.json["templating"]["list"]
            .as_array()
            .expect("variables")
    }

    /// The queries of all panels.
    pub(crate) fn queries(&self) -> Vec<Query<'_>> {
        let targets = self.panels().iter().flat_map(|panel| {
            let targets = panel["targets"].as_array().expect("queries");
            targets.iter().map(move |target| (panel, target))
        });
        targets
            .map(|(panel, target)| Query {
                place: format!("{}, '{}'", self.name, panel["title"].as_str().unwrap_or("")),
                expr: target["expr"].as_str().expect("a query"),
                legend: target["legendFormat"].as_str().expect("a legend"),
            })
            .collect()
    }
}

/// Puts something in the place of every variable.
pub(crate) fn fill(query: &str) -> String {
    let variables = [
        "$__rate_interval",
        "$__range",
        "$namespace",
        "$gateway",
        "$service",
    ];
    let values = ["1m", "1m", ".*", ".*", ".*"];
    let filled = variables
        .iter()
        .zip(values)
        .fold(query.to_owned(), |query, (variable, value)| {
            query.replace(variable, value)
        });
    assert!(
        !filled.contains('$') || filled.contains("\"$1\""),
        "{query}"
    );
    filled
}
