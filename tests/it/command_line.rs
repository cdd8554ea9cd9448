//! The command line as people type it: the two files of the README, checked and run, and what a mistake is told.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tests::{get, until_async};

const README: &str = include_str!("../../README.md");

/// The README's example of a file: what stands between the fences around its first line, `# NAME`.
fn example(name: &str) -> &'static str {
    let mark = format!("```yaml\n# {name}\n");
    let (_, rest) = README.split_once(&mark).expect("the example");
    rest.split_once("```").expect("its end").0
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["gateway.yaml", "mesh.yaml"] {
        fs::write(folder.path().join(name), example(name)).expect("written");
    }
    folder
}

fn causeway(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway-under-test"));
    command.current_dir(folder.path());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn files_are_checked_without_starting_anything() {
    let folder = folder();
    let check = |file: &str| {
        let output = causeway(&folder).args(["config", "check", file]).output();
        let output = output.expect("it runs");
        (output.status.code(), said(&output))
    };
    let (code, good) = check("gateway.yaml");
    assert_eq!(code, Some(0), "{good}");
    assert!(
        good.contains("gateway.yaml: a good gateway file")
            && good.contains("mesh.yaml: a good mesh file"),
        "{good}"
    );
    assert_eq!(check("mesh.yaml").0, Some(0));
    for (file, old, new, expected) in [
        ("mesh.yaml", "weight: 1", "wieght: 1", "mesh.yaml:12: "),
        ("mesh.yaml", "weight: 1", "weight: 0", "mesh.yaml:12: "),
        (
            "mesh.yaml",
            "number: 5000",
            "number: 500000",
            "mesh.yaml:8: ",
        ),
        ("gateway.yaml", "regions:", "regoins:", "gateway.yaml:4: "),
        (
            "gateway.yaml",
            "role: outbound",
            "role: out",
            "gateway.yaml:7: ",
        ),
        (
            "gateway.yaml",
            "127.0.0.1:15000",
            "0.0.0.0:15000",
            "gateway.yaml:8: admin.address: ",
        ),
    ] {
        assert!(example(file).contains(old), "{old}");
        let wrong = example(file).replacen(old, new, 1);
        fs::write(folder.path().join(file), wrong).expect("written");
        // The gateway's file names the other one.
        for asked in ["gateway.yaml", file] {
            let (code, told) = check(asked);
            assert_eq!(code, Some(1), "{new}: {told}");
            assert!(told.contains(expected), "{new}: {told}");
        }
        fs::write(folder.path().join(file), example(file)).expect("written");
    }
    let (code, told) = check("nowhere.yaml");
    assert_eq!(code, Some(1));
    assert!(told.contains("nowhere.yaml cannot be read: "), "{told}");
}

/// However a file is written, it is known by what stands at its top.
#[test]
fn a_mesh_file_is_known_in_any_style() {
    let folder = folder();
    let service = r#"{"host": "a.example", "ports": [{"number": 80}]}"#;
    for (text, expected) in [
        (format!("{{services: [{service}]}}\n"), "a good mesh file"),
        (
            format!("{{\n  \"services\":\n    [{service}]\n}}\n"),
            "a good mesh file",
        ),
        (
            "\"networks\": {n: {gateways: []}}\n".to_owned(),
            "a good mesh file",
        ),
        ("services : []\n".to_owned(), "a good mesh file"),
        (
            format!("{{services: [{service}], networsk: {{}}}}\n"),
            "unknown field `networsk`",
        ),
        // What stands further down tells nothing.
        (
            "{labels: {services: a}, source: {file: mesh.yaml}}\n".to_owned(),
            "a good gateway file",
        ),
        ("labels: |-\nservices:\n  - host: [".to_owned(), "any.yaml:"),
    ] {
        fs::write(folder.path().join("any.yaml"), &text).expect("written");
        let mut checking = causeway(&folder);
        let output = checking.args(["config", "check", "any.yaml"]).output();
        let told = said(&output.expect("it runs"));
        assert!(told.contains(expected), "{text}{told}");
    }
}

#[test]
fn the_schema_is_of_both_files() {
    let output = causeway(&folder()).args(["config", "schema"]).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (file, key) in [("gateway", "listeners"), ("mesh", "services")] {
        let described = &schema[file]["properties"][key]["description"];
        assert!(described.is_string(), "{file}: {schema}");
    }
}

/// The README's files as they stand, but for the ports, which another gateway may have on this machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_runs_with_overrides_and_says_where_it_listens() {
    let folder = folder();
    let mut gateway = causeway(&folder)
        .args(["run", "--config", "gateway.yaml"])
        .args(["--set", "listeners.0.address=127.0.0.1:0"])
        .args(["--set", "listeners.1.address=[::1]:0"])
        .args([
            "--set",
            "log.format=json",
            "--set",
            "accessLog.path=access.log",
        ])
        .args([
            "--set",
            "ready.address=127.0.0.1:0",
            "--set",
            "drain.announce=1ms",
        ])
        .env("CAUSEWAY_ADMIN_ADDRESS", "127.0.0.1:0")
        .env("CAUSEWAY_STATS_ADDRESS", "127.0.0.1:0")
        .env("CAUSEWAY_READY_ADDRESS", "127.0.0.1:1")
        .env("CAUSEWAY_WORKERS", "2")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let log = BufReader::new(gateway.stderr.take().expect("its log"));
    let mut bound = Vec::new();
    let mut lines = log.lines();
    let admin: SocketAddr = loop {
        let line = lines.next().expect("it goes on").expect("text");
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        if let Some(address) = line["fields"]["address"].as_str() {
            bound.push(address.to_owned());
        }
        if let Some(admin) = line["fields"]["admin"].as_str() {
            break admin.parse().expect("an address");
        }
    };
    let config = get(admin, "/config").await.json();
    let listeners: Vec<String> =
        serde_json::from_value(config["bound"]["listeners"].clone()).expect("a list");
    assert_eq!(listeners, bound, "the log and /config: {config}");
    for address in &listeners {
        let address: SocketAddr = address.parse().expect("an address");
        assert!(
            address.ip().is_loopback() && address.port() > 0,
            "{address}"
        );
    }
    let ready = config["bound"]["ready"].as_str().expect("an address");
    let ready = ready.parse().expect("an address");
    until_async("it is ready", async || {
        get(ready, "/healthz/ready").await.status == 200
    })
    .await;
    let pid = i32::try_from(gateway.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::TERM).expect("told");
    let status = tokio::task::spawn_blocking(move || {
        // Who does not read what is said may not be able to end.
        lines.for_each(drop);
        gateway.wait()
    });
    let status = status.await.expect("waited").expect("its end");
    assert!(status.success(), "{status}");
}
