//! The chart on a real API server: what it renders is taken, with strict validation and by Helm, and takes the place of
//! Istio's.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use discovery::kubernetes::api::Fault;
use http::Method;
use serde_json::{Value, json};
use tests::{CannotBuild, ControlPlane, Helm, build, in_namespace, pod, say, until_async};

use super::matrix::{ROWS, release};

const MONITORING: &str = include_str!("../../fixtures/chart/monitoring.yaml");

/// Helm and the API server, in a namespace of the test's own; or nothing after saying why it is skipped.
pub(super) fn ready(test: &str) -> Option<(Helm, PathBuf)> {
    let test = format!("chart::{test}");
    let built = Helm::build().and_then(|helm| Ok((helm, build()?)));
    match built {
        Ok(both) => in_namespace(&test).then_some(both),
        Err(CannotBuild(why)) => {
            say(&format!("== SKIPPED {test}: {why}"));
            None
        }
    }
}

async fn plane(binary: &Path) -> ControlPlane {
    let plane = ControlPlane::start(binary, Ipv4Addr::new(10, 9, 0, 1).into()).await;
    for namespace in ["istio-system", "causeway", "fleet"] {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        });
        plane.apply(&object.to_string()).await;
    }
    plane.apply(MONITORING).await;
    plane
}

/// Helm with the administrator's kubeconfig, on the release `eastwest-gateway` in istio-system.
pub(super) fn helm_on(
    helm: &Helm,
    plane: &ControlPlane,
    command: &[&str],
    more: &[&str],
) -> String {
    let kubeconfig = plane.kubeconfig();
    let mut arguments = command.to_vec();
    arguments.extend(["--kubeconfig", kubeconfig.to_str().expect("UTF-8")]);
    arguments.extend(["--namespace", "istio-system"]);
    arguments.extend(more);
    let said = helm.run(&arguments);
    said.unwrap_or_else(|why| panic!("helm {command:?} {more:?}: {why}"))
}

pub(super) async fn object(plane: &ControlPlane, path: &str) -> Value {
    let answer = plane.get(path).await;
    answer.unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_taken_with_strict_validation_and_its_pods_are_restricted_ones() {
    let Some((helm, binary)) = ready(
        "cluster::every_row_is_taken_with_strict_validation_and_its_pods_are_restricted_ones",
    ) else {
        return;
    };
    let plane = plane(&binary).await;
    for row in ROWS {
        let text = helm.text(release(row)).expect("it renders");
        plane.apply(&text).await;
        let made = pod(&helm.objects(release(row)), row.0, "node-1");
        // Rows have selectors of their own, which cannot change.
        plane.delete(&text).await;
        // Its user asks for more than that.
        if row.0 == "everything" {
            continue;
        }
        let namespace = row.1;
        let path = format!("/api/v1/namespaces/{namespace}/pods?fieldValidation=Strict");
        let body = made.to_string().into_bytes();
        let created: Result<Value, Fault> = plane
            .api()
            .change(Method::POST, &path, "application/json", body)
            .await;
        match created {
            // The standard knows no host ports.
            Err(Fault::Forbidden(why)) if row.0 == "host-ports" => {
                assert!(why.contains("hostPort"), "{why}");
            }
            created => {
                assert_ne!(row.0, "host-ports", "the standard is enforced");
                created.unwrap_or_else(|fault| panic!("a Pod of {}: {fault}", row.0));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_installs_upgrades_rolls_back_and_leaves_nothing() {
    let Some((helm, binary)) =
        ready("cluster::helm_installs_upgrades_rolls_back_and_leaves_nothing")
    else {
        return;
    };
    let plane = plane(&binary).await;
    let chart = helm.chart().to_str().expect("UTF-8").to_owned();
    // The one thing of a release that cannot change.
    let labels = "labels.istio=eastwestgateway,labels.app=istio-eastwestgateway";
    let steps = ROWS.iter().filter(|row| row.1 == "istio-system");
    let steps = steps.map(|row| row.2.to_vec());
    let monitored = "networkGateway=network1,kind=DaemonSet,serviceMonitor.enabled=true,\
        dashboards.enabled=true,prometheusRule.enabled=true";
    for (at, mut more) in steps.chain([vec!["--set", monitored]]).enumerate() {
        more.extend(["--set", labels]);
        let command = if at == 0 { "install" } else { "upgrade" };
        let said = helm_on(&helm, &plane, &[command, "eastwest-gateway", &chart], &more);
        assert!(said.contains("the gateway of network1"), "{said}");
    }
    let workloads = "/apis/apps/v1/namespaces/istio-system";
    object(&plane, &format!("{workloads}/daemonsets/eastwest-gateway")).await;
    helm_on(&helm, &plane, &["rollback", "eastwest-gateway", "1"], &[]);
    object(&plane, &format!("{workloads}/deployments/eastwest-gateway")).await;
    helm_on(&helm, &plane, &["uninstall", "eastwest-gateway"], &[]);
    for kind in [
        "/api/v1/services",
        "/api/v1/configmaps",
        "/api/v1/persistentvolumeclaims",
        "/api/v1/serviceaccounts",
        "/apis/apps/v1/deployments",
        "/apis/apps/v1/daemonsets",
        "/apis/autoscaling/v2/horizontalpodautoscalers",
        "/apis/policy/v1/poddisruptionbudgets",
        "/apis/networking.k8s.io/v1/networkpolicies",
        "/apis/rbac.authorization.k8s.io/v1/roles",
        "/apis/rbac.authorization.k8s.io/v1/rolebindings",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/monitoring.coreos.com/v1/servicemonitors",
        "/apis/monitoring.coreos.com/v1/prometheusrules",
    ] {
        let selector = "labelSelector=app.kubernetes.io%2Finstance%3Deastwest-gateway";
        let path = format!("{kind}?{selector}");
        // Kinds that have only just been defined are not listed at once.
        until_async(&format!("{kind} are listed"), async || {
            let left: Result<Value, Fault> = plane.api().get(&path).await;
            match left {
                Err(Fault::Busy { .. }) => false,
                left => {
                    assert_eq!(left.expect("a list")["items"], json!([]), "{kind}");
                    true
                }
            }
        })
        .await;
    }
}

/// What Istio's chart makes of the values of learnk8s, written down.
pub(super) const OLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chart/istio-gateway");

/// As with Terraform, where the chart of a release is another one from now on; and back again.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_istios_chart_is_upgraded_in_its_place() {
    let test = "cluster::a_release_of_istios_chart_is_upgraded_in_its_place";
    if let Some((helm, binary)) = ready(test) {
        upgraded_in_its_place(&helm, &binary, OLD).await;
    }
}

/// The same with the very chart, where Go has Istio's sources since `make test-istio`.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_istios_very_chart_is_upgraded_in_its_place() {
    let test = "cluster::a_release_of_istios_very_chart_is_upgraded_in_its_place";
    let Some((helm, binary)) = ready(test) else {
        return;
    };
    match istios_chart() {
        Some(chart) => upgraded_in_its_place(&helm, &binary, &chart).await,
        None => say(&format!(
            "== SKIPPED chart::{test}: no sources of Istio here"
        )),
    }
}

/// The chart in the sources of Istio that `tests/istiod` is built from, if they were downloaded.
fn istios_chart() -> Option<String> {
    let listed = Command::new("go")
        .args([
            "list",
            "-mod=readonly",
            "-m",
            "-f",
            "{{.Dir}}",
            "istio.io/istio",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/istiod"))
        .env("GOPROXY", "off")
        .output();
    let listed = String::from_utf8(listed.ok()?.stdout).ok()?;
    let chart = Path::new(listed.trim()).join("manifests/charts/gateway");
    let is_there = chart.is_absolute() && chart.is_dir();
    is_there.then(|| chart.to_str().expect("UTF-8").to_owned())
}

async fn upgraded_in_its_place(helm: &Helm, binary: &Path, old: &str) {
    let plane = plane(binary).await;
    let values = super::learnk8s::ARGUMENTS;
    helm_on(helm, &plane, &["install", "eastwest-gateway", old], values);
    let service = "/api/v1/namespaces/istio-system/services/eastwest-gateway";
    // What a cloud gives it.
    plane
        .apply(
            &json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "eastwest-gateway", "namespace": "istio-system"},
                "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}},
            })
            .to_string(),
        )
        .await;
    let before = object(&plane, service).await;
    let chart = helm.chart().to_str().expect("UTF-8").to_owned();
    helm_on(
        helm,
        &plane,
        &["upgrade", "eastwest-gateway", &chart],
        &["--reset-then-reuse-values"],
    );
    stays(&before, &object(&plane, service).await);
    let path = "/apis/apps/v1/namespaces/istio-system/deployments/eastwest-gateway";
    let workload = object(&plane, path).await;
    let template = &workload["spec"]["template"];
    assert_eq!(containers(template), ["causeway"]);
    assert!(
        template["spec"]["securityContext"]["sysctls"].is_null(),
        "{template}"
    );
    assert_eq!(
        template["metadata"]["labels"]["sidecar.istio.io/inject"],
        "false"
    );
    let annotations = template["metadata"]["annotations"].as_object();
    let injects = annotations
        .into_iter()
        .flatten()
        .any(|(key, _)| key.contains("inject"));
    assert!(!injects, "{template}");
    let role = "/apis/rbac.authorization.k8s.io/v1/namespaces/istio-system/roles/eastwest-gateway";
    let role = plane.get(role).await;
    assert!(matches!(role, Err(Fault::NotFound(_))), "{role:?}");

    helm_on(helm, &plane, &["rollback", "eastwest-gateway"], &[]);
    stays(&before, &object(&plane, service).await);
    let again = object(&plane, path).await;
    assert_eq!(again["spec"]["selector"], workload["spec"]["selector"]);
    let template = &again["spec"]["template"];
    assert_eq!(containers(template), ["istio-proxy"], "{template}");
    let volumes = template["spec"]["volumes"].as_array();
    assert!(volumes.is_none_or(Vec::is_empty), "{template}");
    let ours = "/api/v1/namespaces/istio-system/configmaps/eastwest-gateway-config";
    let ours = plane.get(ours).await;
    assert!(matches!(ours, Err(Fault::NotFound(_))), "{ours:?}");
}

/// The Service is the very same object, and has the same address.
fn stays(before: &Value, after: &Value) {
    for pointer in [
        "/metadata/uid",
        "/metadata/labels/topology.istio.io~1network",
        "/spec/clusterIP",
        "/spec/ports",
        "/spec/selector",
        "/status",
    ] {
        assert!(before.pointer(pointer).is_some(), "{pointer}");
        assert_eq!(before.pointer(pointer), after.pointer(pointer), "{pointer}");
    }
}

/// The names of a Pod's containers.
fn containers(template: &Value) -> Vec<&str> {
    let containers = template["spec"]["containers"].as_array();
    let containers = containers.into_iter().flatten();
    containers.filter_map(|one| one["name"].as_str()).collect()
}
