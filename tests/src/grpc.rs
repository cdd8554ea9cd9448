//! gRPC of another implementation (C core, by Python) as a child: endpoints, and clients that find them by `xds:///`. It must
//! decide nothing that a story is about.

mod install;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::CannotBuild;

/// Where gRPC is, fetched now if it was not; or why the story that asks for it is skipped.
///
/// # Errors
/// What is missing.
pub fn find_grpc() -> Result<PathBuf, CannotBuild> {
    install::install()
}

/// A running Python with gRPC, ended when this is dropped.
pub struct Grpc {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: TempDir,
}

impl Grpc {
    /// Starts it with this bootstrap for `xds:///`, and these variables more.
    ///
    /// # Panics
    /// When Python cannot be started.
    #[must_use]
    pub fn start(modules: &Path, bootstrap: &str, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bootstrap.json");
        std::fs::write(&file, bootstrap).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut process = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("grpc/peer.py"))
            .env("PYTHONPATH", modules)
            .env("GRPC_XDS_BOOTSTRAP", &file)
            .envs(more.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("Python can be started");
        Self {
            to: process.stdin.take().expect("its input"),
            from: BufReader::new(process.stdout.take().expect("its output")),
            process,
            folder,
        }
    }

    /// Gives a command of `tests/grpc/peer.py`, and waits for what it says to it.
    ///
    /// # Panics
    /// When Python has ended; with what it said.
    pub fn tell(&mut self, command: &str) -> Value {
        let mut line = String::new();
        let told = writeln!(self.to, "{command}").and_then(|()| self.from.read_line(&mut line));
        if told.is_err() || line.is_empty() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            panic!("{command}: {}", log.unwrap_or_default());
        }
        serde_json::from_str(&line).expect("JSON")
    }

    /// An endpoint that says this name, on a free port of a loopback address of its own.
    ///
    /// # Panics
    /// When there is no such port.
    pub fn serve(&mut self, name: &str) -> SocketAddr {
        let ip = sidecar::fresh_loopback();
        let port = self.tell(&format!("serve {ip}:0 {name}"))["port"].as_u64();
        let port = port.and_then(|port| u16::try_from(port).ok());
        SocketAddr::new(ip, port.expect("a port"))
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
