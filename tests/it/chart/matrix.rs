//! A matrix of values: each row renders as it is written down in `tests/fixtures/chart`, and as a gateway that starts.
//! `CAUSEWAY_UPDATE_GOLDEN=1` writes them anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Helm, Release};

use super::{gateway_yaml, helm};

/// A row: its name, its namespace, its arguments.
pub(super) type Row = (&'static str, &'static str, &'static [&'static str]);

/// The release of each is called `eastwest-gateway`.
pub(super) const ROWS: &[Row] = &[
    (
        "plain",
        "istio-system",
        &["--set", "networkGateway=network1"],
    ),
    ("learnk8s", "istio-system", super::learnk8s::ARGUMENTS),
    (
        "daemonset",
        "istio-system",
        &["--set", "networkGateway=network1,kind=DaemonSet"],
    ),
    (
        "host-ports",
        "istio-system",
        &[
            "--set",
            "networkGateway=network1,kind=DaemonSet,hostPorts=true,service.type=None,snapshot.enabled=false",
        ],
    ),
    (
        "outbound",
        "istio-system",
        &[
            "--set",
            "networkGateway=network1,outbound.enabled=true,outbound.networks.network3=15445,outbound.clusterIP=10.96.7.8,networkPolicy.enabled=true,service.ipFamilyPolicy=SingleStack",
            "--set",
            "autoscaling.enabled=false,replicaCount=3,cluster.name=us,locality=us-west/a,regions={us-east,eu-west}",
        ],
    ),
    (
        "apart",
        "causeway",
        &[
            "--set",
            "networkGateway=network1,istio.discoverable=false,service.ipFamilyPolicy=PreferDualStack",
            "--set",
            "discovery.secretNamespaces={istio-system,fleet},discovery.sameNetwork={eu},terminationGracePeriodSeconds=10",
            "--set",
            "service.ports[0].name=https,service.ports[0].port=443,service.ports[1].port=15443,service.ports[1].targetPort=8443",
            "--set",
            "snapshot.persistentVolumeClaim.enabled=true,platform=openshift,networkGatewayPorts.tls-istiod=null,networkGatewayPorts.tls-webhook.targetPort=17",
        ],
    ),
    (
        "named",
        "istio-system",
        &[
            "--set",
            "networkGateway=network1,networkGatewayPorts.tls.targetPort=tls,networkPolicy.enabled=true",
            "--set",
            "service.type=NodePort,service.loadBalancerClass=example.com/lb,service.allocateLoadBalancerNodePorts=false",
            "--set",
            "service.ports[0].port=15443,service.ports[0].name=istio-eastwest-tls,service.ports[1].port=15012,service.ports[1].name=istio-eastwest-istiod,service.ports[2].port=15017,service.ports[2].name=stats",
            "--set",
            "autoscaling.enabled=false,replicaCount=0,config.drain.window=1m,lifecycle.preStop.sleep.seconds=3",
        ],
    ),
    (
        "xds",
        "istio-system",
        &[
            "--set",
            "networkGateway=network1,cluster.name=us,source.kind=xds,source.xds.protocol=sotw",
            "--set",
            "xds.enabled=true,xds.tlsSecret=eastwest-xds,xds.meshTls.sdsCluster=sds-grpc,xds.clusterIP=10.96.7.9,service.ipFamilyPolicy=PreferDualStack",
            "--set",
            r"xds.annotations.example\.com/team=net,networkPolicy.enabled=true",
        ],
    ),
    (
        "everything",
        "istio-system",
        &[
            "--values",
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/fixtures/chart/everything.values.yaml"
            ),
        ],
    ),
];

/// A row as a release.
pub(super) fn release(row: &Row) -> Release<'static> {
    Release {
        name: "eastwest-gateway",
        namespace: row.1,
        arguments: row.2,
    }
}

#[test]
fn lint_finds_nothing() {
    let Some(helm) = helm("matrix::lint_finds_nothing") else {
        return;
    };
    let chart = helm.chart().to_str().expect("UTF-8");
    for row in ROWS {
        let mut arguments = vec!["lint", "--strict", chart, "--namespace", row.1];
        arguments.extend(row.2);
        let said = helm
            .run(&arguments)
            .unwrap_or_else(|why| panic!("{}: {why}", row.0));
        assert!(said.contains("0 chart(s) failed"), "{}: {said}", row.0);
        assert!(!said.contains("[WARNING]"), "{}: {said}", row.0);
    }
}

#[test]
fn each_row_renders_as_it_is_written_down() {
    let Some(helm) = helm("matrix::each_row_renders_as_it_is_written_down") else {
        return;
    };
    let update = std::env::var_os("CAUSEWAY_UPDATE_GOLDEN").is_some();
    for row in ROWS {
        let rendered = without_version(&helm, row);
        let path = golden(row.0);
        if update {
            std::fs::write(&path, &rendered).expect("written");
        }
        let agreed = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some((at, (was, is))) = difference(&agreed, &rendered) {
            panic!(
                "{} differs from line {} on: '{was}' is now '{is}'.\nIf that is meant: make chart-golden",
                path.display(),
                at + 1
            );
        }
    }
}

#[test]
fn each_rows_gateway_yaml_passes_config_check() {
    let Some(helm) = helm("matrix::each_rows_gateway_yaml_passes_config_check") else {
        return;
    };
    for row in ROWS {
        let text = gateway_yaml(&helm.objects(release(row)));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, &text).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_causeway-under-test"))
            .args(["config", "check"])
            .arg(&file)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}\n{text}", row.0);
    }
}

#[test]
fn nothing_private_is_on_a_public_service() {
    let Some(helm) = helm("matrix::nothing_private_is_on_a_public_service") else {
        return;
    };
    let asked_for = [
        "outbound.enabled=true,service.ports[0].port=15444,service.ports[1].port=15000,service.ports[2].port=15020",
        "outbound.networks.network2=16000,outbound.enabled=true,service.ports[0].port=443,service.ports[0].targetPort=16000",
        "service.ports[0].port=9090,service.ports[0].targetPort=stats,service.ports[1].port=18000",
        "outbound.enabled=true,service.ports[0].port=9090,service.ports[0].targetPort=outbound-15444",
        "service.ports[0].port=9090,service.ports[0].targetPort=15020,service.type=ClusterIP",
        "xds.enabled=true,xds.plaintext=true,service.ports[0].port=18000,service.ports[1].port=443,service.ports[1].targetPort=xds",
    ];
    let asked_for = asked_for.map(|values| ("asked for", "istio-system", vec!["--set", values]));
    let rows = ROWS.iter().map(|row| (row.0, row.1, row.2.to_vec()));
    for (name, namespace, arguments) in rows.chain(asked_for) {
        let objects = helm.objects(Release {
            name: "eastwest-gateway",
            namespace,
            arguments: &arguments,
        });
        let services = objects.iter().filter(|object| {
            // Those beside the public one are for this cluster alone.
            let type_ = &object["spec"]["type"];
            let private = ["outbound", "metrics", "xds"].map(|of| format!("eastwest-gateway-{of}"));
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let is_private = private.iter().any(|private| private == name);
            assert!(!is_private || type_ == "ClusterIP", "{name}: {type_}");
            object["kind"] == "Service" && !is_private
        });
        for service in services {
            for port in service["spec"]["ports"].as_array().expect("ports") {
                for number in [&port["port"], &port["targetPort"]] {
                    let is_private = match number.as_u64() {
                        Some(number) => {
                            [15000, 15020, 15444, 15445, 16000, 18000].contains(&number)
                        }
                        None => number != "tls",
                    };
                    assert!(!is_private, "{name} {arguments:?}: {port}");
                }
            }
        }
    }
}

/// Without what a release changes by its number alone.
fn without_version(helm: &Helm, row: &Row) -> String {
    let text = helm.text(release(row));
    let text = text.unwrap_or_else(|why| panic!("{}: {why}", row.0));
    let version = env!("CARGO_PKG_VERSION");
    text.replace(&format!("causeway-{version}"), "causeway-VERSION")
        .replace(&format!("causeway:{version}"), "causeway:VERSION")
        .replace(
            &format!("kubernetes.io/version: {version}"),
            "kubernetes.io/version: VERSION",
        )
}

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/chart");
    folder.join(format!("{name}.golden.yaml"))
}

/// The first line that differs, and what it is in both.
fn difference<'a>(was: &'a str, is: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    let end = std::iter::repeat("(the end)");
    let lines = was.lines().chain(end.clone()).zip(is.lines().chain(end));
    let count = was.lines().count().max(is.lines().count());
    lines
        .take(count)
        .enumerate()
        .find(|(_, (was, is))| was != is)
}
