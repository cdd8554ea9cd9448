//! Istio's DestinationRule -> what is kept of it. Which rule holds for a service is `meaning`'s business.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::Labels;
use serde::{Deserialize, Serialize};

use super::read::{Fault, Field};
use super::{ExportTo, Key, TrafficPolicy, traffic};

/// What is kept of a DestinationRule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationRuleFact {
    /// Which one.
    pub key: Key,
    /// Seconds since 1970 when it was made: of two for one host the older counts first.
    pub created: i64,
    /// A name, a short name of its own namespace, or `*.suffix`; in lower case.
    pub host: Arc<str>,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Labels of the workloads it is for; `None`: all.
    pub workloads: Option<Labels>,
    /// For all endpoints.
    pub policy: Option<Arc<TrafficPolicy>>,
    /// Named selections of endpoints.
    pub subsets: Vec<SubsetFact>,
}

/// A subset of a DestinationRule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubsetFact {
    /// What stands in the server name.
    pub name: Arc<str>,
    /// Labels that its endpoints bear.
    pub labels: Labels,
    /// Its own settings.
    pub policy: Option<Arc<TrafficPolicy>>,
}

pub(super) fn read(
    key: Key,
    metadata: &ObjectMeta,
    spec: &Field,
) -> Result<DestinationRuleFact, Fault> {
    let host = spec.get("host");
    let Some(name) = host.text()?.filter(|name| !name.is_empty()) else {
        return host.fault("a rule has a host");
    };
    let selector = spec.get("workloadSelector");
    let workloads = match selector.is_given() {
        true => Some(selector.get("matchLabels").labels()?),
        false => None,
    };
    let mut subsets = Vec::new();
    for subset in spec.get("subsets").items()? {
        let name = subset.get("name");
        let Some(text) = name.text()?.filter(|name| !name.is_empty()) else {
            return name.fault("a subset has a name");
        };
        subsets.push(SubsetFact {
            name: text.into(),
            labels: subset.get("labels").labels()?,
            policy: policy(&subset)?,
        });
    }
    Ok(DestinationRuleFact {
        key,
        created: created(metadata),
        host: name.to_ascii_lowercase().into(),
        export_to: spec.get("exportTo").export_to()?,
        workloads,
        policy: policy(spec)?,
        subsets,
    })
}

/// Seconds since 1970; what has no time is the oldest.
pub(super) fn created(metadata: &ObjectMeta) -> i64 {
    let time = metadata.creation_timestamp.as_ref();
    time.map_or(0, |time| time.0.as_second())
}

fn policy(of: &Field) -> Result<Option<Arc<TrafficPolicy>>, Fault> {
    let policy = of.get("trafficPolicy");
    let read = policy
        .is_given()
        .then(|| traffic::read(&policy))
        .transpose()?;
    Ok(read.map(Arc::new))
}
