//! A Pod of the chart as a kubelet starts it: the gateway.yaml of its ConfigMap, its variables, and its account's own token,
//! with which it may do what the chart allows and nothing else. It must give the gateway nothing that the chart does not.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use discovery::kubernetes::api::Api;
use discovery::kubernetes::client::{self, Local};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ControlPlane;

/// A running gateway; ended when this is dropped. When its story has failed by then, what it logged is told.
pub struct Pod {
    process: Child,
    folder: TempDir,
    account: Api,
}

impl Pod {
    /// Makes the Pod that the workload among these objects asks for, on this Node, and runs it with the binary. The objects
    /// are applied already; the gateway is not waited for.
    ///
    /// # Panics
    /// When the server refuses something, or the binary cannot be run.
    pub async fn start(binary: &str, plane: &ControlPlane, objects: &[Value], node: &str) -> Self {
        let pod = pod(objects, "gateway-1", node);
        plane.apply(&pod.to_string()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_of_account(plane, &pod).await).expect("written");
        let config = folder.path().join("gateway.yaml");
        fs::write(&config, mounted(objects, &pod)).expect("written");
        let local = Local {
            kubeconfig: Some(kubeconfig.clone()),
            context: None,
        };
        let account = client::local(&local).await.expect("its kubeconfig").api;
        let container = &pod["spec"]["containers"][0];
        let arguments = container["args"].as_array().expect("arguments").iter();
        let arguments = arguments.map(|one| match one.as_str().expect("a text") {
            "/etc/causeway/gateway.yaml" => config.clone().into_os_string(),
            other => other.into(),
        });
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        mount_account(folder.path(), &kubeconfig);
        let server: http::Uri = plane.home().server.parse().expect("an address");
        let host = server.host().expect("a host").to_owned();
        let port = server.port_u16().expect("a port").to_string();
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-c", MOUNT, binary])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("FOLDER", folder.path())
            .envs(variables(&pod))
            .env("KUBERNETES_SERVICE_HOST", host)
            .env("KUBERNETES_SERVICE_PORT", port)
            .env("CAUSEWAY_SOURCE_KUBERNETES_SNAPSHOT", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("it runs");
        Self {
            process,
            folder,
            account,
        }
    }

    /// A connection with its account's token.
    #[must_use]
    pub fn account(&self) -> &Api {
        &self.account
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            println!("{}", log.unwrap_or_default());
        }
    }
}

/// What a kubelet mounts of the account, in a mount namespace of the gateway's own; then the gateway takes the shell's place.
const MOUNT: &str = "set -e
mount -t tmpfs tmpfs /var/run
here=/var/run/secrets/kubernetes.io/serviceaccount
mkdir -p $here
cp \"$FOLDER/token\" \"$FOLDER/namespace\" $here
base64 -d \"$FOLDER/authority\" > $here/ca.crt
exec \"$0\" \"$@\"";

/// Leaves what a kubelet mounts of the account in a folder: what stands in this kubeconfig.
fn mount_account(folder: &Path, kubeconfig: &Path) {
    let text = fs::read_to_string(kubeconfig).expect("it was written");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    for (file, value) in [
        ("token", &config["users"][0]["user"]["token"]),
        ("namespace", &config["contexts"][0]["context"]["namespace"]),
        (
            "authority",
            &config["clusters"][0]["cluster"]["certificate-authority-data"],
        ),
    ] {
        let value = value.as_str().expect("a text");
        fs::write(folder.join(file), value).expect("written");
    }
}

/// The Pod that the workload among these objects asks for.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn pod(objects: &[Value], name: &str, node: &str) -> Value {
    let is_workload = |object: &&Value| {
        ["Deployment", "DaemonSet"]
            .map(Value::from)
            .contains(&object["kind"])
    };
    let workload = objects.iter().find(is_workload).expect("a workload");
    let mut pod = workload["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["namespace"] = workload["metadata"]["namespace"].clone();
    pod["spec"]["nodeName"] = json!(node);
    pod
}

/// The text that is mounted as gateway.yaml.
fn mounted(objects: &[Value], pod: &Value) -> String {
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    let named = volumes
        .iter()
        .find(|volume| volume["name"] == "causeway-config");
    let name = &named.expect("a volume")["configMap"]["name"];
    let map = objects
        .iter()
        .find(|object| object["kind"] == "ConfigMap" && &object["metadata"]["name"] == name);
    let text = map.and_then(|map| map["data"]["gateway.yaml"].as_str());
    text.expect("a gateway.yaml").to_owned()
}

/// What the downward API and the chart make its variables.
fn variables(pod: &Value) -> Vec<(String, String)> {
    let all = pod["spec"]["containers"][0]["env"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.into_iter()
        .flatten()
        .map(|one| {
            let value = match one["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => text(&pod["metadata"]["name"]),
                Some("metadata.namespace") => text(&pod["metadata"]["namespace"]),
                Some("spec.nodeName") => text(&pod["spec"]["nodeName"]),
                // Given by a network that there is none of here.
                Some("status.podIP") => "10.1.255.1".to_owned(),
                Some(other) => panic!("{other} is not known"),
                None => text(&one["value"]),
            };
            (text(&one["name"]), value)
        })
        .collect()
}

/// A kubeconfig with a token of the Pod's account, as a kubelet asks for it.
async fn kubeconfig_of_account(plane: &ControlPlane, pod: &Value) -> String {
    let namespace = pod["metadata"]["namespace"].as_str().expect("a namespace");
    let account = pod["spec"]["serviceAccountName"].as_str();
    let account = account.expect("an account");
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    });
    let body = request.to_string().into_bytes();
    let made: Result<Value, _> = plane
        .api()
        .change(Method::POST, &path, "application/json", body)
        .await;
    let made = made.unwrap_or_else(|fault| panic!("a token of {account}: {fault}"));
    let home = plane.home();
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "clusters": [{"name": "pod", "cluster": {"server": home.server, "certificate-authority-data": home.authority}}],
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod", "namespace": namespace}}],
        "users": [{"name": "pod", "user": {"token": made["status"]["token"]}}],
    })
    .to_string()
}
