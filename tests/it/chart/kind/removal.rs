//! The quickstart takes and removes what it made and nothing else, and says what it lacks before it begins.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// What the scripts use of any system.
const USUAL: [&str; 9] = [
    "bash", "cat", "cut", "dirname", "grep", "head", "rm", "rmdir", "sh",
];

/// A copy of the scripts, with programs in the place of those that make clusters; each writes down how it was called.
struct Copy {
    folder: TempDir,
}

impl Copy {
    /// With these programs, and no others of this machine's than the usual ones; `kind` has a cluster `ap`.
    fn with(programs: &[&str]) -> Self {
        let copy = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir_all(copy.scripts()).expect("a folder");
        fs::create_dir(copy.programs()).expect("a folder");
        for entry in fs::read_dir(super::folder()).expect("the scripts") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "sh") {
                let to = copy.scripts().join(path.file_name().expect("a name"));
                fs::copy(&path, to).expect("copied");
            }
        }
        for program in USUAL {
            symlink(installed(program), copy.programs().join(program)).expect("linked");
        }
        for program in programs {
            let path = copy.programs().join(program);
            fs::write(&path, PROGRAM).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
        }
        copy
    }

    fn scripts(&self) -> PathBuf {
        self.folder.path().join("deploy/kind")
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn certificates(&self) -> PathBuf {
        self.folder.path().join("certificates")
    }

    fn run(&self, script: &str, clusters: &str) -> Output {
        let mut command = Command::new(self.scripts().join(script));
        command
            .env_clear()
            .env("PATH", self.programs())
            .env("CALLS", self.folder.path().join("calls"))
            .env("CLUSTERS", clusters)
            .env("CERTIFICATES", self.certificates())
            .env("CAUSEWAY", super::CAUSEWAY)
            .stdin(Stdio::null());
        command.output().expect("it runs")
    }

    /// How programs were called, one a line.
    fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default()
    }
}

/// Where this machine has a program.
fn installed(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(program));
    files.find(|file| file.is_file()).expect(program)
}

const PROGRAM: &str = r#"#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
[ "$*" != "get clusters" ] || echo ap
[ "$1 $2" != "network inspect" ] || echo 172.18.0.0/16
"#;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(folder: &Path, names: &[&str]) {
    fs::create_dir_all(folder).expect("a folder");
    for name in names {
        fs::write(folder.join(name), "").expect("written");
    }
}

#[test]
fn only_what_was_made_is_removed() {
    let copy = Copy::with(&["kind"]);
    let keys = ["root.key", "root.pem", "root.srl", "us.key", "us.chain.pem"];
    write(&copy.certificates(), &keys);
    write(&copy.certificates(), &["precious"]);
    for (clusters, made) in [("kind", ""), ("own", "us\n")] {
        fs::write(copy.scripts().join(".clusters"), made).expect("written");
        let output = copy.run("down.sh", clusters);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(copy.calls(), "", "{clusters}, {made:?}");
    }
    let left = fs::read_dir(copy.certificates()).expect("it is somebody's");
    let left: Vec<_> = left.map(|one| one.expect("a file").file_name()).collect();
    assert_eq!(left, ["precious"]);

    fs::remove_file(copy.certificates().join("precious")).expect("removed");
    for _ in 0..2 {
        let output = copy.run("down.sh", "kind");
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(copy.calls(), "kind delete cluster --name us\n");
    }
    assert!(!copy.certificates().exists());
}

#[test]
fn a_cluster_of_somebody_else_is_not_taken() {
    let copy = Copy::with(&["docker", "helm", "kind", "kubectl"]);
    let output = copy.run("clusters.sh", "kind");
    assert!(!output.status.success());
    let why = said(&output);
    assert!(
        why.contains("kind cluster ap that this did not make"),
        "{why}"
    );
    assert_eq!(copy.calls(), "kind get clusters\n");

    // That it is made is written down first, so that one that was made by half is removed too.
    fs::write(copy.scripts().join(".clusters"), "ap\n").expect("written");
    let output = copy.run("clusters.sh", "kind");
    assert!(output.status.success(), "{}", said(&output));
    assert!(copy.calls().contains("kind create cluster --name us"));
    assert!(!copy.calls().contains("create cluster --name ap"));
    let output = copy.run("down.sh", "kind");
    assert!(output.status.success(), "{}", said(&output));
    for region in super::REGIONS {
        let call = format!("kind delete cluster --name {region}\n");
        assert!(copy.calls().contains(&call), "{}", copy.calls());
    }
}

#[test]
fn what_is_missing_is_said_before_anything_is_made() {
    for (programs, clusters, missing) in [
        (&["kubectl", "openssl"][..], "own", "helm"),
        (&["helm", "kubectl", "openssl", "docker"], "kind", "kind"),
    ] {
        let copy = Copy::with(programs);
        let output = copy.run("up.sh", clusters);
        assert!(!output.status.success(), "{missing}");
        let why = said(&output);
        assert_eq!(why, format!("up.sh: {missing} is not installed\n"));
        assert_eq!(copy.calls(), "");
    }
}
