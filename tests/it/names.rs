//! Gateways that are given by name: what a name server, the C library and the gateway make of them together.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use tests::{A, AAAA, Child, NameServer, TROUBLED, get, in_namespace, until_async};

const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// As in a Pod: a search list, and dots enough to have it tried before the name itself.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\nsearch trap.example\noptions ndots:5 attempts:1\n";

/// What a name that was searched for would lead to.
const TRAP: &[IpAddr] = &[IpAddr::V4(std::net::Ipv4Addr::new(10, 66, 0, 1))];

/// Names, the addresses that the name server has for them (`None`: no such name), and what the log says of those without.
const NAMES: [(&str, Option<&[&str]>, &str); 6] = [
    (
        "both.example",
        Some(&["10.3.0.1", "10.3.0.2", "2001:db8::7"]),
        "",
    ),
    ("four.example", Some(&["10.3.0.4"]), ""),
    ("six.example", Some(&["2001:db8::6"]), ""),
    ("empty.example", Some(&[]), "has no address"),
    ("absent.example", None, "has no address"),
    (TROUBLED, None, "could not be resolved"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_name_is_looked_up_as_it_is_with_all_its_addresses() {
    if !in_namespace("names::a_gateways_name_is_looked_up_as_it_is_with_all_its_addresses") {
        return;
    }
    let parse = |ips: &[&str]| -> Vec<IpAddr> {
        let ips = ips.iter().map(|ip| ip.parse().expect("an address"));
        ips.collect()
    };
    let searched = NAMES.map(|(name, ..)| format!("{name}.trap.example"));
    let known: Vec<(&str, Vec<IpAddr>)> = NAMES
        .iter()
        .filter_map(|(name, ips, _)| Some((*name, parse((*ips)?))))
        .chain(searched.iter().map(|name| (name.as_str(), TRAP.to_vec())))
        .collect();
    let known: Vec<(&str, &[IpAddr])> = known.iter().map(|(name, ips)| (*name, &**ips)).collect();
    let dns = SocketAddr::from(([127, 0, 0, 1], 53));
    let name_server = NameServer::start(dns, &known).await.expect("a name server");
    let mut mesh = String::from("networks:\n");
    for (number, (name, ..)) in NAMES.iter().enumerate() {
        mesh += &format!("  n{number}: {{gateways: [{{address: {name}, port: 15443}}]}}\n");
    }
    let gateway = Child::start_resolving(CAUSEWAY, &mesh, RESOLV_CONF).await;

    until_async("every name is answered for", async || {
        let snapshot = get(gateway.admin(), "/snapshot").await.body;
        NAMES.iter().all(|(name, _, said)| match said.is_empty() {
            true => snapshot.contains(name),
            false => gateway.log().contains(name),
        })
    })
    .await;
    let snapshot = get(gateway.admin(), "/snapshot").await.json();
    for (number, (name, ips, said)) in NAMES.iter().enumerate() {
        let gateways = &snapshot["networks"][format!("n{number}")]["gateways"];
        let found: Vec<&str> = gateways
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|gateway| gateway["address"].as_str())
            .collect();
        let wanted = parse(ips.unwrap_or_default());
        let wanted: Vec<String> = wanted
            .iter()
            .map(|ip| SocketAddr::new(*ip, 15443).to_string())
            .collect();
        assert_eq!(found, wanted, "{name}");
        let warned = |line: &&str| line.contains(&format!("\"{name}\""));
        let log = gateway.log();
        let lines: Vec<&str> = log.lines().filter(warned).collect();
        match said.is_empty() {
            true => assert!(lines.is_empty(), "{name}: {lines:?}"),
            false => assert!(lines[0].contains(said), "{name}: {lines:?}"),
        }
    }
    let source = get(gateway.admin(), "/source").await.json();
    let unresolved = source["unresolved"].as_array().expect("names");
    assert_eq!(unresolved.len(), 3, "{source}");

    // Each as it stands, by both types, and nothing else.
    let asked: BTreeSet<(String, u16)> = name_server.asked().into_iter().collect();
    let wanted = NAMES
        .iter()
        .flat_map(|(name, ..)| [A, AAAA].map(|kind| ((*name).to_owned(), kind)));
    assert_eq!(asked, wanted.collect());
}
