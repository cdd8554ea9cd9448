//! The release of the learnk8s demo (`learnk8s/multi-cluster`, `modules/karmada-worker/main.tf`), value by value as its
//! Terraform gives them: nothing but the chart's name changes.

use serde_json::json;

use super::{gateway_yaml, helm, one, release};

/// `helm_release "eastwest_gateway"`, for network1.
pub(super) const ARGUMENTS: &[&str] = &[
    "--set",
    "labels.istio=eastwestgateway",
    "--set",
    "labels.app=istio-eastwestgateway",
    "--set",
    r"labels.topology\.istio\.io/network=network1",
    "--set",
    "networkGateway=network1",
    "--set",
    "service.ports[0].name=status-port",
    "--set",
    "service.ports[0].port=15021",
    "--set",
    "service.ports[0].targetPort=15021",
    "--set",
    "service.ports[1].name=tls",
    "--set",
    "service.ports[1].port=15443",
    "--set",
    "service.ports[1].targetPort=15443",
    "--set",
    "service.ports[2].name=tls-istiod",
    "--set",
    "service.ports[2].port=15012",
    "--set",
    "service.ports[2].targetPort=15012",
    "--set",
    "service.ports[3].name=tls-webhook",
    "--set",
    "service.ports[3].port=15017",
    "--set",
    "service.ports[3].targetPort=15017",
];

#[test]
fn its_values_become_the_service_that_istiods_and_scripts_look_for() {
    let Some(helm) =
        helm("learnk8s::its_values_become_the_service_that_istiods_and_scripts_look_for")
    else {
        return;
    };
    let text = helm.text(release(ARGUMENTS)).expect("it renders");
    let objects = helm.objects(release(ARGUMENTS));
    let service = one(&objects, "Service", "eastwest-gateway");
    let labels = &service["metadata"]["labels"];
    assert_eq!(labels["istio"], "eastwestgateway");
    assert_eq!(labels["app"], "istio-eastwestgateway");
    assert_eq!(labels["topology.istio.io/network"], "network1");
    let port = |name: &str, number: u16| json!({"name": name, "port": number, "protocol": "TCP", "targetPort": number});
    let ports = [
        port("status-port", 15021),
        port("tls", 15443),
        port("tls-istiod", 15012),
        port("tls-webhook", 15017),
    ];
    assert_eq!(service["spec"]["ports"], json!(ports));
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    // Istio's template writes the key twice, which strict parsers refuse: once on the Service, once on the Pod.
    assert_eq!(text.matches("topology.istio.io/network: ").count(), 2);
    let workload = one(&objects, "Deployment", "eastwest-gateway");
    let selector = json!({"app": "istio-eastwestgateway", "istio": "eastwestgateway"});
    assert_eq!(workload["spec"]["selector"]["matchLabels"], selector);
    assert_eq!(service["spec"]["selector"], selector);
    let pod = &workload["spec"]["template"]["metadata"];
    assert_eq!(pod["labels"]["istio"], "eastwestgateway");
    assert_eq!(pod["labels"]["topology.istio.io/network"], "network1");
    assert_eq!(pod["labels"]["sidecar.istio.io/inject"], "false");
    assert_eq!(pod["annotations"]["prometheus.io/port"], "15020");
    assert_eq!(
        pod["annotations"]["prometheus.io/path"],
        "/stats/prometheus"
    );
    let config = gateway::config::parse("gateway.yaml", &gateway_yaml(&objects));
    assert_eq!(config.expect("a configuration").network, "network1");
    let notes = helm.notes(release(ARGUMENTS));
    assert!(!notes.contains("Please look at"), "{notes}");
}
