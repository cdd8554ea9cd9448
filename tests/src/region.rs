//! Regions: in each a real API server with what users apply, an endpoint of `hello` and a gateway that finds all by itself.
//! Only for tests that run [`in_namespace`](crate::in_namespace): everything has 10.x addresses.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use discovery::kubernetes::remote_secret::{self, RemoteSecretError, Request};
use gateway::App;
use gateway::config;
use serde_json::Value;
use sidecar::{Backend, Client, Pki};
use tempfile::TempDir;

use crate::control_plane::passes;
use crate::{ControlPlane, until_async};

/// Longer than a connect may take.
const UNHURRIED: &str = "timeouts: {stagger: 5s}\n";

const CLUSTER: &str = include_str!("../fixtures/cluster.yaml");
const EXPOSE: &str = include_str!("../fixtures/expose.yaml");
const ISTIO: &str = include_str!("../fixtures/istio.yaml");

/// The name of the cluster, its network, its region; by number from 1.
const NAMES: [[&str; 3]; 3] = [
    ["ap", "network1", "ap-south"],
    ["us", "network2", "us-west"],
    ["eu", "network3", "eu-west"],
];

/// One cluster with its network.
pub struct Region {
    /// Its cluster's id.
    pub name: &'static str,
    /// Its API server.
    pub plane: ControlPlane,
    /// The endpoint of `hello` that it runs, which answers with the cluster's id.
    pub backend: Backend,
    /// Its place among the regions, from 1: its addresses begin with `10.<number>`.
    pub number: u8,
    app: Option<App>,
    /// Where its gateways know everything from, if not from Kubernetes.
    source: Option<String>,
    /// What its gateways leave for each other.
    disk: TempDir,
    /// How many gateways there were before this one.
    turn: u16,
    unhurried: bool,
}

/// The three of them.
pub struct Regions {
    /// Trust of all endpoints and clients.
    pub pki: Pki,
    /// ap, us and eu.
    pub all: Vec<Region>,
}

impl Regions {
    /// Starts the three, with two remote Secrets in each and a gateway that has synced all.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(binary: &Path) -> Self {
        Self::start_with(binary, false).await
    }

    /// The same for stories that say who answers: nobody else is dialled beside who comes first, however late a busy machine tells
    /// that he has answered.
    ///
    /// # Panics
    /// As [`Regions::start`].
    pub async fn start_unhurried(binary: &Path) -> Self {
        Self::start_with(binary, true).await
    }

    async fn start_with(binary: &Path, unhurried: bool) -> Self {
        let pki = Pki::new();
        let mut all = Vec::new();
        for number in 1..=3 {
            let mut region = Region::start(binary, &pki, number).await;
            region.unhurried = unhurried;
            region.plane.apply(ISTIO).await;
            region.plane.apply(EXPOSE).await;
            all.push(region);
        }
        for region in &all {
            let secret = region.remote_secret().await;
            for other in all.iter().filter(|other| other.name != region.name) {
                other.plane.apply(&secret).await;
            }
        }
        for region in &mut all {
            region.start_gateway().await;
            region.until_synced(3).await;
        }
        Self { pki, all }
    }
}

impl Region {
    /// The region with this number, with neither Istio's kinds nor a gateway.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(binary: &Path, pki: &Pki, number: u8) -> Self {
        let [name, ..] = NAMES[usize::from(number) - 1];
        let plane = ControlPlane::start(binary, address(number, 254)).await;
        let pod = SocketAddr::new(address(number, 0), 9898);
        let backend = Backend::start_with(pki.server_config(&["istio"]), name, pod).await;
        let region = Self {
            name,
            plane,
            backend: backend.expect("an endpoint starts"),
            number,
            app: None,
            source: None,
            disk: tempfile::tempdir().expect("a folder"),
            turn: 0,
            unhurried: false,
        };
        region.plane.apply(&region.objects()).await;
        region
    }

    /// Starts its gateway, which is not waited for.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_gateway(&mut self) {
        self.app = Some(self.new_gateway().await);
    }

    /// Starts a gateway beside the one that runs, on ports of its own, with the same folder. Gives the old one.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn add_gateway(&mut self) -> App {
        self.turn += 1;
        let app = self.new_gateway().await;
        self.app.replace(app).expect("one was running")
    }

    /// Ends its gateway.
    ///
    /// # Panics
    /// When there is none.
    pub async fn stop_gateway(&mut self) {
        self.app.take().expect("one was running").stop().await;
    }

    /// The folder of what its gateways leave for each other.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.disk.path()
    }

    /// From now on its gateways have this source, written as in `gateway.yaml`, instead of finding everything by themselves.
    pub fn set_source(&mut self, source: String) {
        self.source = Some(source);
    }

    async fn new_gateway(&self) -> App {
        let found = || {
            format!(
                "{{kubernetes: {{kubeconfig: '{}', snapshot: '{}'}}}}",
                self.plane.kubeconfig().display(),
                self.folder().display()
            )
        };
        let source = self.source.clone().unwrap_or_else(found);
        let config = self.configuration(&source);
        App::start(config).await.expect("the gateway starts")
    }

    /// What a gateway of it is told, with this source, written as in `gateway.yaml`.
    ///
    /// # Panics
    /// When the source is no good.
    #[must_use]
    pub fn configuration(&self, source: &str) -> config::Gateway {
        let [name, network, region] = NAMES[usize::from(self.number) - 1];
        let text = format!(
            "cluster: {name}
network: {network}
locality: {region}/a
namespace: istio-system
labels: {{istio: eastwestgateway}}
workers: 1
listeners:
  - {{address: '{}', role: inbound}}
  - {{address: '{}', role: outbound, network: network9}}
admin: {{address: '127.0.0.1:0'}}
stats: {{address: '127.0.0.1:0'}}
ready: {{address: '127.0.0.1:0'}}
drain: {{announce: 1s}}
{}source: {source}
",
            self.inbound(),
            self.outbound(),
            if self.unhurried { UNHURRIED } else { "" },
        );
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, text).expect("written");
        let (config, _) = config::load(Some(&file), &[]).expect("a good configuration");
        config
    }

    /// Where other networks enter.
    #[must_use]
    pub fn inbound(&self) -> SocketAddr {
        SocketAddr::new(address(self.number, 255), 15443 + 10 * self.turn)
    }

    /// Where local workloads leave.
    #[must_use]
    pub fn outbound(&self) -> SocketAddr {
        SocketAddr::new(address(self.number, 255), 15444 + 10 * self.turn)
    }

    /// Where its gateway's admin API is.
    ///
    /// # Panics
    /// When the gateway does not run.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.app().addresses().admin
    }

    /// Where its gateway's metrics are.
    ///
    /// # Panics
    /// When the gateway does not run.
    #[must_use]
    pub fn stats(&self) -> SocketAddr {
        self.app().addresses().stats
    }

    /// What a local workload is answered by: the cluster whose endpoint it was, or why none.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn ask(&self, pki: &Pki) -> Result<String, sidecar::Error> {
        let client = Client::new(pki, self.outbound());
        client.ask().await.map(|answer| answer.who)
    }

    /// Says of its endpoint whether it is ready.
    pub async fn set_ready(&self, ready: bool) {
        let objects = self.objects();
        let slice = objects.rsplit("\n---").next().unwrap_or_default();
        let conditions = format!("ready: {ready}, serving: {ready}");
        let slice = slice.replace("ready: true, serving: true", &conditions);
        self.plane.apply(&slice).await;
    }

    /// A Secret by which others find it, as `causeway create-remote-secret` makes it; for an hour.
    ///
    /// # Panics
    /// When none is made.
    pub async fn remote_secret(&self) -> String {
        let request = Request {
            name: Some(self.name.to_owned()),
            namespace: "istio-system".to_owned(),
            service_account: "causeway-reader".to_owned(),
            server: None,
            duration: Some(Duration::from_secs(3600)),
        };
        let yaml = RefCell::new(String::new());
        until_async(&format!("{} gives a Secret", self.name), async || {
            match remote_secret::create(self.plane.home(), &request).await {
                Ok(made) => yaml.replace(made.yaml),
                Err(RemoteSecretError::Api { fault, .. }) if passes(&fault) => return false,
                Err(fault) => panic!("{} gives no Secret: {fault}", self.name),
            };
            true
        })
        .await;
        yaml.into_inner()
    }

    /// Waits until its gateway has synced so many clusters.
    pub async fn until_synced(&self, clusters: usize) {
        self.until_state("synced", clusters).await;
    }

    /// Waits until exactly so many clusters of its gateway are in this state.
    pub async fn until_state(&self, state: &str, clusters: usize) {
        let what = format!("{} sees {clusters} clusters {state}", self.name);
        until_async(&what, async || {
            let status = self.status().await;
            let known = status["clusters"].as_object();
            let found = known.into_iter().flatten();
            found.filter(|(_, one)| one["state"] == state).count() == clusters
        })
        .await;
    }

    /// What its gateway says of discovery.
    ///
    /// # Panics
    /// When the gateway does not run.
    pub async fn status(&self) -> Value {
        let answer = crate::get(self.app().addresses().admin, "/status").await;
        let status: Value = serde_json::from_str(&answer.body).expect("JSON");
        status["source"].clone()
    }

    /// Waits until its gateway is ready; gives who was waited for meanwhile.
    pub async fn until_ready(&self) -> BTreeSet<String> {
        let waited = Mutex::new(BTreeSet::new());
        until_async(&format!("{}'s gateway is ready", self.name), async || {
            let answer = crate::get(self.app().addresses().ready, "/healthz/ready").await;
            let status: Value = serde_json::from_str(&answer.body).expect("JSON");
            let names = status["waitingFor"].as_array().into_iter().flatten();
            let names = names.filter_map(Value::as_str).map(str::to_owned);
            waited.lock().expect("not poisoned").extend(names);
            answer.status == 200
        })
        .await;
        waited.into_inner().expect("not poisoned")
    }

    /// Its gateway.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn app(&self) -> &App {
        self.app.as_ref().expect("its gateway runs")
    }

    fn objects(&self) -> String {
        let [_, network, region] = NAMES[usize::from(self.number) - 1];
        CLUSTER
            .replace("NUMBER", &self.number.to_string())
            .replace("NETWORK", network)
            .replace("REGION", region)
    }
}

fn address(number: u8, third: u8) -> IpAddr {
    Ipv4Addr::new(10, number, third, 1).into()
}
