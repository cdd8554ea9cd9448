//! Envoy as it is measured: `tls_inspector`, one filter chain and one cluster for each route, one worker, its defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::causeway::workspace;
use super::{HELLO_SECONDS, Route, Setup, said};

pub(super) fn find() -> Result<(PathBuf, String)> {
    let peers = workspace().join("target/peers");
    let folders = std::fs::read_dir(&peers).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = folders
        .map(|folder| folder.path().join("envoy"))
        .filter(|binary| binary.is_file())
        .collect();
    found.sort();
    let binary = found.pop().with_context(|| {
        format!(
            "envoy is not in {}: `make peers` installs it",
            peers.display()
        )
    })?;
    // "... version: 9e55809.../1.40.0/Clean/RELEASE/BoringSSL"
    let version = said(&binary, "--version")?;
    let number = version
        .split('/')
        .rev()
        .nth(3)
        .unwrap_or("of unknown version");
    Ok((binary, format!("envoy {number}")))
}

pub(super) fn setup(folder: &Path, address: SocketAddr, routes: &[Route]) -> Setup {
    let indexed = || routes.iter().enumerate();
    let chains: Vec<Value> = indexed()
        .map(|(index, route)| chain(index, route))
        .collect();
    let clusters: Vec<Value> = indexed()
        .map(|(index, route)| cluster(index, route))
        .collect();
    let bootstrap = json!({
        "static_resources": {
            "listeners": [{
                "name": "in",
                "address": socket(address),
                "listener_filters": [{
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
                }],
                "listener_filters_timeout": format!("{HELLO_SECONDS}s"),
                "filter_chains": chains,
            }],
            "clusters": clusters,
        },
    });
    Setup {
        files: vec![("envoy.json", bootstrap.to_string())],
        arguments: vec![
            "-c".into(),
            folder.join("envoy.json").into(),
            "--concurrency".into(),
            "1".into(),
            "--disable-hot-restart".into(),
            "-l".into(),
            "error".into(),
        ],
    }
}

fn chain(index: usize, route: &Route) -> Value {
    let name = format!("route{index}");
    json!({
        "name": name,
        "filter_chain_match": {"server_names": [route.sni()]},
        "filters": [{
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": name,
                "cluster": name,
            },
        }],
    })
}

fn cluster(index: usize, route: &Route) -> Value {
    let name = format!("route{index}");
    let endpoints: Vec<Value> = route
        .endpoints
        .iter()
        .map(|endpoint| json!({"endpoint": {"address": socket(*endpoint)}}))
        .collect();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        // Its default limit of 1,024 connections to a cluster would refuse the others.
        "circuit_breakers": {"thresholds": [{"max_connections": 100_000, "max_pending_requests": 100_000}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
