//! A real kube-apiserver with its etcd, as a child: RBAC on, no controllers. It must not outlive the test.

mod apply;

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use discovery::kubernetes::api::Api;
use discovery::kubernetes::client::{self, Home, Local};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) use self::apply::{documents, passes, path_of};

/// How often a start is tried.
const STARTS: usize = 3;

/// A running API server; killed when this is dropped.
pub struct ControlPlane {
    binary: PathBuf,
    address: IpAddr,
    port: u16,
    folder: TempDir,
    process: Option<Child>,
    home: Home,
}

impl ControlPlane {
    /// Starts one on a free port of this address, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not come so far; with what it said.
    pub async fn start(binary: &Path, address: IpAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let process = spawn(binary, folder.path(), address, 0).await;
        let home = connect(folder.path()).await;
        let port = home.server.trim_end_matches('/').rsplit(':').next();
        Self {
            binary: binary.to_owned(),
            address,
            port: port.and_then(|port| port.parse().ok()).expect("a port"),
            folder,
            process: Some(process),
            home,
        }
    }

    /// The administrator's connection.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The same, to ask with.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.home.api
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(self.folder.path())
    }

    /// Stops it in its tracks: connections stay open, and nothing comes back.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`ControlPlane::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it; its data stay.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Kills it, and starts it again at the same address with the same credentials, with its objects or without.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self, with_objects: bool) {
        self.kill();
        if !with_objects {
            let objects = self.folder.path().join("etcd");
            std::fs::remove_dir_all(objects).expect("its objects go");
        }
        let process = spawn(&self.binary, self.folder.path(), self.address, self.port).await;
        self.process = Some(process);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("it takes signals");
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts it, and again where it ends instead of getting ready: on a busy machine it gives itself too little time for what it does
/// first, and a port that was free a moment ago may be taken.
async fn spawn(binary: &Path, folder: &Path, address: IpAddr, port: u16) -> Child {
    let mut said = String::new();
    for _ in 0..STARTS {
        match try_spawn(binary, folder, address, port).await {
            Ok(process) => return process,
            Err(log) => said = log,
        }
    }
    panic!("the API server does not get ready: {said}");
}

/// Starts the program and waits for its kubeconfig, which it prints once it is ready; or gives what it said.
async fn try_spawn(
    binary: &Path,
    folder: &Path,
    address: IpAddr,
    port: u16,
) -> Result<Child, String> {
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut process = Command::new(binary)
        .arg("-data")
        .arg(folder)
        .args(["-address", &address.to_string(), "-port", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the API server starts");
    let out = process.stdout.take().expect("its standard output");
    let reading = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        lines.join("\n")
    });
    let said = reading.await.expect("read");
    if !said.contains("current-context") {
        let _ = process.kill();
        let _ = process.wait();
        return Err(std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }
    std::fs::write(kubeconfig(folder), said).expect("written");
    Ok(process)
}

fn kubeconfig(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}

async fn connect(folder: &Path) -> Home {
    let local = Local {
        kubeconfig: Some(kubeconfig(folder)),
        context: None,
    };
    client::local(&local).await.expect("its own kubeconfig")
}
