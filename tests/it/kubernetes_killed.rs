//! The binary and its folder: killed without a word at any moment, with a disk that is full or read-only. What it knew is there,
//! whole, and the next one serves from that while no API server answers.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sidecar::{Backend, Client, Pki};
use tests::{ApiFake, Fault, base64, get, in_namespace, say, until, until_async};

use crate::kubernetes_faults_table::{EXPOSE, address, objects};

/// How often it is killed.
const TURNS: usize = 4;

/// The binary `causeway`.
const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// A running binary, killed when this is dropped.
struct Gateway(Child);

impl Gateway {
    /// Starts it where it sees that disk, if one is given.
    fn start(config: &Path, disk: Option<&SmallDisk>) -> Self {
        let log = File::create(config.with_extension("log")).expect("a log");
        let mut command = match disk {
            Some(disk) => disk.command(CAUSEWAY),
            None => Command::new(CAUSEWAY),
        };
        let process = command
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

/// A disk of a few pages at this folder, for whoever is started by [`SmallDisk::command`]; gone when this is dropped.
struct SmallDisk {
    folder: PathBuf,
    /// It does nothing but keep the mount.
    keeper: Child,
}

impl SmallDisk {
    /// `None` after saying so where mounts are not permitted.
    fn mount(folder: &Path, test: &str) -> Option<Self> {
        fs::create_dir(folder).expect("a folder");
        let mut keeper = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=256k,mode=700 tmpfs \"$0\" && echo mounted && exec sleep 600")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare runs");
        let mut said = [0; 8];
        let out = keeper.stdout.as_mut().expect("piped");
        let disk = Self {
            folder: folder.into(),
            keeper: match out.read_exact(&mut said) {
                Ok(()) => keeper,
                Err(_) => {
                    say(&format!("== SKIPPED {test}: a mount is not permitted here"));
                    // It has ended, or will.
                    let _ = keeper.wait();
                    return None;
                }
            },
        };
        Some(disk)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        command.args([&namespace, program]);
        command
    }

    /// A file of the disk, as it is reached from outside.
    fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        let inside = self.folder.strip_prefix("/").expect("a whole path");
        root.join(inside).join(name)
    }

    fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.file("")).expect("a folder");
        let names = files.map(|file| file.expect("a file").file_name());
        names.map(|name| name.to_string_lossy().into()).collect()
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut create = OpenOptions::new();
        let file = create.create(true).append(true).open(self.file("filler"));
        let mut file = file.expect("opened");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.file("filler")).expect("removed");
    }

    fn make_read_only(&self) {
        let mut mount = self.command("mount");
        let status = mount.args(["-o", "remount,ro"]).arg(&self.folder).status();
        assert!(status.expect("it runs").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
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
        fs::write(at("kubeconfig"), own.kubeconfig("first")).expect("written");
        let outbound = address(100, 255, 15444);
        let admin: SocketAddr = ([127, 0, 0, 1], 15000).into();
        let config = format!(
            "{{cluster: ap, network: network1, locality: r/z, namespace: istio-system, labels: {{istio: eastwestgateway}},
workers: 1, listeners: [{{address: '{outbound}', role: outbound}}], admin: {{address: '{admin}'}},
stats: {{address: '127.0.0.1:0'}}, ready: {{address: '127.0.0.1:0'}},
source: {{kubernetes: {{kubeconfig: kubeconfig, snapshot: disk}}}}}}"
        );
        fs::write(at("gateway.yaml"), config).expect("written");
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
    async fn gateway(&self, what: &str, disk: Option<&SmallDisk>) -> Gateway {
        let gateway = Gateway::start(&self.config, disk);
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

impl Rig {
    /// Gives eu one more service.
    fn add(&self, name: &str) {
        self.eu
            .put(&objects("eu", 1).replace("name: another", &format!("name: {name}")));
    }

    async fn until_disk_says(&self, error: &str) {
        until_async(&format!("the disk says '{error}'"), async || {
            let disk = self.source().await["disk"].clone();
            let said = disk["lastError"].as_str().unwrap_or_default();
            said.contains(error) && (error.is_empty() == said.is_empty())
        })
        .await;
        let answer = self.client.ask().await.expect("clients are served");
        assert_eq!(answer.who, "eu");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_or_read_only_costs_no_client_and_nothing_that_was_kept() {
    let test = "kubernetes_killed::a_disk_that_is_full_or_read_only_costs_no_client_and_nothing_that_was_kept";
    if !in_namespace(test) {
        return;
    }
    let rig = Rig::start().await;
    let Some(disk) = SmallDisk::mount(&rig.folder.path().join("disk"), test) else {
        return;
    };
    let gateway = rig.gateway("by the API", Some(&disk)).await;
    rig.until_state("synced").await;
    let eu = disk.file("cluster-eu.json");
    until("eu is written", || eu.exists()).await;
    let kept = || fs::read_to_string(&eu).expect("it is always there");

    disk.fill();
    rig.add("while-full");
    rig.until_disk_says("No space left on device").await;
    assert!(kept().contains("another") && !kept().contains("while-full"));
    let halves = disk
        .files()
        .into_iter()
        .filter(|file| file.ends_with(".new"));
    assert_eq!(halves.collect::<Vec<_>>(), Vec::<String>::new());
    disk.empty();
    rig.until_disk_says("").await;
    until("it is written with the next try", || {
        kept().contains("while-full")
    })
    .await;

    disk.make_read_only();
    rig.add("while-read-only");
    rig.until_disk_says("Read-only file system").await;
    drop(gateway);
    for api in [&rig.own, &rig.eu] {
        api.set(Some(Fault::Refuse));
    }
    let _gateway = rig
        .gateway("from a disk that is read-only", Some(&disk))
        .await;
    rig.until_state("loaded").await;
    assert!(kept().contains("while-full") && !kept().contains("while-read-only"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_starts_again_without_an_api_server() {
    let test = "kubernetes_killed::a_gateway_that_is_killed_starts_again_without_an_api_server";
    if !in_namespace(test) {
        return;
    }
    let rig = Rig::start().await;
    for turn in 0..TURNS {
        let gateway = rig.gateway("by the API", None).await;
        rig.until_state("synced").await;
        for name in ["cluster-ap.json", "cluster-eu.json", "gateway.json"] {
            let file = rig.folder.path().join("disk").join(name);
            until(&format!("{name} is written"), || file.exists()).await;
        }
        // It may be writing this, or not have heard of it: whole it is either way.
        rig.add(&format!("another-{turn}"));
        drop(gateway);

        for api in [&rig.own, &rig.eu] {
            api.set(Some(Fault::Refuse));
        }
        let gateway = rig.gateway("from disk", None).await;
        rig.until_state("loaded").await;
        let disk = rig.source().await["disk"].clone();
        assert_eq!(disk["ignored"], json!([]), "turn {turn}: {disk}");
        drop(gateway);
        for api in [&rig.own, &rig.eu] {
            api.set(None);
        }
    }
}
