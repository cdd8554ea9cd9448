//! Which of Istio's kinds a server has, and in which version. It must not read any of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::api::{Api, Fault};
use super::facts::Kind;

/// The group of all of them.
pub const GROUP: &str = "networking.istio.io";

/// Versions, the best first; the fields that are read are the same in all.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];

/// The paths of the lists of those kinds that the server has.
pub type Found = BTreeMap<Kind, String>;

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
}

/// Asks the server. A group that is not there is an answer too: it has none of them.
///
/// # Errors
/// When there is no answer.
pub async fn find(api: &Api) -> Result<Found, Fault> {
    let group: Group = match api.get(&format!("/apis/{GROUP}")).await {
        Err(Fault::NotFound(_)) => return Ok(Found::new()),
        group => group?,
    };
    let mut found = Found::new();
    for version in VERSIONS {
        if !group.versions.iter().any(|known| known.version == version) {
            continue;
        }
        let path = format!("/apis/{GROUP}/{version}");
        let resources: Resources = match api.get(&path).await {
            // Gone between the two questions.
            Err(Fault::NotFound(_)) => continue,
            resources => resources?,
        };
        for kind in Kind::ISTIO {
            if resources
                .resources
                .iter()
                .any(|one| one.name == plural(kind))
            {
                found
                    .entry(kind)
                    .or_insert_with(|| format!("{path}/{}", plural(kind)));
            }
        }
    }
    Ok(found)
}

/// The name of a kind's lists.
fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Gateway => "gateways",
        Kind::DestinationRule => "destinationrules",
        Kind::ServiceEntry => "serviceentries",
        Kind::VirtualService => "virtualservices",
        Kind::Service | Kind::Slice | Kind::Pod | Kind::Node | Kind::Namespace => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::testing::{Fake, Reply};

    fn group(versions: &[&str]) -> Reply {
        let versions: Vec<Value> = versions
            .iter()
            .map(|name| json!({"version": name}))
            .collect();
        Reply::Status(200, json!({"versions": versions}))
    }

    fn resources(names: &[&str]) -> Reply {
        let names: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        Reply::Status(200, json!({"resources": names}))
    }

    #[tokio::test]
    async fn each_kind_is_taken_in_the_best_version_that_has_it() {
        let fake = Fake::default();
        fake.script(
            "/v1alpha3",
            resources(&["gateways", "gateways/status", "serviceentries"]),
        );
        fake.script("/v1beta1", resources(&["gateways", "destinationrules"]));
        fake.script(
            "/apis/networking.istio.io",
            group(&["v2", "v1alpha3", "v1beta1"]),
        );
        let found = find(&fake.api()).await.expect("an answer");
        let paths: Vec<_> = found.values().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "/apis/networking.istio.io/v1beta1/gateways",
                "/apis/networking.istio.io/v1beta1/destinationrules",
                "/apis/networking.istio.io/v1alpha3/serviceentries",
            ]
        );
    }

    #[tokio::test]
    async fn no_group_is_an_answer_and_a_failure_is_none() {
        let fake = Fake::default();
        assert_eq!(find(&fake.api()).await, Ok(Found::new()));
        fake.script("/apis/", Reply::Status(500, json!({})));
        assert!(find(&fake.api()).await.is_err());
        fake.script("/v1", Reply::Status(500, json!({})));
        fake.script("/apis/", group(&["v1"]));
        assert!(find(&fake.api()).await.is_err(), "half an answer is none");
    }
}
