//! The binary, killed without a word at any moment: what it knew is on disk, whole, and the next one serves from that while no
//! API server answers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sidecar::{Backend, Client, Pki};
use tests::{ApiFake, Fault, base64, get, in_namespace, until, until_async};

use crate::kubernetes_faults_table::{EXPOSE, address, objects};

/// How often it is killed.
const TURNS: usize = 4;

/// The binary `causeway`.
const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// A running binary, killed when this is dropped.
struct Gateway(Child);

impl Gateway {
    fn start(config: &Path) -> Self {
        let log = std::fs::File::create(config.with_extension("log")).expect("a log");
        let process = Command::new(CAUSEWAY)
            .args([Path::new("run"), Path::new("--config"), config])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        Self(process.expect("it starts"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // SIGKILL: it can do nothing any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Our own cluster, a remote one, and what the binary is told.
struct Rig {
    own: ApiFake,
    eu: ApiFake,
    client: Client,
    config: PathBuf,
    admin: SocketAddr,
    folder: tempfile::TempDir,
    _backend: Backend,
}

impl Rig {
    async fn start() -> Self {
        let pki = Pki::new();
        let own = ApiFake::start(address(100, 254, 6443), EXPOSE).await;
        let versions = json!({"versions": [{"version": "v1"}]});
        own.serve("/apis/networking.istio.io", versions);
        let kinds = json!({"resources": [{"name": "gateways"}]});
        own.serve("/apis/networking.istio.io/v1", kinds);
        let eu = ApiFake::start(address(1, 254, 6443), &objects("eu", 1)).await;
        let kubeconfig = base64(eu.kubeconfig("first").as_bytes());
        own.put(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: istio-system}}\ndata: {{eu: {kubeconfig}}}\n"
        ));
        let server = pki.server_config(&["istio"]);
        let backend = Backend::start_with(server, "eu", address(1, 255, 15443)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("kubeconfig"), own.kubeconfig("first")).expect("written");
        let outbound = address(100, 255, 15444);
        let admin: SocketAddr = ([127, 0, 0, 1], 15000).into();
        let config = format!(
            "{{cluster: ap, network: network1, locality: r/z, namespace: istio-system, labels: {{istio: eastwestgateway}},
workers: 1, listeners: [{{address: '{outbound}', role: outbound}}], admin: {{address: '{admin}'}},
stats: {{address: '127.0.0.1:0'}}, ready: {{address: '127.0.0.1:0'}},
source: {{kubernetes: {{kubeconfig: kubeconfig, snapshot: disk}}}}}}"
        );
        std::fs::write(at("gateway.yaml"), config).expect("written");
        let name = "outbound_.5000_._.hello-eu.default.svc.cluster.local";
        Self {
            own,
            eu,
            client: Client::new(&pki, outbound).named(name).expect("a name"),
            config: at("gateway.yaml"),
            admin,
            folder,
            _backend: backend.expect("it starts"),
        }
    }

    /// Starts the binary, and waits until a client is answered.
    async fn gateway(&self, what: &str) -> Gateway {
        let gateway = Gateway::start(&self.config);
        until_async(&format!("a client is answered {what}"), async || {
            self.client
                .ask()
                .await
                .is_ok_and(|answer| answer.who == "eu")
        })
        .await;
        gateway
    }

    async fn source(&self) -> Value {
        get(self.admin, "/source").await.json()
    }

    async fn until_state(&self, state: &str) {
        until_async(&format!("both clusters are {state}"), async || {
            let source = self.source().await;
            ["ap", "eu"]
                .iter()
                .all(|id| source["clusters"][id]["state"] == state)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_starts_again_without_an_api_server() {
    let test = "kubernetes_killed::a_gateway_that_is_killed_starts_again_without_an_api_server";
    if !in_namespace(test) {
        return;
    }
    let rig = Rig::start().await;
    for turn in 0..TURNS {
        let gateway = rig.gateway("by the API").await;
        rig.until_state("synced").await;
        for name in ["cluster-ap.json", "cluster-eu.json", "gateway.json"] {
            let file = rig.folder.path().join("disk").join(name);
            until(&format!("{name} is written"), || file.exists()).await;
        }
        // It may be writing this, or not have heard of it: whole it is either way.
        rig.eu
            .put(&objects("eu", 1).replace("name: another", &format!("name: another-{turn}")));
        drop(gateway);

        for api in [&rig.own, &rig.eu] {
            api.set(Some(Fault::Refuse));
        }
        let gateway = rig.gateway("from disk").await;
        rig.until_state("loaded").await;
        let disk = rig.source().await["disk"].clone();
        assert_eq!(disk["ignored"], json!([]), "turn {turn}: {disk}");
        drop(gateway);
        for api in [&rig.own, &rig.eu] {
            api.set(None);
        }
    }
}
