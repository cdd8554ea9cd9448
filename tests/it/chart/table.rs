//! What is known is the same everywhere: in `values.yaml`, in `known.yaml`, in the table that people read, and in the gateway;
//! and all that istio/gateway takes is among it.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{gateway_yaml, helm, one, release};

const README: &str = include_str!("../../../deploy/README.md");
const KNOWN: &str = include_str!("../../../deploy/helm/causeway/known.yaml");
const VALUES: &str = include_str!("../../../deploy/helm/causeway/values.yaml");
const SCHEMA: &str = include_str!("../../../deploy/helm/causeway/values.schema.json");

/// The values of istio/gateway, of 1.17.1 and of today's releases.
const ISTIOS: &str = "name revision replicaCount kind rbac.enabled serviceAccount.create serviceAccount.annotations \
    serviceAccount.name podAnnotations securityContext containerSecurityContext service.type service.ports \
    service.clusterIP service.selectorLabels service.annotations service.loadBalancerIP service.loadBalancerSourceRanges \
    service.externalTrafficPolicy service.internalTrafficPolicy service.healthCheckNodePort service.externalIPs \
    service.ipFamilyPolicy service.ipFamilies service.allocateLoadBalancerNodePorts service.loadBalancerClass resources \
    autoscaling.enabled autoscaling.minReplicas autoscaling.maxReplicas autoscaling.targetCPUUtilizationPercentage \
    autoscaling.targetMemoryUtilizationPercentage autoscaling.autoscaleBehavior env envVarFrom strategy minReadySeconds \
    readinessProbe labels annotations nodeSelector tolerations topologySpreadConstraints affinity \
    networkGateway networkGatewayPorts imagePullPolicy imagePullSecrets priorityClassName lifecycle \
    podDisruptionBudget.minAvailable podDisruptionBudget.maxUnavailable podDisruptionBudget.unhealthyPodEvictionPolicy \
    dnsPolicy dnsConfig volumes volumeMounts initContainers additionalContainers terminationGracePeriodSeconds global \
    enabled defaultRevision compatibilityVersion profile platform pilot runAsRoot unprivilegedPort \
    _internal_defaults_do_not_set";

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one.as_str().expect("a text"))
}

/// What stands in backticks in the first column of the tables.
fn documented() -> BTreeSet<String> {
    let rows = README.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// What is known, as the table has it: a section that stands there whole is one, another each of its keys.
fn known(documented: &BTreeSet<String>) -> BTreeSet<String> {
    let known = yaml(KNOWN);
    let sections = &known["sections"];
    let mut all: BTreeSet<String> = texts(&known["accepted"]).map(str::to_owned).collect();
    for key in texts(&known["top"]) {
        if sections[key].is_null() || documented.contains(key) {
            all.insert(key.to_owned());
        } else {
            all.extend(texts(&sections[key]).map(|below| format!("{key}.{below}")));
        }
    }
    all
}

#[test]
fn what_is_known_stands_in_the_table_and_nothing_else() {
    let documented = documented();
    assert_eq!(known(&documented), documented);
}

#[test]
fn all_that_istios_chart_takes_is_known() {
    let documented = documented();
    let missing: Vec<&str> = ISTIOS
        .split_whitespace()
        .filter(|value| !documented.contains(*value))
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn values_and_schema_have_what_is_known() {
    let (values, known) = (yaml(VALUES), yaml(KNOWN));
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let top: BTreeSet<&str> = texts(&known["top"]).collect();
    let typed = &schema["properties"];
    assert_eq!(keys(typed), top, "the schema");
    // Istio's, which ours has no use for.
    let unused = ["platform", "global", "_internal_defaults_do_not_set"];
    let used: BTreeSet<&str> = top
        .iter()
        .copied()
        .filter(|key| !unused.contains(key))
        .collect();
    assert_eq!(keys(&values), used, "the values");
    let gateway = known["gateway"].as_object().expect("a map");
    let sections = known["sections"].as_object().expect("a map");
    for (section, below) in gateway.iter().chain(sections) {
        let below: BTreeSet<&str> = texts(below).collect();
        assert_eq!(keys(&typed[section]["properties"]), below, "{section}");
        assert!(keys(&values[section]).is_subset(&below), "{section}");
    }
}

/// Helm takes a default away where a user writes null.
#[test]
fn any_value_may_be_taken_away() {
    let Some(helm) = helm("table::any_value_may_be_taken_away") else {
        return;
    };
    let values = yaml(VALUES);
    let top: Vec<String> = keys(&values).into_iter().map(str::to_owned).collect();
    let below = values.as_object().expect("a map").iter();
    let below: Vec<String> = below
        .flat_map(|(section, values)| {
            let plain = keys(values).into_iter().filter(|key| !key.contains('.'));
            plain.map(move |key| format!("{section}.{key}"))
        })
        .collect();
    for all in [top, below] {
        let sets: Vec<String> = all.iter().map(|key| format!("{key}=null")).collect();
        let sets = sets.join(",");
        let objects = helm.objects(release(&["--set", &sets]));
        one(&objects, "Service", "eastwest-gateway");
        one(&objects, "Deployment", "eastwest-gateway");
        let config = gateway::config::parse("gateway.yaml", &gateway_yaml(&objects));
        config.unwrap_or_else(|why| panic!("{sets}: {why}"));
    }
}

#[test]
fn the_gateway_takes_what_the_chart_gives_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_causeway-under-test"))
        .args(["config", "schema"])
        .output()
        .expect("it runs");
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let known = yaml(KNOWN);
    for (section, below) in known["gateway"].as_object().expect("a map") {
        let taken = keys(section_of(&schema["gateway"], section));
        let below: BTreeSet<&str> = texts(below).collect();
        assert!(below.is_subset(&taken), "{section}: {below:?}, {taken:?}");
    }
}

fn keys(map: &Value) -> BTreeSet<&str> {
    let map = map.as_object();
    map.into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect()
}

/// The keys of a section of gateway.yaml; nothing where there is no such section.
fn section_of<'a>(schema: &'a Value, section: &str) -> &'a Value {
    let reference = schema["properties"][section]["$ref"].as_str();
    let name = reference.unwrap_or_default().rsplit('/').next();
    &schema["$defs"][name.unwrap_or_default()]["properties"]
}
