//! What is in the image, started where nothing else is: an empty root, no privileges, names from a name server. It builds
//! nothing; `make image-check` does, with the script that the Dockerfile runs, and says where the result is.

use std::fs::{self, File, Permissions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sidecar::{Backend, Client, Pki};
use tempfile::TempDir;
use tests::{NameServer, get, in_namespace, say, until_async};

/// Who the image runs as.
const NOBODY: &str = "65532";

/// Where the admin API is, in the namespace of the test.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);

/// As in a Pod: a search list, and dots enough to have it tried first.
const RESOLV_CONF: &str = "nameserver 127.0.0.1
search istio-system.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
";

const GATEWAY: &str = "cluster: us
network: n2
locality: us-west/a
listeners:
  - {address: '10.2.0.1:15443', role: inbound}
  - {address: '10.2.0.1:15444', role: outbound}
admin: {address: '127.0.0.1:15000'}
stats: {address: '10.2.0.1:15020'}
ready: {address: '10.2.0.1:15021'}
source: {file: mesh.yaml}
drain: {announce: 0s, window: 1s}
";

const MESH: &str = "networks:
  n3:
    gateways: [{address: gateway.eu.example, port: 15443, clusters: [eu]}]
services:
  - host: hello.default.svc.cluster.local
    ports: [{number: 5000, name: http}]
    endpoints:
      - {address: 10.8.0.9, ports: {http: 9898}, cluster: eu, network: n3, locality: eu-west/a, health: healthy}
";

/// The root of the image, or nothing after saying why the test is skipped.
fn image(test: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("CAUSEWAY_IMAGE") else {
        say(&format!(
            "== SKIPPED {test}: the static binary takes minutes to build; `make image-check` does"
        ));
        return None;
    };
    let permitted = Command::new("chroot")
        .args([&format!("--userspec={NOBODY}:{NOBODY}"), "/", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !permitted.is_ok_and(|status| status.success()) {
        say(&format!(
            "== SKIPPED {test}: 'chroot --userspec' is not permitted or not installed here"
        ));
        return None;
    }
    in_namespace(test).then(|| PathBuf::from(root))
}

/// The binary of the image in a root of its own, ended when this is dropped.
struct Started {
    process: Child,
    root: TempDir,
}

impl Started {
    /// Copies the image, adds what Kubernetes mounts, and starts it as the image says.
    fn new(image: &Path) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        // Nobody has to be able to enter it.
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("permitted");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(image.join("."))
            .arg(root.path())
            .status();
        assert!(copied.expect("cp runs").success());
        fs::create_dir_all(at("etc/causeway")).expect("a folder");
        for (name, text) in [
            ("etc/resolv.conf", RESOLV_CONF),
            ("etc/causeway/gateway.yaml", GATEWAY),
            ("etc/causeway/mesh.yaml", MESH),
        ] {
            fs::write(at(name), text).expect("written");
        }
        let log = File::create(at("log")).expect("a log");
        let process = Command::new("chroot")
            .arg(format!("--userspec={NOBODY}:{NOBODY}"))
            .arg(root.path())
            .args(["/usr/local/bin/causeway", "run"])
            .args(["--config", "/etc/causeway/gateway.yaml"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        Self { process, root }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.log());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where its other listeners and servers are.
fn here(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 2, 0, 1]), port)
}

/// The static C library is one that can resolve names without loading anything (glibc 2.34 or newer), and the names are
/// absolute whatever the Pod's search list says.
#[tokio::test(flavor = "multi_thread")]
async fn in_an_empty_root_it_resolves_names_and_serves() {
    let Some(image) = image("image::in_an_empty_root_it_resolves_names_and_serves") else {
        return;
    };
    let eu: IpAddr = "10.3.0.1".parse().expect("an address");
    let nobody_there: IpAddr = "2001:db8::7".parse().expect("an address");
    let wrong: IpAddr = "10.66.0.1".parse().expect("an address");
    let names: [(&str, &[IpAddr]); 2] = [
        ("gateway.eu.example", &[eu, nobody_there]),
        ("gateway.eu.example.svc.cluster.local", &[wrong]),
    ];
    let dns = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 53);
    let name_server = NameServer::start(dns, &names).await.expect("a name server");
    let pki = Pki::new();
    let config = pki.server_config(&["istio"]);
    let gateway = Backend::start_with(config, "eu", SocketAddr::new(eu, 15443)).await;
    let _gateway = gateway.expect("the other network's gateway starts");

    let mut started = Started::new(&image);
    until_async("it is ready", async || {
        let request = b"GET /healthz/ready HTTP/1.0\r\n\r\n";
        let answer = tests::exchange(here(15021), request).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    until_async("both of the name's addresses are known", async || {
        let snapshot = get(ADMIN, "/snapshot").await.body;
        snapshot.contains("10.3.0.1:15443") && snapshot.contains("[2001:db8::7]:15443")
    })
    .await;
    let answer = Client::new(&pki, here(15444)).ask().await;
    assert_eq!(answer.expect("an answer").who, "eu");
    for (name, _) in name_server.asked() {
        assert_eq!(
            name, "gateway.eu.example",
            "an absolute name is not searched for"
        );
    }

    let status = fs::read_to_string(format!("/proc/{}/status", started.process.id()));
    let status = status.expect("a process");
    let ids = format!("{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}");
    for line in [format!("Uid:\t{ids}"), format!("Gid:\t{ids}")] {
        assert!(status.lines().any(|known| known == line), "{status}");
    }
    assert!(
        status
            .lines()
            .any(|line| line == "CapEff:\t0000000000000000")
    );

    let pid = rustix::process::Pid::from_child(&started.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is told to end");
    let ended = tokio::task::spawn_blocking(move || (started.process.wait(), started)).await;
    let (status, started) = ended.expect("waited");
    assert!(status.expect("it ends").success(), "{}", started.log());
}

/// Whoever runs the image finds the binary where the Dockerfile says, and that is what the script builds.
#[test]
fn the_dockerfile_runs_the_script_that_is_checked_and_starts_what_it_builds() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(project.join(name)).expect("a file");
    let dockerfile = read("deploy/Dockerfile");
    let script = read("deploy/build-static.sh");
    let last = dockerfile.rsplit("\nFROM ").next().unwrap_or_default();
    assert!(last.starts_with("scratch\n"), "{last}");
    for line in [
        format!("USER {NOBODY}:{NOBODY}"),
        "COPY --from=build /image/ /".to_owned(),
        "ENTRYPOINT [\"/usr/local/bin/causeway\"]".to_owned(),
        "CMD [\"run\", \"--config\", \"/etc/causeway/gateway.yaml\"]".to_owned(),
    ] {
        assert!(last.lines().any(|known| known == line), "{line}");
    }
    assert!(dockerfile.contains("deploy/build-static.sh dist /image\n"));
    assert!(script.contains("\"$root/usr/local/bin/causeway\"\n"));
    let wanted = read("Cargo.toml");
    let wanted = wanted
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""));
    let wanted = wanted
        .and_then(|line| line.strip_suffix('"'))
        .expect("a version");
    assert!(
        dockerfile.contains(&format!("rust:{wanted}-")),
        "the image is built with the tool chain that the workspace names, {wanted}"
    );
}

/// It stands for the binary wherever that was built, and the script holds it to what cargo compiles.
#[test]
fn the_list_of_what_is_compiled_in_is_the_same_each_time() {
    let test = "image::the_list_of_what_is_compiled_in_is_the_same_each_time";
    let version = ["cyclonedx", "--version"];
    let installed = Command::new("cargo").args(version).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        say(&format!(
            "== SKIPPED {test}: cargo-cyclonedx is not installed"
        ));
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sbom.sh");
    let folder = tempfile::tempdir().expect("a folder");
    let lists = ["one.json", "two.json"].map(|name| {
        let file = folder.path().join(name);
        let output = Command::new(&script).arg(&file).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        fs::read_to_string(file).expect("a list")
    });
    assert!(lists[0] == lists[1], "it differs from time to time");
    let here = std::env::temp_dir();
    assert!(!lists[0].contains(here.to_str().expect("UTF-8")));
    let list: Value = serde_json::from_str(&lists[0]).expect("JSON");
    assert_eq!(list["bomFormat"], "CycloneDX");
    assert_eq!(list["metadata"]["component"]["name"], "gateway");
    let components = list["components"].as_array().expect("components");
    let scope = |name: &str| {
        let found = components.iter().find(|one| one["name"] == name);
        found.map(|one| one["scope"].clone())
    };
    assert_eq!(scope("rustls"), Some("required".into()));
    assert_eq!(scope("cc"), Some("excluded".into()));
    // What tests alone bring.
    assert_eq!(scope("tests"), None);
}
