//! `causeway status`: a running gateway at a glance.

use std::process::ExitCode;

use clap::Args;
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

/// Runs it; fails while the gateway is not ready.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let status = options.ask.get("/status")?;
    match options.ask.output {
        Output::Text => show(&page(&status))?,
        Output::Json => say(&format!("{status:#}\n"))?,
    }
    Ok(if status["ready"] == true {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn page(status: &Value) -> String {
    let word = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
    let waiting: Vec<_> = strings(&status["waitingFor"]).collect();
    let ready = match status["drainPhase"].as_u64() {
        Some(1) => "draining, still accepting".to_owned(),
        Some(2) => "draining, closing what is open".to_owned(),
        _ if waiting.is_empty() => "ready".to_owned(),
        _ => format!("not ready, waiting for {}", waiting.join(", ")),
    };
    let listeners = status["listeners"].as_array().into_iter().flatten();
    let listeners: Vec<_> = listeners
        .map(|one| {
            format!(
                "{} {}",
                one["role"].as_str().unwrap_or("-"),
                one["address"].as_str().unwrap_or("-")
            )
        })
        .collect();
    let rows = [
        [
            "gateway".into(),
            format!(
                "Causeway {} in cluster {}",
                word("version"),
                word("cluster")
            ),
        ],
        ["state".into(), ready],
        ["listeners".into(), listeners.join(", ")],
        [
            "open connections".into(),
            format!("{} of {}", status["open"], status["limit"]),
        ],
        [
            "known".into(),
            format!(
                "{} services, {} routes, {} networks, snapshot {}",
                status["services"], status["routes"], status["networks"], status["snapshotVersion"]
            ),
        ],
        ["entered".into(), networks(&status["networkHealth"])],
        [
            "ejected now".into(),
            format!("{} ({} so far)", status["ejected"], status["ejections"]),
        ],
        ["served by tier".into(), tiers(&status["picksByTier"])],
        ["attempts".into(), counts(&status["attempts"])],
        ["ended".into(), counts(&status["ends"])],
        ["source".into(), source(&status["source"])],
        ["xds clients".into(), xds(&status["xds"])],
    ];
    columns(&rows)
}

/// Other networks that are entered through gateways, those that are not usable with the reason.
fn networks(of: &Value) -> String {
    let of = of.as_object().into_iter().flatten();
    let said = of.map(|(network, health)| {
        let state = health["state"].as_str().unwrap_or("-");
        let (out, count) = (&health["out"], &health["gatewayCount"]);
        let since = health["sinceMs"].as_u64().unwrap_or(0) / 1_000;
        match state {
            "usable" if out.as_u64() == Some(0) => format!("{network} usable"),
            "usable" => format!("{network} usable, {out} of {count} gateways out"),
            "last_resort" => format!(
                "{network} last resort since {since} s: all went out together, so look at this gateway's own way out"
            ),
            _ => format!("{network} {state} since {since} s, {out} of {count} gateways out"),
        }
    });
    let said: Vec<_> = said.collect();
    if said.is_empty() {
        "no other network".into()
    } else {
        said.join("; ")
    }
}

/// Names and counts, the largest first; nothing for what has not happened.
fn counts(of: &Value) -> String {
    let mut counts: Vec<(u64, &String)> = of
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, count)| Some((count.as_u64().filter(|count| *count > 0)?, name)))
        .collect();
    counts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let counts: Vec<_> = counts
        .iter()
        .map(|(count, name)| format!("{name} {count}"))
        .collect();
    if counts.is_empty() {
        "nothing yet".into()
    } else {
        counts.join(", ")
    }
}

fn tiers(of: &Value) -> String {
    let tiers = of.as_array().into_iter().flatten().enumerate();
    let used = tiers.filter(|(_, count)| count.as_u64() > Some(0));
    let used: Vec<_> = used
        .map(|(tier, count)| format!("{tier}: {count}"))
        .collect();
    if used.is_empty() {
        "nothing yet".into()
    } else {
        used.join(", ")
    }
}

fn source(of: &Value) -> String {
    if let Some(clusters) = of["clusters"].as_object() {
        let states = clusters
            .iter()
            .map(|(id, cluster)| format!("{id} {}", cluster["state"].as_str().unwrap_or("-")));
        return format!(
            "{} (causeway clusters says more)",
            states.collect::<Vec<_>>().join(", ")
        );
    }
    if let Some(server) = of["address"].as_str() {
        let state = of["state"].as_str().unwrap_or("-");
        let refused = of["refused"].as_array().map_or(0, Vec::len);
        let error = of["lastError"].as_str();
        let error = error.map_or_else(String::new, |error| format!(": {error}"));
        let loaded = match of["loaded"].as_bool() {
            Some(true) => ", in force is what was kept on disk",
            _ => "",
        };
        return format!("xDS server {server}, {state}, {refused} resources refused{loaded}{error}");
    }
    match of["lastError"].as_str() {
        Some(error) => {
            format!("the file's latest version is wrong, an earlier one is in force: {error}")
        }
        None => "a file, in force".into(),
    }
}

fn xds(of: &Value) -> String {
    if of.is_null() {
        return "not served (xds.address is not configured)".into();
    }
    let mut line = format!(
        "{}, {} behind, {} refusing what they are sent (/xds says more)",
        of["streams"], of["behind"], of["refusing"]
    );
    if let Some(fault) = of["tlsFault"].as_str() {
        line.push_str(&format!("; new certificates are not in force: {fault}"));
    }
    line
}

fn strings(of: &Value) -> impl Iterator<Item = &str> {
    of.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_stands_on_a_page() {
        let status = json!({
            "version": "0.1.0", "cluster": "us", "ready": false, "waitingFor": ["clusters"], "drainPhase": 0,
            "listeners": [{"address": "0.0.0.0:15443", "role": "inbound"}], "open": 3, "limit": 100,
            "services": 1, "routes": 2, "networks": 3, "snapshotVersion": 7,
            "networkHealth": {
                "n1": {"state": "usable", "out": 0, "gatewayCount": 2, "sinceMs": 1},
                "n2": {"state": "usable", "out": 1, "gatewayCount": 2, "sinceMs": 1},
                "n3": {"state": "dead", "out": 2, "gatewayCount": 2, "sinceMs": 12_345},
            }, "ejected": 0, "ejections": 1,
            "picksByTier": [5, 0, 1], "attempts": {"connected": 6, "refused": 0}, "ends": {"done": 2, "probe": 9},
            "source": {"lastError": null}, "xds": {"streams": 2, "behind": 1, "refusing": 0, "tlsFault": null},
        });
        let expected = "\
gateway           Causeway 0.1.0 in cluster us
state             not ready, waiting for clusters
listeners         inbound 0.0.0.0:15443
open connections  3 of 100
known             1 services, 2 routes, 3 networks, snapshot 7
entered           n1 usable; n2 usable, 1 of 2 gateways out; n3 dead since 12 s, 2 of 2 gateways out
ejected now       0 (1 so far)
served by tier    0: 5, 2: 1
attempts          connected 6
ended             probe 9, done 2
source            a file, in force
xds clients       2, 1 behind, 0 refusing what they are sent (/xds says more)
";
        assert_eq!(page(&status), expected);
    }

    #[test]
    fn an_xds_server_is_a_source() {
        let mut status = json!({"address": "istiod:15012", "state": "following", "refused": []});
        assert_eq!(
            source(&status),
            "xDS server istiod:15012, following, 0 resources refused"
        );
        status["refused"] = json!([{"name": "a"}]);
        status["lastError"] = "it is gone".into();
        let expected = "xDS server istiod:15012, following, 1 resources refused: it is gone";
        assert_eq!(source(&status), expected);
        status["loaded"] = true.into();
        let expected = "xDS server istiod:15012, following, 1 resources refused, in force is what was kept on disk: it is gone";
        assert_eq!(source(&status), expected);
    }
}
