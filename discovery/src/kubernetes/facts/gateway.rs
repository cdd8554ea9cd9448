//! Istio's Gateway -> what is kept of it: which workloads it is for, and what its servers let pass.

use std::sync::Arc;

use model::Labels;
use serde::{Deserialize, Serialize};

use super::Key;
use super::read::{Fault, Field};

/// What is kept of a Gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatewayFact {
    /// Which one.
    pub key: Key,
    /// Labels that a gateway's Pod must bear; none: every gateway is meant.
    pub selector: Labels,
    /// The servers that let TLS pass; those that end it are not ours.
    pub servers: Vec<Server>,
}

/// One server of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// How TLS passes.
    pub mode: ServerMode,
    /// The port of the gateway's Service.
    pub port: u16,
    /// Hosts as they are written: `host` or `namespace/host`, in lower case.
    pub hosts: Vec<Arc<str>>,
}

/// How TLS passes through a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMode {
    /// `AUTO_PASSTHROUGH`: by mesh names.
    Auto,
    /// `PASSTHROUGH`: by the plain names of VirtualServices.
    Plain,
}

pub(super) fn read(key: Key, spec: &Field) -> Result<GatewayFact, Fault> {
    let mut servers = Vec::new();
    for server in spec.get("servers").items()? {
        let mode = match server.get("tls").get("mode").text()? {
            Some("AUTO_PASSTHROUGH") => ServerMode::Auto,
            Some("PASSTHROUGH") => ServerMode::Plain,
            _ => continue,
        };
        let port = server.get("port").get("number");
        let Some(number) = port.port()? else {
            return port.fault("a server has a port");
        };
        let hosts = server.get("hosts").texts()?;
        servers.push(Server {
            mode,
            port: number,
            hosts: hosts
                .iter()
                .map(|host| host.to_ascii_lowercase().into())
                .collect(),
        });
    }
    Ok(GatewayFact {
        key,
        selector: spec.get("selector").labels()?,
        servers,
    })
}
