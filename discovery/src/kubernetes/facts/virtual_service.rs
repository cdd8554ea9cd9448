//! Istio's VirtualService -> its TLS routes, the only ones that a passthrough gateway can follow.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::read::{Fault, Field};
use super::{ExportTo, Key, rule};

/// What is kept of a VirtualService.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualServiceFact {
    /// Which one.
    pub key: Key,
    /// Seconds since 1970 when it was made: of two for one name the older wins.
    pub created: i64,
    /// Its hosts, in lower case.
    pub hosts: Vec<Arc<str>>,
    /// Names of Gateways: `name` (of its own namespace) or `namespace/name`.
    pub gateways: Vec<Arc<str>>,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Its routes, in order.
    pub routes: Vec<TlsRoute>,
}

/// One route: any of its matches leads to its targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsRoute {
    /// What leads here.
    pub matches: Vec<TlsMatch>,
    /// Where to.
    pub to: Vec<RouteTarget>,
}

/// One match of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsMatch {
    /// Server names: exact, `*.suffix` or `*`; in lower case.
    pub names: Vec<Arc<str>>,
    /// The gateway's port; `None`: any.
    pub port: Option<u16>,
    /// Gateways it is for; none: those of the VirtualService.
    pub gateways: Vec<Arc<str>>,
}

/// One target of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTarget {
    /// A host, or a short name of its own namespace; in lower case.
    pub host: Arc<str>,
    /// The service port; `None`: the only one.
    pub port: Option<u16>,
    /// Empty: all endpoints.
    pub subset: Arc<str>,
    /// Its share.
    pub weight: u32,
}

pub(super) fn read(
    key: Key,
    metadata: &ObjectMeta,
    spec: &Field,
) -> Result<VirtualServiceFact, Fault> {
    let mut routes = Vec::new();
    for route in spec.get("tls").items()? {
        let matches = route.get("match").items()?;
        let to = route.get("route").items()?;
        let mut to = to.iter().map(target).collect::<Result<Vec<_>, _>>()?;
        // A single target needs no weight.
        if let [only] = to.as_mut_slice() {
            only.weight = only.weight.max(1);
        }
        routes.push(TlsRoute {
            matches: matches.iter().map(tls_match).collect::<Result<_, _>>()?,
            to,
        });
    }
    Ok(VirtualServiceFact {
        key,
        created: rule::created(metadata),
        hosts: lower(&spec.get("hosts"))?,
        gateways: spec.get("gateways").texts()?,
        export_to: spec.get("exportTo").export_to()?,
        routes,
    })
}

fn tls_match(field: &Field) -> Result<TlsMatch, Fault> {
    Ok(TlsMatch {
        names: lower(&field.get("sniHosts"))?,
        port: field.get("port").port()?,
        gateways: field.get("gateways").texts()?,
    })
}

fn target(field: &Field) -> Result<RouteTarget, Fault> {
    let destination = field.get("destination");
    let host = destination.get("host");
    let Some(name) = host.text()?.filter(|name| !name.is_empty()) else {
        return host.fault("a destination has a host");
    };
    Ok(RouteTarget {
        host: name.to_ascii_lowercase().into(),
        port: destination.get("port").get("number").port()?,
        subset: destination.get("subset").shared()?,
        weight: field.get("weight").number()?.unwrap_or(0),
    })
}

fn lower(field: &Field) -> Result<Vec<Arc<str>>, Fault> {
    let texts = field.texts()?;
    Ok(texts
        .iter()
        .map(|text| text.to_ascii_lowercase().into())
        .collect())
}
