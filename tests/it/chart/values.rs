//! Single values and what they must lead to, where a golden file would not say why.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use tests::Release;

use super::{gateway_yaml, helm, one, release};

const README: &str = include_str!("../../../README.md");
const DEPLOY: &str = include_str!("../../../deploy/README.md");
const MIGRATION: &str = include_str!("../../../deploy/MIGRATION.md");
const DOCKERFILE: &str = include_str!("../../../deploy/Dockerfile");

#[test]
fn the_grace_period_holds_the_drain_and_the_drain_fits_a_given_one() {
    let Some(helm) =
        helm("values::the_grace_period_holds_the_drain_and_the_drain_fits_a_given_one")
    else {
        return;
    };
    let ending = Duration::from_secs(5);
    for (values, grace, announce, window) in [
        ("replicaCount=1", 30, "5s", "20s"),
        ("drain.window=5m", 310, "5s", "5m"),
        ("drain.announce=0s,drain.window=1500ms", 7, "0s", "1500ms"),
        ("terminationGracePeriodSeconds=120", 120, "5s", "20s"),
        (
            "terminationGracePeriodSeconds=30,drain.window=1h",
            30,
            "5s",
            "20s",
        ),
        ("terminationGracePeriodSeconds=10", 10, "2500ms", "2500ms"),
        ("terminationGracePeriodSeconds=6", 6, "1500ms", "1500ms"),
        ("terminationGracePeriodSeconds=0", 0, "1ms", "1ms"),
        // Kubernetes counts what preStop takes.
        ("lifecycle.preStop.sleep.seconds=7", 37, "5s", "20s"),
        (
            "lifecycle.preStop.sleep.seconds=10,terminationGracePeriodSeconds=30",
            30,
            "5s",
            "10s",
        ),
        ("config.drain.window=5m", 310, "5s", "5m"),
        (
            "config.drain.window=5m,terminationGracePeriodSeconds=30",
            30,
            "5s",
            "20s",
        ),
    ] {
        let objects = helm.objects(release(&["--set", values]));
        let workload = one(&objects, "Deployment", "eastwest-gateway");
        let given = &workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
        assert_eq!(given, grace, "{values}");
        let config = gateway::config::parse("gateway.yaml", &gateway_yaml(&objects));
        let drain = config.unwrap_or_else(|why| panic!("{values}: {why}")).drain;
        let said = |text: &str| discovery::Span::parse(text).expect("a duration");
        assert_eq!(
            (drain.announce, drain.window),
            (said(announce), said(window)),
            "{values}"
        );
        let hook = &workload["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"];
        let before = Duration::from_secs(hook["sleep"]["seconds"].as_u64().unwrap_or(0));
        let all = before + drain.announce.0 + drain.window.0 + ending;
        assert!(grace < 10 || all <= Duration::from_secs(grace), "{values}");
    }
}

#[test]
fn a_pod_goes_only_after_its_successor_is_ready_unless_ports_of_the_node_forbid_it() {
    let Some(helm) = helm(
        "values::a_pod_goes_only_after_its_successor_is_ready_unless_ports_of_the_node_forbid_it",
    ) else {
        return;
    };
    let own = "strategy.type=RollingUpdate,strategy.rollingUpdate.maxUnavailable=2";
    for (values, kind, field, expected) in [
        (
            "kind=Deployment",
            "Deployment",
            "strategy",
            json!({"maxSurge": 1, "maxUnavailable": 0}),
        ),
        (
            "kind=DaemonSet",
            "DaemonSet",
            "updateStrategy",
            json!({"maxSurge": 1, "maxUnavailable": 0}),
        ),
        (
            "kind=DaemonSet,hostPorts=true",
            "DaemonSet",
            "updateStrategy",
            json!({"maxSurge": 0, "maxUnavailable": 1}),
        ),
        (
            "snapshot.persistentVolumeClaim.enabled=true",
            "Deployment",
            "strategy",
            json!({"maxSurge": 1, "maxUnavailable": 0}),
        ),
        (
            "snapshot.persistentVolumeClaim.enabled=true,snapshot.persistentVolumeClaim.accessModes={ReadWriteOnce}",
            "Deployment",
            "strategy",
            json!({"maxSurge": 0, "maxUnavailable": 1}),
        ),
        (own, "Deployment", "strategy", json!({"maxUnavailable": 2})),
        // Istio's chart writes the wrong field here.
        (
            &format!("{own},kind=DaemonSet"),
            "DaemonSet",
            "updateStrategy",
            json!({"maxUnavailable": 2}),
        ),
    ] {
        let objects = helm.objects(release(&["--set", values]));
        let workload = one(&objects, kind, "eastwest-gateway");
        assert_eq!(
            workload["spec"][field]["rollingUpdate"], expected,
            "{values}"
        );
        let other = if field == "strategy" {
            "updateStrategy"
        } else {
            "strategy"
        };
        assert!(workload["spec"][other].is_null(), "{values}");
        let scaled = objects
            .iter()
            .any(|object| object["kind"] == "HorizontalPodAutoscaler");
        assert_eq!(scaled, kind == "Deployment", "{values}");
    }
}

/// 0 is nobody, and where nothing is said somebody else may say it: an upgrade must not take that back.
#[test]
fn replicas_are_what_is_said_and_nothing_where_nothing_is() {
    let Some(helm) = helm("values::replicas_are_what_is_said_and_nothing_where_nothing_is") else {
        return;
    };
    for (values, expected) in [
        ("autoscaling.enabled=false", Value::Null),
        ("autoscaling.enabled=false,replicaCount=null", Value::Null),
        ("autoscaling.enabled=false,replicaCount=0", json!(0)),
        ("autoscaling.enabled=false,replicaCount=3", json!(3)),
        ("replicaCount=3", Value::Null),
    ] {
        let objects = helm.objects(release(&["--set", values]));
        let workload = one(&objects, "Deployment", "eastwest-gateway");
        assert_eq!(workload["spec"]["replicas"], expected, "{values}");
    }
    let values = "autoscaling.maxReplicas=null";
    let objects = helm.objects(release(&["--set", values]));
    let scaler = one(&objects, "HorizontalPodAutoscaler", "eastwest-gateway");
    assert_eq!(scaler["spec"]["maxReplicas"], 5);
}

/// The gateway is told of the namespaces whose Secrets it may read, and of no others.
#[test]
fn secrets_are_read_where_roles_allow_it() {
    let Some(helm) = helm("values::secrets_are_read_where_roles_allow_it") else {
        return;
    };
    for (values, expected) in [
        ("replicaCount=1", &["causeway", "istio-system"][..]),
        (
            "discovery.secretNamespaces=null",
            &["causeway", "istio-system"],
        ),
        ("discovery.secretNamespaces={fleet}", &["causeway", "fleet"]),
        ("discovery.secretNamespaces={}", &["causeway"]),
    ] {
        let objects = helm.objects(Release {
            namespace: "causeway",
            ..release(&["--set", values])
        });
        assert_eq!(namespaces_of_secrets(&objects), expected, "{values}");
        let config = gateway::config::parse("gateway.yaml", &gateway_yaml(&objects));
        let told = config.expect("a configuration").discovery.secret_namespaces;
        assert!(
            told.iter().all(|one| expected.contains(&one.as_str())),
            "{values}: {told:?}"
        );
    }
}

/// Where a role lets Secrets be read.
fn namespaces_of_secrets(objects: &[Value]) -> Vec<&str> {
    let roles = objects.iter().filter(|object| object["kind"] == "Role");
    let reading = roles.filter(|role| {
        let rules = role["rules"].as_array().expect("rules");
        rules
            .iter()
            .any(|rule| rule["resources"] == json!(["secrets"]))
    });
    let mut found: Vec<&str> = reading
        .filter_map(|role| role["metadata"]["namespace"].as_str())
        .collect();
    found.sort_unstable();
    found
}

/// Names may have dashes where they like.
#[test]
fn releases_of_two_namespaces_share_nothing_of_the_cluster() {
    let Some(helm) = helm("values::releases_of_two_namespaces_share_nothing_of_the_cluster") else {
        return;
    };
    let role = |name, namespace| {
        let objects = helm.objects(Release {
            name,
            namespace,
            arguments: &[],
        });
        let mut roles = objects
            .iter()
            .filter(|object| object["kind"] == "ClusterRole");
        roles.next().expect("a role")["metadata"]["name"].clone()
    };
    assert_ne!(role("a", "b-c"), role("a-b", "c"));
}

#[test]
fn a_budget_stands_where_there_is_more_than_one_pod() {
    let Some(helm) = helm("values::a_budget_stands_where_there_is_more_than_one_pod") else {
        return;
    };
    for (values, expected) in [
        ("replicaCount=3", None),
        (
            "autoscaling.minReplicas=2",
            Some(json!({"maxUnavailable": 1})),
        ),
        (
            "autoscaling.enabled=false,replicaCount=3",
            Some(json!({"maxUnavailable": 1})),
        ),
        ("autoscaling.enabled=false,replicaCount=1", None),
        ("autoscaling.minReplicas=2,kind=DaemonSet", None),
        (
            "autoscaling.minReplicas=3,podDisruptionBudget.minAvailable=50%",
            Some(json!({"minAvailable": "50%"})),
        ),
        (
            "autoscaling.minReplicas=3,podDisruptionBudget.maxUnavailable=0",
            Some(json!({"maxUnavailable": 0})),
        ),
    ] {
        let objects = helm.objects(release(&["--set", values]));
        let budget = objects
            .iter()
            .find(|object| object["kind"] == "PodDisruptionBudget");
        let numbers = budget.map(|budget| {
            let mut spec = budget["spec"].as_object().expect("a spec").clone();
            assert!(
                spec.remove("selector")
                    .is_some_and(|selector| selector["matchLabels"].is_object())
            );
            Value::Object(spec)
        });
        assert_eq!(numbers, expected, "{values}");
    }
}

#[test]
fn istio_does_not_take_it_for_a_gateway_unless_it_may() {
    let Some(helm) = helm("values::istio_does_not_take_it_for_a_gateway_unless_it_may") else {
        return;
    };
    for network in [
        "networkGateway=network1",
        r"labels.topology\.istio\.io/network=network1",
    ] {
        let values = format!(
            "{network},istio.discoverable=false,outbound.enabled=true,serviceMonitor.enabled=true"
        );
        let text = helm.text(release(&["--set", &values])).expect("it renders");
        assert!(
            !text.contains("topology.istio.io/network"),
            "{values}: {text}"
        );
        let objects = helm.objects(release(&["--set", &values]));
        let service = one(&objects, "Service", "eastwest-gateway");
        assert_eq!(
            service["metadata"]["labels"]["causeway.io/network"],
            "network1"
        );
        // The gateway knows it all the same, and no other Service says so.
        let config = gateway::config::parse("gateway.yaml", &gateway_yaml(&objects));
        assert_eq!(config.expect("a configuration").network, "network1");
        assert_eq!(text.matches("causeway.io/network: ").count(), 2, "{text}");
    }
}

#[test]
fn an_entry_that_is_not_15443_says_so() {
    let Some(helm) = helm("values::an_entry_that_is_not_15443_says_so") else {
        return;
    };
    let values = "networkGateway=a,networkGatewayPorts.tls.port=443,networkGatewayPorts.tls.targetPort=443,service.ports[0].port=443,service.ports[0].name=https";
    let objects = helm.objects(release(&["--set", values]));
    let service = one(&objects, "Service", "eastwest-gateway");
    assert_eq!(
        service["metadata"]["labels"]["networking.istio.io/gatewayPort"],
        "443"
    );
    let plain = helm.objects(release(&["--set", "networkGateway=a"]));
    let plain = one(&plain, "Service", "eastwest-gateway");
    assert!(plain["metadata"]["labels"]["networking.istio.io/gatewayPort"].is_null());
    // A port that needs a right the Pod does not have otherwise.
    let workload = one(&objects, "Deployment", "eastwest-gateway");
    let security = &workload["spec"]["template"]["spec"]["securityContext"];
    assert_eq!(
        security["sysctls"][0]["name"],
        "net.ipv4.ip_unprivileged_port_start"
    );
}

#[test]
fn each_dashboard_and_file_of_rules_is_packed_as_it_is() {
    let Some(helm) = helm("values::each_dashboard_and_file_of_rules_is_packed_as_it_is") else {
        return;
    };
    let values = "dashboards.enabled=true,dashboards.namespace=grafana,prometheusRule.enabled=true";
    let objects = helm.objects(release(&["--set", values]));
    let read = |file: &Path| std::fs::read_to_string(file).expect("a text");
    let files = |folder: &str| {
        let entries = std::fs::read_dir(helm.chart().join(folder)).expect("a folder");
        let files: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert!(!files.is_empty(), "{folder}");
        files.into_iter().map(|file| {
            let stem = file.file_stem().and_then(|stem| stem.to_str());
            (stem.expect("a name").to_owned(), file)
        })
    };
    for (stem, file) in files("dashboards") {
        let map = one(
            &objects,
            "ConfigMap",
            &format!("eastwest-gateway-dashboard-{stem}"),
        );
        assert_eq!(map["metadata"]["namespace"], "grafana");
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let packed = map["data"][format!("{stem}.json")].as_str();
        assert_eq!(packed.map(str::trim_end), Some(read(&file).trim_end()));
    }
    for (stem, file) in files("alerts") {
        let rule = one(
            &objects,
            "PrometheusRule",
            &format!("eastwest-gateway-{stem}"),
        );
        let meant: Value = serde_saphyr::from_str(&read(&file)).expect("YAML");
        assert!(meant["groups"].is_array(), "{stem}");
        assert_eq!(rule["spec"], meant, "{stem}");
    }
    let without = helm.objects(release(&[]));
    let packed = without.iter().filter(|object| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        name.contains("dashboard") || object["kind"] == "PrometheusRule"
    });
    assert_eq!(packed.count(), 0);
}

/// What the pages have people build is what the chart asks for, and no command leaves them with an image that is nowhere.
#[test]
fn what_is_built_is_what_is_installed() {
    let mut commands = 0;
    for (page, text) in [
        ("README.md", README),
        ("deploy/README.md", DEPLOY),
        ("deploy/MIGRATION.md", MIGRATION),
        ("deploy/Dockerfile", DOCKERFILE),
    ] {
        let text = text.replace("\\\n", " ");
        for line in text.lines() {
            if let Some((_, tagged)) = line.split_once(" -t ") {
                let image = tagged.split_whitespace().next().unwrap_or_default();
                let version = concat!("causeway:", env!("CARGO_PKG_VERSION"));
                assert!(image.ends_with(version), "{page}: {line}");
                commands += 1;
            }
            let installs = line.contains("deploy/helm/causeway --namespace");
            if installs && !line.contains("--reuse-values") {
                assert!(line.contains("image.repository="), "{page}: {line}");
                commands += 1;
            }
        }
    }
    assert_eq!(commands, 8);
}

#[test]
fn the_chart_is_of_the_same_version_as_the_gateway() {
    let Some(helm) = helm("values::the_chart_is_of_the_same_version_as_the_gateway") else {
        return;
    };
    let chart = helm.run(&["show", "chart", helm.chart().to_str().expect("UTF-8")]);
    let chart: Value = serde_saphyr::from_str(&chart.expect("a chart")).expect("YAML");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// Who reaches the xDS server shows a certificate, unless everybody may; and whoever follows istiod needs nothing of Kubernetes.
#[test]
fn xds_is_served_and_followed_with_what_that_needs() {
    let Some(helm) = helm("values::xds_is_served_and_followed_with_what_that_needs") else {
        return;
    };
    let config = |values: &str| {
        let objects = helm.objects(release(&["--set", values]));
        let config = gateway::config::parse("gateway.yaml", &gateway_yaml(&objects));
        (
            config.unwrap_or_else(|why| panic!("{values}: {why}")),
            objects,
        )
    };
    let (plain, objects) = config("xds.enabled=true,xds.plaintext=true,xds.meshTls.mode=off");
    assert!(plain.xds.plaintext && plain.xds.tls.is_none());
    let mode = plain.xds.mesh_tls.mode;
    assert_eq!(mode, gateway::config::XdsMeshTlsMode::Off);
    let service = one(&objects, "Service", "eastwest-gateway-xds");
    assert_eq!(service["spec"]["type"], "ClusterIP");

    let (secret, objects) = config("xds.enabled=true,xds.tlsSecret=certificates");
    let tls = secret.xds.tls.expect("it wants certificates");
    let pod = &one(&objects, "Deployment", "eastwest-gateway")["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array();
    let mounted = |path: &Path| {
        let folder = path.parent().and_then(Path::to_str).expect("a folder");
        let mut mounts = mounts.expect("mounts").iter();
        let mount = mounts.find(|mount| mount["mountPath"] == folder);
        let name = mount.expect("it is mounted")["name"].clone();
        let mut volumes = pod["volumes"].as_array().expect("volumes").iter();
        let volume = volumes.find(|volume| volume["name"] == name);
        volume.expect("the volume").clone()
    };
    for path in [&tls.certificate, &tls.key, &tls.client_ca] {
        assert_eq!(mounted(path)["secret"]["secretName"], "certificates");
    }

    let (_, objects) = config("source.kind=xds,source.xds.protocol=sotw");
    let may_read = objects.iter().filter(|object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        kind.contains("Role")
    });
    assert_eq!(may_read.count(), 0);
    let source = yaml(&gateway_yaml(&objects))["source"].clone();
    let expected = json!({"xds": {"address": "istiod.istio-system.svc:15012", "protocol": "sotw"}});
    assert_eq!(source, expected);
    // Where the gateway's own defaults look.
    let defaults = gateway::config::XdsSource::default();
    let pod = &one(&objects, "Deployment", "eastwest-gateway")["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"]
        .as_array()
        .expect("mounts");
    let token = defaults.token.expect("a token");
    for path in [&token, &defaults.root_certificates, &defaults.labels_file] {
        let folder = path.parent().and_then(Path::to_str).expect("a folder");
        assert!(
            mounts.iter().any(|mount| mount["mountPath"] == folder),
            "{folder}"
        );
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}
