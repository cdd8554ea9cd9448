//! Remote Secrets as an attacker or a tired person writes them, on a real API server: each is refused by name, a good one beside
//! them works, and no credential of any of them is ever told, at the most talkative level of the log.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tests::{Region, base64, get, until_async};

use crate::kubernetes::api_server;

/// Stands wherever a credential can.
const MARK: &str = "very-secret-credential";

/// PEM in base64: a begin line is all that is looked at.
const PEM: &str = "LS0tLS1CRUdJTiBYLS0tLS0K";

/// In a network namespace of the test's own no other is in use.
const ADMIN: &str = "127.0.0.1:15000";
const STATS: &str = "127.0.0.1:15020";

/// Of each: what its cluster and its user have, and what is said of it.
fn hostile() -> Vec<(&'static str, Value, Value, &'static str)> {
    let server = json!({"server": "https://10.9.9.9:6443"});
    let with = |key: &str, value: Value| {
        let mut cluster = server.clone();
        cluster[key] = value;
        cluster
    };
    let login = json!({"token": MARK});
    let of = |key: &str, value: Value| json!({"token": MARK, key: value});
    let run =
        json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": [MARK]});
    let vendor = json!({"name": "gcp", "config": {"access-token": MARK}});
    vec![
        (
            "http",
            json!({"server": "http://10.9.9.9"}),
            login.clone(),
            "not https",
        ),
        (
            "userinfo",
            json!({"server": format!("https://me:{MARK}@10.9.9.9")}),
            login.clone(),
            "user name or password",
        ),
        (
            "authority",
            with("certificate-authority", "/etc/ca".into()),
            login.clone(),
            "'certificate-authority'",
        ),
        (
            "insecure",
            with("insecure-skip-tls-verify", true.into()),
            login.clone(),
            "'insecure-skip-tls-verify'",
        ),
        (
            "proxy",
            with("proxy-url", format!("http://me:{MARK}@proxy").into()),
            login,
            "'proxy-url'",
        ),
        ("exec", server.clone(), of("exec", run), "'exec'"),
        (
            "vendor",
            server.clone(),
            of("auth-provider", vendor),
            "'auth-provider'",
        ),
        (
            "file",
            server.clone(),
            json!({"tokenFile": "/etc/shadow"}),
            "'tokenFile'",
        ),
        (
            "chain",
            server.clone(),
            json!({"client-certificate": "/c", "client-key-data": PEM}),
            "'client-certificate'",
        ),
        (
            "key",
            server.clone(),
            json!({"client-key": "/k", "client-certificate-data": PEM}),
            "'client-key'",
        ),
        (
            "password",
            server.clone(),
            json!({"username": "me", "password": MARK}),
            "'username'",
        ),
        ("as", server.clone(), of("as", "admin".into()), "'as'"),
        ("nobody", server.clone(), json!({}), "neither a token nor"),
        (
            "noise",
            server,
            json!({"client-certificate-data": MARK, "client-key-data": MARK}),
            "not base64 of PEM",
        ),
    ]
}

fn secret(id: &str, kubeconfig: &str) -> String {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("hostile-{id}"), "namespace": "istio-system", "labels": {"istio/multiCluster": "true"}},
        "stringData": {id: kubeconfig},
    });
    secret.to_string()
}

fn kubeconfig(cluster: &Value, user: &Value) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": user}],
    });
    config.to_string()
}

/// A running gateway; ended when this is dropped.
struct Gateway(Child);

impl Gateway {
    fn start(folder: &Path, kubeconfig: &Path) -> Self {
        let file = folder.join("gateway.yaml");
        let text = format!(
            "cluster: ap\nnetwork: network1\nlocality: ap-south/a\nnamespace: istio-system\nlabels: {{istio: eastwestgateway}}\n\
             listeners: [{{address: '10.1.255.1:15443', role: inbound}}]\n\
             log: {{level: trace, format: json}}\n\
             source: {{kubernetes: {{kubeconfig: '{}', snapshot: '{}'}}}}\n",
            kubeconfig.display(),
            folder.join("kept").display()
        );
        std::fs::write(&file, text).expect("written");
        let said = |name: &str| File::create(folder.join(name)).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_causeway-under-test"))
            .args(["run", "--config"])
            .arg(&file)
            // The gateway takes every such variable for a setting.
            .env_remove("CAUSEWAY_TEST_NAMESPACE")
            .stdin(Stdio::null())
            .stdout(said("out"))
            .stderr(said("log"))
            .spawn();
        Self(child.expect("it starts"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_secrets_are_refused_by_name_and_no_credential_is_told() {
    let test = "kubernetes_hostile::hostile_secrets_are_refused_by_name_and_no_credential_is_told";
    let Some(binary) = api_server(test) else {
        return;
    };
    let pki = sidecar::Pki::new();
    let ap = Region::start(&binary, &pki, 1).await;
    let eu = Region::start(&binary, &pki, 3).await;
    let good = eu.remote_secret().await;
    let token = good
        .split("token: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let token = token
        .expect("a token")
        .trim_matches(['"', '\'', ' '])
        .to_owned();
    assert!(token.len() > 100, "{token}");
    ap.plane.apply(&good).await;
    for (id, cluster, user, _) in hostile() {
        ap.plane
            .apply(&secret(id, &kubeconfig(&cluster, &user)))
            .await;
    }
    ap.plane
        .apply(&secret("text", &format!("users: [{{name: {MARK}, user: [")))
        .await;

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("kept")).expect("a folder");
    let _gateway = Gateway::start(folder.path(), &ap.plane.kubeconfig());
    let [admin, stats]: [SocketAddr; 2] = [ADMIN, STATS].map(|it| it.parse().expect("an address"));
    until_async("it answers", async || {
        tokio::net::TcpStream::connect(admin).await.is_ok()
    })
    .await;
    until_async(
        "the good one is synced and each other one refused",
        async || {
            let source = get(admin, "/source").await.json();
            let clusters = source["clusters"].as_object().cloned().unwrap_or_default();
            let refused = clusters.values().filter(|one| one["state"] == "refused");
            clusters.get("eu").is_some_and(|eu| eu["state"] == "synced")
                && refused.count() == hostile().len() + 1
        },
    )
    .await;
    let source = get(admin, "/source").await.json();
    let pending = |id: &str| {
        source["clusters"][id]["pending"]
            .as_str()
            .unwrap_or_default()
    };
    for (id, _, _, word) in hostile() {
        let said = pending(id);
        let secret = format!("istio-system/hostile-{id}");
        assert!(
            said.contains(word) && said.contains(&secret),
            "{id}: {said}"
        );
    }
    assert!(
        pending("text").contains("cannot be read"),
        "{}",
        pending("text")
    );
    until_async("what is known is kept", async || {
        !get(admin, "/source").await.json()["disk"]["writtenAt"].is_null()
    })
    .await;

    let mut told = Vec::new();
    for path in [
        "/config",
        "/connections",
        "/endpoints",
        "/failures",
        "/mesh",
        "/networks",
        "/routes",
        "/snapshot",
        "/source",
        "/status",
        "/xds",
    ] {
        let answer = get(admin, path).await;
        assert_eq!(answer.status, 200, "{path}");
        told.push((path.to_owned(), answer.body));
    }
    told.push(("the metrics".into(), get(stats, "/metrics").await.body));
    let clusters = Command::new(env!("CARGO_BIN_EXE_causeway-under-test"))
        .arg("clusters")
        .output();
    let clusters = clusters.expect("it runs");
    let table = String::from_utf8_lossy(&clusters.stdout).into_owned();
    assert!(
        clusters.status.success() && table.contains("hostile-exec"),
        "{table}"
    );
    told.push(("causeway clusters".into(), table));
    for file in files(folder.path()) {
        let bytes = std::fs::read(&file).expect("a file");
        told.push((
            file.display().to_string(),
            String::from_utf8_lossy(&bytes).into_owned(),
        ));
    }
    let log = told.iter().find(|(name, _)| name.ends_with("/log"));
    let (_, log) = log.expect("a log");
    assert!(
        log.contains("\"TRACE\"") && log.contains("hostile-exec"),
        "it says much"
    );
    for credential in [MARK.to_owned(), base64(MARK.as_bytes()), token] {
        for (name, text) in &told {
            let at = text.find(&credential).map(|at| text[..at].lines().last());
            assert!(at.is_none(), "{name} tells a credential, behind {at:?}");
        }
    }
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
