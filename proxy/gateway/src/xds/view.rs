//! The xDS server's streams, as JSON. It must not change any.

use ::xds::resource::assignment::LeftOut;
use ::xds::resource::{Flavour, version_text};
use ::xds::server::session::Mode;
use ::xds::server::{KindView, Server, StreamView};
use serde_json::{Map, Value, json};

/// Everything, for `/xds`.
pub(crate) fn streams(server: Option<&Server>) -> Value {
    let Some(server) = server else {
        return json!({"server": null, "why": "xds.address is not configured"});
    };
    let registry = server.registry();
    let streams: Vec<Value> = registry.streams().iter().map(stream).collect();
    json!({"server": {
        "address": server.address(),
        "tlsFault": registry.tls_fault(),
        "refusedConnections": registry.counts().refused_connections,
        "streams": streams,
    }})
}

/// A few figures, for `/status`.
pub(crate) fn glance(server: &Server) -> Value {
    let streams = server.registry().streams();
    let refusing = streams.iter().filter(|stream| {
        let refused = |kind: &KindView| {
            kind.standing.nack.is_some() && kind.standing.accepted != kind.standing.sent
        };
        stream.kinds.iter().any(refused)
    });
    json!({
        "address": server.address(),
        "streams": streams.len(),
        "behind": streams.iter().filter(|stream| !stream.lag.is_zero()).count(),
        "refusing": refusing.count(),
        "tlsFault": server.registry().tls_fault(),
    })
}

fn stream(stream: &StreamView) -> Value {
    let client = &stream.client;
    let kinds: Map<String, Value> = stream
        .kinds
        .iter()
        .map(|kind| (kind.kind.as_str().to_owned(), standing(kind)))
        .collect();
    json!({
        "node": client.id,
        "agent": client.agent,
        "peer": stream.peer,
        "mode": mode(stream.mode),
        "kind": match client.view.flavour {
            Flavour::Envoy => "envoy",
            Flavour::Grpc => "grpc",
        },
        "cluster": client.view.cluster,
        "network": client.view.network,
        "locality": client.view.locality.to_string(),
        "ageSeconds": stream.age.as_secs(),
        "lagMs": u64::try_from(stream.lag.as_millis()).unwrap_or(u64::MAX),
        "leftOut": left_out(stream.left_out),
        "types": kinds,
    })
}

/// The name of a protocol, as metrics and answers have it.
pub(super) const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Sotw => "sotw",
        Mode::Delta => "delta",
    }
}

fn standing(kind: &KindView) -> Value {
    let standing = &kind.standing;
    json!({
        "wildcard": standing.wildcard,
        "resources": standing.resources,
        "sent": version_text(standing.sent),
        "accepted": version_text(standing.accepted),
        "waiting": standing.waiting,
        "lastNack": standing.nack.as_deref(),
    })
}

/// Endpoints that the client is not told of, by reason.
fn left_out(of: LeftOut) -> Value {
    json!({
        "noGateway": of.no_gateway,
        "notMesh": of.not_mesh,
        "forbidden": of.forbidden,
        "behindGateway": of.behind_gateway,
    })
}
