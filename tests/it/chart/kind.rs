//! The quickstart of `deploy/kind`: its scripts are clean, and those that need nothing but an API make, on three real API
//! servers, what a gateway finds all of them by.

mod removal;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{ControlPlane, Helm, Pod, Release, exchange, get, say, until_async};

use super::cluster::ready;

const ISTIO: &str = include_str!("../../fixtures/istio.yaml");
const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");
const REGIONS: [&str; 3] = ["ap", "us", "eu"];
const IMAGE: &str = "registry.example.com/causeway";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kind")
}

/// Whether this program is there; if not, says that the test is skipped.
fn is_installed(test: &str, program: &str, argument: &str) -> bool {
    let ran = Command::new(program).arg(argument).output();
    let installed = ran.is_ok_and(|output| output.status.success());
    if !installed {
        say(&format!(
            "== SKIPPED chart::{test}: {program} is not installed"
        ));
    }
    installed
}

#[test]
fn shellcheck_finds_nothing() {
    if !is_installed("kind::shellcheck_finds_nothing", "shellcheck", "--version") {
        return;
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut scripts = vec![project.join(".ci/run")];
    for folder in ["deploy", "deploy/kind", "bench", "proxy/fuzz"] {
        let files = std::fs::read_dir(project.join(folder)).expect("the scripts");
        let files = files.map(|entry| entry.expect("an entry").path());
        scripts.extend(files.filter(|path| path.extension().is_some_and(|end| end == "sh")));
    }
    assert!(scripts.len() > 10, "{scripts:?}");
    let output = Command::new("shellcheck")
        .args(["--external-sources", "--source-path=SCRIPTDIR"])
        .args(&scripts)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

/// In place of kubectl: rollouts are done, and each request is answered from the next line of a file for its region.
const KUBECTL: &str = r#"#!/bin/sh
case "$*" in
  *"rollout status"*) ;;
  *" exec "*) cat "$ANSWERS/$2" ;;
  *) echo "kubectl $*: not known" >&2; exit 1 ;;
esac
"#;

/// `test.sh` passes only where each region is answered by all three and no request fails.
#[test]
fn the_thirty_requests_are_judged_as_the_readme_says() {
    let all = "REGION=ap\nREGION=us\nREGION=eu\n".repeat(10);
    let failing = all.replacen("REGION=eu", "FAILED", 1);
    let never_eu = all.replace("REGION=eu", "REGION=us");
    for (from_us, passes, row) in [
        (&all, true, "us 10 10 10 0"),
        (&failing, false, "us 10 10 9 1"),
        (&never_eu, false, "us 10 20 0 0"),
    ] {
        let work = tempfile::tempdir().expect("a folder");
        let at = |name: &str| work.path().join(name);
        std::fs::write(at("kubectl"), KUBECTL).expect("written");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(at("kubectl"), executable).expect("permitted");
        for (region, answers) in [("ap", &all), ("us", from_us), ("eu", &all)] {
            std::fs::write(at(&format!("kind-{region}")), answers).expect("written");
        }
        let output = Command::new(folder().join("test.sh"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", work.path().display()))
            .env("ANSWERS", work.path())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), passes, "{said}");
        let mut rows = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(rows.any(|line| line == row), "{row}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_only_an_api_makes_three_clusters_that_find_each_other() {
    let test = "kind::what_needs_only_an_api_makes_three_clusters_that_find_each_other";
    let tools = [("kubectl", "--help"), ("openssl", "version")];
    if !tools
        .iter()
        .all(|(tool, argument)| is_installed(test, tool, argument))
    {
        return;
    }
    let Some((helm, binary)) = ready(test) else {
        return;
    };
    let mut planes = BTreeMap::new();
    for (number, region) in (1..).zip(REGIONS) {
        let address = Ipv4Addr::new(10, 9, 0, number).into();
        let plane = ControlPlane::start(&binary, address).await;
        // What istio.sh brings, and a Node.
        plane.apply(ISTIO).await;
        plane.apply(NODE).await;
        planes.insert(region, plane);
    }
    let work = tempfile::tempdir().expect("a folder");
    let kubeconfig = work.path().join("kubeconfig");
    std::fs::write(&kubeconfig, merged(&planes)).expect("written");
    // Each may be run again.
    for script in [
        "certificates",
        "gateway",
        "apps",
        "certificates",
        "gateway",
        "apps",
    ] {
        run(&helm, script, work.path(), &kubeconfig).await;
    }

    let root = secret(&planes["ap"], "cacerts").await["data"]["root-cert.pem"].clone();
    assert!(root.is_string());
    for (region, plane) in &planes {
        assert_eq!(
            secret(plane, "cacerts").await["data"]["root-cert.pem"],
            root
        );
        for other in REGIONS.iter().filter(|other| other != &region) {
            let name = format!("istio-remote-secret-{other}");
            let label = &secret(plane, &name).await["metadata"]["labels"]["istio/multiCluster"];
            assert_eq!(label, "true", "{region}: {name}");
        }
        let path = "/api/v1/namespaces/default/services/hello";
        let hello = plane.get(path).await.expect("hello");
        assert_eq!(hello["spec"]["ports"][0]["port"], 5000);
        let path = "/apis/apps/v1/namespaces/istio-system/deployments/eastwest-gateway";
        let gateway = plane.get(path).await.expect("the gateway");
        let image = &gateway["spec"]["template"]["spec"]["containers"][0]["image"];
        let expected = format!("{IMAGE}:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(image, &expected, "{region}");
    }
    let values = [
        "--set",
        "networkGateway=network3,labels.istio=eastwestgateway,labels.app=istio-eastwestgateway,cluster.name=eu",
    ];
    let objects = helm.objects(Release {
        name: "eastwest-gateway",
        namespace: "istio-system",
        arguments: &values,
    });
    let _pod = Pod::start(CAUSEWAY, &planes["eu"], &objects, "node-1").await;
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until_async("it is ready", async || {
        let answer = exchange(local(15021), b"GET /healthz/ready HTTP/1.0\r\n\r\n").await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    // Readiness waits for half a minute, which can be too short for three API servers on a busy machine.
    until_async("all are synced", async || {
        let status = get(local(15000), "/status").await.json();
        let clusters = &status["source"]["clusters"];
        REGIONS
            .iter()
            .all(|region| clusters[region]["state"] == "synced")
    })
    .await;
    let named = "sni=outbound_.5000_._.hello.default.svc.cluster.local&port=15443";
    let explained = get(local(15000), &format!("/explain?{named}")).await;
    assert!(
        !explained.body.contains("unknown_service"),
        "{}",
        explained.body
    );
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-1}
";

/// Runs a script as a user would, with contexts of its own for the three.
async fn run(helm: &Helm, script: &str, work: &Path, kubeconfig: &Path) {
    let mut path = OsString::from(helm.folder());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(folder().join(format!("{script}.sh")));
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", work)
        .env("KUBECONFIG", kubeconfig)
        .env("CONTEXT_PREFIX", "test-")
        .env("CLUSTERS", "own")
        .env("CERTIFICATES", work.join("certificates"))
        .env("CAUSEWAY", CAUSEWAY)
        // No controller fills a Secret with a token that lasts.
        .env("TOKEN_DURATION", "1h")
        .env("IMAGE", IMAGE)
        .stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = running.await.expect("waited").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script}.sh:\n{said}\n{complained}"
    );
}

/// One kubeconfig with a context for each.
fn merged(planes: &BTreeMap<&str, ControlPlane>) -> String {
    let (mut clusters, mut contexts, mut users) = (Vec::new(), Vec::new(), Vec::new());
    for (region, plane) in planes {
        let text = std::fs::read_to_string(plane.kubeconfig()).expect("a kubeconfig");
        let one: Value = serde_saphyr::from_str(&text).expect("YAML");
        clusters.push(json!({"name": region, "cluster": one["clusters"][0]["cluster"]}));
        users.push(json!({"name": region, "user": one["users"][0]["user"]}));
        contexts.push(json!({"name": format!("test-{region}"), "context": {"cluster": region, "user": region}}));
    }
    json!({"apiVersion": "v1", "kind": "Config", "clusters": clusters, "contexts": contexts, "users": users}).to_string()
}

async fn secret(plane: &ControlPlane, name: &str) -> Value {
    let path = format!("/api/v1/namespaces/istio-system/secrets/{name}");
    let found = plane.get(&path).await;
    found.unwrap_or_else(|fault| panic!("{name}: {fault}"))
}
