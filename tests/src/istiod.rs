//! A real istiod against a real API server, as a child. It must not outlive the test.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{ControlPlane, Region, exchange, until_async};

/// What our gateways are to it: the account of Istio's own.
const ACCOUNT: &str = "istio-eastwestgateway";

/// What the account of a remote Secret may read, as Istio's own `istio-reader-clusterrole` has it: more than Causeway asks for.
const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: istio-reader-clusterrole}
rules:
  - apiGroups: [security.istio.io, networking.istio.io, telemetry.istio.io, extensions.istio.io]
    resources: ['*']
    verbs: [get, list, watch]
  - apiGroups: ['']
    resources: [endpoints, pods, services, nodes, replicationcontrollers, namespaces, secrets, configmaps]
    verbs: [get, list, watch]
  - apiGroups: [apiextensions.k8s.io]
    resources: [customresourcedefinitions]
    verbs: [get, list, watch]
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [get, list, watch]
  - apiGroups: [apps]
    resources: [replicasets]
    verbs: [get, list, watch]
  - apiGroups: [authentication.k8s.io]
    resources: [tokenreviews]
    verbs: [create]
  - apiGroups: [authorization.k8s.io]
    resources: [subjectaccessreviews]
    verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: istio-reader-clusterrole}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: istio-reader-clusterrole}
subjects: [{kind: ServiceAccount, name: causeway-reader, namespace: istio-system}]
";

/// A running istiod; killed when this is dropped.
pub struct Istiod {
    binary: PathBuf,
    /// Where it answers people: on loopback, where it asks nobody who they are.
    people: SocketAddr,
    cluster: &'static str,
    address: IpAddr,
    kubeconfig: PathBuf,
    folder: TempDir,
    /// Variables that differ from what Istio's chart sets.
    variables: &'static [(&'static str, &'static str)],
    process: Option<Child>,
}

impl Istiod {
    /// Gives a region Istio's kinds, as Istio defines them, and the account of its remote Secret what istiod reads.
    ///
    /// # Panics
    /// When the program does not have them, or the API server refuses them.
    pub async fn install(binary: &Path, plane: &ControlPlane) {
        let said = Command::new(binary).arg("crds").output();
        let said = String::from_utf8(said.expect("it runs").stdout).expect("text");
        assert!(said.contains("workloadentries"), "Istio's kinds: {said}");
        plane.apply(&said).await;
        plane.apply(READER).await;
    }

    /// Starts the one of a region and waits until it is ready. Only for tests that run in a namespace.
    ///
    /// # Panics
    /// When it does not come so far; with what it said.
    pub async fn start(
        binary: &Path,
        region: &Region,
        variables: &'static [(&'static str, &'static str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("mesh"), "trustDomain: cluster.local\n")
            .expect("written");
        std::fs::write(folder.path().join("networks"), "networks: {}\n").expect("written");
        let mut istiod = Self {
            binary: binary.to_owned(),
            people: SocketAddr::from(([127, 0, 0, region.number], 8080)),
            cluster: region.name,
            address: [10, region.number, 253, 1].into(),
            kubeconfig: region.plane.kubeconfig(),
            folder,
            variables,
            process: None,
        };
        istiod.run().await;
        istiod
    }

    /// Replaces its file of this name, `mesh` or `networks`; it reads them again when they change.
    ///
    /// # Panics
    /// When the folder is gone.
    pub fn configure(&self, name: &str, text: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, text).expect("written");
        std::fs::rename(&next, self.file(name)).expect("renamed");
    }

    /// Kills it, and starts it again.
    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// What it has told the proxy of this name, as its own view of Envoy's configuration has it; `None` while it does not
    /// know the proxy.
    pub async fn configuration(&self, proxy: &str) -> Option<Value> {
        let path = format!("/debug/config_dump?proxyID={proxy}&include_eds=true");
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = exchange(self.people, request.as_bytes()).await.ok()?;
        match answer.status {
            200 => serde_json::from_str(&answer.body).ok(),
            _ => None,
        }
    }

    /// The source of a gateway that follows it, as `gateway.yaml` has it.
    ///
    /// # Panics
    /// When there are no credentials for it.
    pub async fn source(&self, region: &Region) -> String {
        let [roots, token] = self.credentials(&region.plane).await;
        format!(
            "{{xds: {{address: '{}', serverName: istiod.istio-system.svc, rootCertificates: '{}', token: '{}',
               podName: {ACCOUNT}-0, podIp: {}, serviceAccount: {ACCOUNT}, snapshot: '{}'}}}}",
            SocketAddr::new(self.address, 15012),
            roots.display(),
            token.display(),
            region.inbound().ip(),
            region.folder().display()
        )
    }

    /// Its xDS server for whoever is within: plaintext, and no token.
    #[must_use]
    pub fn plaintext(&self) -> SocketAddr {
        SocketAddr::new(self.address, 15010)
    }

    /// What a gateway needs to be believed: the files of its root certificate and its token.
    ///
    /// # Panics
    /// When the API server gives none.
    async fn credentials(&self, plane: &ControlPlane) -> [PathBuf; 2] {
        plane
            .apply(&format!(
                "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {ACCOUNT}, namespace: istio-system}}\n"
            ))
            .await;
        let path = format!("/api/v1/namespaces/istio-system/serviceaccounts/{ACCOUNT}/token");
        let wanted = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": ["istio-ca"], "expirationSeconds": 3600},
        });
        let body = wanted.to_string().into_bytes();
        let made = plane
            .api()
            .change::<Value>(Method::POST, &path, "application/json", body);
        let made = made.await.expect("a token");
        let token = made["status"]["token"].as_str().expect("a token");
        // It takes turns with others in writing it to every namespace.
        let path = "/api/v1/namespaces/istio-system/configmaps/istio-ca-root-cert";
        until_async("istiod publishes its root certificate", async || {
            plane.api().get::<Value>(path).await.is_ok()
        })
        .await;
        let roots: Value = plane.api().get(path).await.expect("the root certificate");
        let roots = roots["data"]["root-cert.pem"]
            .as_str()
            .expect("a certificate");
        [("root-cert.pem", roots), ("token", token)].map(|(name, text)| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        })
    }

    async fn run(&mut self) {
        let at = |port: u16| SocketAddr::new(self.address, port).to_string();
        let log = self.folder.path().join("log");
        let out = File::create(&log).expect("a log");
        let process = Command::new(&self.binary)
            .arg("discovery")
            .args(["--kubeconfig", &self.kubeconfig.display().to_string()])
            .args(["--clusterID", self.cluster])
            .args([
                "--meshConfig",
                &self.file("mesh"),
                "--networksConfig",
                &self.file("networks"),
            ])
            .args(["--grpcAddr", &at(15010), "--secureGRPCAddr", &at(15012)])
            .args(["--httpAddr", &self.people.to_string()])
            .args(["--httpsAddr", &at(15017)])
            .args(["--monitoringAddr", &at(15014), "--ctrlz_port", "0"])
            .envs([
                ("CLUSTER_ID", self.cluster),
                ("POD_NAME", "istiod-0"),
                ("POD_NAMESPACE", "istio-system"),
                ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
                ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
            ])
            .envs(self.variables.iter().copied())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("a log"))
            .stderr(out)
            .spawn()
            .expect("istiod starts");
        self.process = Some(process);
        let request = b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n";
        let waiting = async {
            while !exchange(self.people, request)
                .await
                .is_ok_and(|answer| answer.status == 200)
            {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let patience = std::time::Duration::from_secs(120);
        if tokio::time::timeout(patience, waiting).await.is_err() {
            panic!(
                "istiod does not get ready: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for Istiod {
    fn drop(&mut self) {
        self.kill();
    }
}
