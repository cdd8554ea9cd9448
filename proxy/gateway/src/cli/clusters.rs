//! `causeway clusters`: what a running gateway says of its clusters, as a table.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use discovery::kubernetes::status::now;
use serde_json::Value;

use super::ask::{Ask, Output};
use super::columns::columns;
use super::{say, show};

/// Which gateway.
#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let status = options.ask.get("/source")?;
    if status.get("clusters").is_none() {
        let source = match status.get("address") {
            Some(_) => "follows an xDS server",
            None => "has a file as its source",
        };
        bail!(
            "this gateway {source}, and knows of no clusters by themselves: causeway status says how that goes"
        );
    }
    match options.ask.output {
        Output::Text => show(&table(&status, now()))?,
        Output::Json => say(&format!("{status:#}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Clusters by line, then what is wrong.
fn table(status: &Value, now: i64) -> String {
    let mut rows = vec![
        [
            "CLUSTER",
            "STATE",
            "AGE",
            "OBJECTS",
            "ENDPOINTS",
            "CREDENTIAL",
            "SECRET",
        ]
        .map(String::from),
    ];
    let mut notes = String::new();
    for (id, cluster) in status["clusters"].as_object().into_iter().flatten() {
        let word = |key: &str| cluster[key].as_str().unwrap_or("-").to_owned();
        let since = |key: &str| {
            cluster[key]
                .as_i64()
                .map_or_else(|| "-".into(), |at| span(now - at))
        };
        let objects = cluster["objects"].as_object();
        let objects: u64 = objects.map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
        let secret = &cluster["secret"];
        let secret = match (secret["namespace"].as_str(), secret["name"].as_str()) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ if cluster["own"] == true => "(own cluster)".into(),
            _ => "-".into(),
        };
        let credential = match cluster["credentialEndsAt"].as_i64() {
            Some(end) if end <= now => "ended".into(),
            Some(end) => format!("{} left", span(end - now)),
            None => "-".into(),
        };
        rows.push([
            id.clone(),
            word("state"),
            since("heardAt"),
            objects.to_string(),
            cluster["endpoints"].to_string(),
            credential,
            secret,
        ]);
        let error = &cluster["lastError"];
        if let (Some(message), Some(at)) = (error["message"].as_str(), error["at"].as_i64()) {
            notes.push_str(&format!("{id}: for {}: {message}\n", span(now - at)));
        }
        if let Some(pending) = cluster["pending"].as_str() {
            notes.push_str(&format!("{id}: {pending}\n"));
        }
    }
    if let Some(unsure) = status["meUnsure"].as_str() {
        notes.push_str(&format!("{unsure}\n"));
    }
    let disk = &status["disk"];
    if let Some(error) = disk["lastError"].as_str() {
        notes.push_str(&format!("not kept for the next start: {error}\n"));
    }
    for ignored in disk["ignored"].as_array().into_iter().flatten() {
        let word = |key: &str| ignored[key].as_str().unwrap_or_default();
        notes.push_str(&format!("{} was not used: {}\n", word("file"), word("why")));
    }
    for (namespace, secrets) in status["secrets"].as_object().into_iter().flatten() {
        if let Some(error) = secrets["lastError"].as_str() {
            notes.push_str(&format!("Secrets of namespace {namespace}: {error}\n"));
        }
    }
    for shadowed in status["shadowed"].as_array().into_iter().flatten() {
        let secret = |key: &str| {
            let name = |part: &str| shadowed[key][part].as_str().unwrap_or_default();
            format!("{}/{}", name("namespace"), name("name"))
        };
        let id = shadowed["id"].as_str().unwrap_or_default();
        notes.push_str(&format!(
            "{id}: Secret {} is not used, as {} came first\n",
            secret("secret"),
            secret("owner")
        ));
    }
    for finding in status["findings"].as_array().into_iter().flatten() {
        notes.push_str(finding["message"].as_str().unwrap_or_default());
        notes.push('\n');
    }
    let mut text = columns(&rows);
    if !notes.is_empty() {
        text.push('\n');
        text.push_str(&notes);
    }
    text
}

/// Seconds, roughly.
fn span(seconds: i64) -> String {
    match seconds {
        ..0 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clusters_stand_in_lines_with_what_is_wrong_below() {
        let status = json!({
            "clusters": {
                "ap": {"state": "synced", "own": true, "heardAt": 990, "objects": {"Service": 3, "Pod": 4}, "endpoints": 5},
                "eu": {"state": "stale", "own": false, "heardAt": 100, "objects": {}, "endpoints": 12,
                    "secret": {"namespace": "istio-system", "name": "s"}, "credentialEndsAt": 1_000 + 86_400,
                    "lastError": {"message": "Service: refused", "at": 700}, "pending": "a newer one"},
            },
            "secrets": {"elsewhere": {"lastError": "there is no such namespace"}},
            "shadowed": [{"id": "eu", "secret": {"namespace": "b", "name": "t"}, "owner": {"namespace": "a", "name": "s"}}],
            "findings": [{"message": "network n9 has no gateway"}],
            "meUnsure": "read from disk",
            "disk": {"lastError": "it is full", "ignored": [{"file": "/f", "why": "it is damaged"}]},
        });
        let expected = "\
CLUSTER  STATE   AGE  OBJECTS  ENDPOINTS  CREDENTIAL  SECRET
ap       synced  10s  7        5          -           (own cluster)
eu       stale   15m  0        12         24h left    istio-system/s

eu: for 5m: Service: refused
eu: a newer one
read from disk
not kept for the next start: it is full
/f was not used: it is damaged
Secrets of namespace elsewhere: there is no such namespace
eu: Secret b/t is not used, as a/s came first
network n9 has no gateway
";
        assert_eq!(table(&status, 1_000), expected);
    }
}
