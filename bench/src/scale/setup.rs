//! What a gateway in the first of the synthetic clusters is told. It must not start one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use discovery::kubernetes::meaning::{Me, Rules};
use discovery::kubernetes::settings::{Given, Settings};
use model::Viewpoint;
use proxy::config::{Config, Listener, Probes, Role};
use proxy::table::{Route, Tables};

use super::objects::{self, PORT};
use super::shape::Shape;

const NAMESPACE: &str = "istio-system";

/// Where connections come from.
pub(super) const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The data path: both views of every service.
pub(super) fn config(shape: &Shape) -> Config {
    let anywhere = SocketAddr::new(SOURCE, 0);
    Config {
        listeners: [Role::Inbound, Role::Outbound]
            .map(|role| Listener::new(anywhere, role))
            .into(),
        viewpoint: Viewpoint {
            cluster: objects::cluster(0).as_str().into(),
            network: objects::network(shape, 0).as_str().into(),
            locality: locality(),
            ..Viewpoint::default()
        },
        // The gateways of synthetic networks are nowhere.
        probes: Probes {
            active: false,
            ..Probes::default()
        },
        ..Config::default()
    }
}

/// Who the gateway is, to `meaning`.
pub(super) fn me(shape: &Shape) -> Me {
    Me {
        cluster: objects::cluster(0).as_str().into(),
        network: objects::network(shape, 0).as_str().into(),
        labels: [("istio".into(), "eastwestgateway".into())].into(),
        namespace: NAMESPACE.into(),
        node: "node-0".into(),
    }
}

pub(super) fn rules(shape: &Shape) -> Rules {
    let others = (1..shape.clusters).filter(|_| shape.flat);
    Rules {
        same_network: others
            .map(|number| objects::cluster(number).as_str().into())
            .collect(),
        ..Rules::default()
    }
}

/// The same for discovery as a whole.
pub(super) fn settings(shape: &Shape) -> Settings {
    Settings {
        me: Given {
            cluster: objects::cluster(0),
            network: objects::network(shape, 0),
            locality: locality().to_string(),
            namespace: NAMESPACE.into(),
            labels: [("istio".into(), "eastwestgateway".into())].into(),
            workload: "gateway".into(),
        },
        rules: rules(shape),
        ..Settings::default()
    }
}

/// The outbound route of a service.
///
/// # Errors
/// When there is none.
pub(super) fn route(tables: &Tables, shape: &Shape, service: usize) -> Result<Arc<Route>> {
    let name = format!("outbound_.{PORT}_._.{}", objects::host(shape, service));
    let table = tables.load();
    let found = table.find(Role::Outbound, 0, &name);
    found
        .cloned()
        .map_err(|why| anyhow!("no route {name}: {why:?}"))
}

fn locality() -> model::Locality {
    let region = objects::region(0);
    format!("{region}/{region}a").as_str().into()
}
