//! `causeway explain`: what would become of a server name in a running gateway, and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::ask::{Ask, Output};
use super::columns::columns;
use super::{say, show};

/// Which name, where.
#[derive(Args)]
pub(super) struct Options {
    /// The server name, like outbound_.5000_._.hello.default.svc.cluster.local.
    sni: String,
    /// The protocols that the client offers, joined by commas.
    #[arg(long, default_value = "istio")]
    alpn: String,
    /// Only the listener of this port.
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it; fails where no listener would serve the name.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("sni", &options.sni)
        .append_pair("alpn", &options.alpn);
    if let Some(port) = options.port {
        query.append_pair("port", &port.to_string());
    }
    let said = options.ask.get(&format!("/explain?{}", query.finish()))?;
    match options.ask.output {
        Output::Text => show(&page(&said))?,
        Output::Json => say(&format!("{said:#}\n"))?,
    }
    let mut listeners = said["listeners"].as_array().into_iter().flatten();
    let served = listeners.any(|listener| listener["refused"].is_null());
    Ok(if served {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn page(said: &Value) -> String {
    let mut page = format!("{} (alpn {})\n", word(&said["sni"]), word(&said["alpn"]));
    for listener in said["listeners"].as_array().into_iter().flatten() {
        page.push_str(&format!(
            "\n{} {}: ",
            word(&listener["role"]),
            word(&listener["address"])
        ));
        if let Some(reason) = listener["refused"]["reason"].as_str() {
            page.push_str(&format!("refused, {reason}\n"));
        } else {
            let pick = &listener["pick"];
            page.push_str(&format!(
                "to {} in {} (cluster {}, network {}, tier {}), for instance\n",
                word(&pick["address"]),
                word(&pick["locality"]),
                word(&pick["cluster"]),
                word(&pick["network"]),
                pick["tier"],
            ));
        }
        if let Some(hint) = listener["hint"].as_str() {
            page.push_str(&format!("  {hint}\n"));
        }
        for near in listener["near"].as_array().into_iter().flatten() {
            page.push_str(&format!("  known: {}\n", word(near)));
        }
        page.push_str(&endpoints(listener));
        for (why, count) in listener["unused"].as_object().into_iter().flatten() {
            if count.as_u64() > Some(0) {
                page.push_str(&format!("  not used: {count} ({})\n", meaning(why)));
            }
        }
    }
    page
}

fn endpoints(listener: &Value) -> String {
    let heads = [
        "  TIER",
        "SHARE",
        "ADDRESS",
        "CLUSTER",
        "LOCALITY",
        "READINESS",
        "STATE",
        "OPEN",
    ];
    let mut rows = vec![heads.map(String::from)];
    for (at, tier) in listener["tiers"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        for endpoint in tier["endpoints"].as_array().into_iter().flatten() {
            let state = state(endpoint);
            let gateway = if endpoint["gateway"] == true {
                " (gateway)"
            } else {
                ""
            };
            rows.push([
                format!("  {at}"),
                format!("{}%", endpoint["share"]),
                format!("{}{gateway}", word(&endpoint["address"])),
                word(&endpoint["cluster"]).to_owned(),
                word(&endpoint["locality"]).to_owned(),
                word(&endpoint["readiness"]).to_owned(),
                state,
                endpoint["open"].to_string(),
            ]);
        }
    }
    if rows.len() == 1 {
        return String::new();
    }
    columns(&rows)
}

/// What our own dials and probes say of an address: until when it is ejected, since when it is something else.
fn state(endpoint: &Value) -> String {
    let mut state = word(&endpoint["state"]).to_owned();
    if let Some(until) = endpoint["untilMs"].as_u64() {
        state.push_str(&format!(" for {} s", until.div_ceil(1_000)));
    }
    if let Some(since) = endpoint["sinceMs"].as_u64() {
        state.push_str(&format!(" since {} s", since / 1_000));
    }
    if let Some(outcome) = endpoint["probe"]["last"]["outcome"].as_str() {
        state.push_str(&format!(", probe {outcome}"));
    }
    if endpoint["lastResort"] == true {
        state.push_str(", last resort");
    }
    state
}

fn meaning(why: &str) -> &str {
    match why {
        "forbiddenAddress" => {
            "an address that is never dialled: loopback, link-local, multicast, or our own listener"
        }
        "noGateway" => "no gateway leads to their network for their cluster",
        "noPort" => "they have no port of this name",
        "noMeshTls" => "they do not speak the mesh's mutual TLS",
        other => other,
    }
}

fn word(value: &Value) -> &str {
    match value.as_str() {
        Some("") | None => "-",
        Some(word) => word,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_explained_on_every_listener() {
        let said = json!({
            "sni": "outbound_.5000_._.hello", "alpn": "istio",
            "listeners": [
                {"address": "127.0.0.1:15443", "role": "inbound",
                 "pick": {"address": "10.0.1.5:9898", "cluster": "us", "network": "n2", "locality": "us-west/a", "tier": 0},
                 "tiers": [{"endpoints": [
                    {"address": "10.0.1.5:9898", "cluster": "us", "locality": "us-west/a", "readiness": "healthy", "state": "steady", "share": 100.0, "open": 3, "gateway": false},
                    {"address": "10.0.1.6:9898", "cluster": "us", "locality": "us-west/a", "readiness": "out", "state": "ejected", "untilMs": 4_200, "share": 0.0, "open": 0, "gateway": false},
                    {"address": "203.0.113.7:15443", "cluster": "eu", "locality": "", "readiness": "out", "state": "dead", "sinceMs": 7_900, "share": 0.0, "open": 0, "gateway": true,
                     "probe": {"state": "dead", "last": {"outcome": "refused"}}, "lastResort": true}]}],
                 "unused": {"noPort": 2, "noGateway": 0}},
                {"address": "127.0.0.1:15444", "role": "outbound", "refused": {"reason": "unknown_port"},
                 "near": ["outbound_.5001_._.hello"]},
            ],
        });
        let expected = "\
outbound_.5000_._.hello (alpn istio)

inbound 127.0.0.1:15443: to 10.0.1.5:9898 in us-west/a (cluster us, network n2, tier 0), for instance
  TIER  SHARE   ADDRESS                      CLUSTER  LOCALITY   READINESS  STATE                                       OPEN
  0     100.0%  10.0.1.5:9898                us       us-west/a  healthy    steady                                      3
  0     0.0%    10.0.1.6:9898                us       us-west/a  out        ejected for 5 s                             0
  0     0.0%    203.0.113.7:15443 (gateway)  eu       -          out        dead since 7 s, probe refused, last resort  0
  not used: 2 (they have no port of this name)

outbound 127.0.0.1:15444: refused, unknown_port
  known: outbound_.5001_._.hello
";
        assert_eq!(page(&said), expected);
    }
}
