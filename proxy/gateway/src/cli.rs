//! The command line: `run`, `status`, `explain`, `clusters`, `create-remote-secret`, `demo`, `config`. It must not do what they
//! do.

mod ask;
mod clusters;
mod columns;
mod explain;
mod remote_secret;
mod status;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::de::IgnoredAny;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::{self, Gateway, Override};
use crate::{demo, logging};

/// The version, as in the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where the build says it.
pub const COMMIT: &str = match option_env!("CAUSEWAY_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// How long a stop may take that must not wait for anybody: a slow disk, or who does not read what is written.
const AT_ONCE: Duration = Duration::from_secs(2);

/// How long a thread that has had something slow to do waits for more; tokio's default is ten seconds.
const THREADS_STAY: Duration = Duration::from_millis(100);

/// A cross-cluster gateway for meshes: mutual TLS in, routed by server name to the closest healthy endpoint, never decrypted.
#[derive(Parser)]
#[command(name = "causeway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway.
    Run {
        /// The configuration, gateway.yaml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Overrides one setting, like admin.address=127.0.0.1:0; may be given several times.
        #[arg(long, value_name = "PATH=VALUE")]
        set: Vec<String>,
    },
    /// Shows the whole job on this machine: three regions, real TLS, scripted failures.
    Demo {
        /// How long the script takes, in seconds; 0 repeats it until Ctrl-C.
        #[arg(long = "for", value_name = "SECONDS")]
        duration: Option<u64>,
        /// Prints plain lines instead of a live table, as it does where standard output is no terminal.
        #[arg(long)]
        no_tty: bool,
    },
    /// Shows a running gateway at a glance; fails while it is not ready.
    Status(status::Options),
    /// Says what would become of a server name in a running gateway, and why; fails where nobody would serve it.
    Explain(explain::Options),
    /// Lists the clusters that a running gateway knows, and what is wrong with them.
    Clusters(clusters::Options),
    /// Prints a Secret by which other clusters find this one; applies an account that may read what they need.
    CreateRemoteSecret(remote_secret::Options),
    /// Checks configuration files and describes them.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Prints the JSON schema of gateway.yaml and mesh.yaml.
    Schema,
    /// Checks a gateway.yaml (and the mesh.yaml that it names), or a mesh.yaml, without starting anything.
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// Runs the command line; errors are one message on standard error.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { config, set } => run(config, &set),
        Command::Demo { duration, no_tty } => demo::run(demo::Options {
            duration: duration.map(Duration::from_secs),
            tty: !no_tty && io::stdout().is_terminal(),
        }),
        Command::Status(options) => status::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Clusters(options) => clusters::run(&options),
        Command::CreateRemoteSecret(options) => remote_secret::run(options),
        Command::Config {
            command: ConfigCommand::Schema,
        } => schema(),
        Command::Config {
            command: ConfigCommand::Check { file },
        } => check(&file),
    };
    done.unwrap_or_else(|fault| {
        say_last(format!("causeway: {fault:#}\n"));
        ExitCode::FAILURE
    })
}

/// Writes to standard error, but not for long: where nobody reads it, the process has to end all the same, so that it can be
/// started again.
fn say_last(text: String) {
    let (done, written) = sync_channel(1);
    let writing = std::thread::Builder::new().spawn(move || {
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    });
    if writing.is_ok() {
        let _ = written.recv_timeout(AT_ONCE);
    }
}

fn run(file: Option<PathBuf>, set: &[String]) -> anyhow::Result<ExitCode> {
    let mut overrides = Override::variables(std::env::vars_os());
    for argument in set {
        overrides.push(Override::argument(argument)?);
    }
    let (config, unknown) = config::load(file.as_deref(), &overrides)?;
    logging::start(&config.log).context("no thread for the log")?;
    for variable in unknown {
        tracing::warn!(
            variable,
            "no setting has this name, so it does nothing; 'causeway config schema' lists all settings"
        );
    }
    // Where they are always given, memory grows in steps of 2 MiB: a gateway of ten megabytes would have thirty.
    if let Err(fault) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%fault, "transparent huge pages stay on");
    }
    // Its own runtime: the control plane and the HTTP servers never run on a worker's thread.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // A file is read and a name looked up on a thread for that, and the allocator keeps memory for it while it is there.
        .thread_keep_alive(THREADS_STAY)
        .enable_all()
        .build()?;
    let ran = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        // A cluster that does not answer is waited for, and whoever waits can be stopped.
        let app = tokio::select! {
            app = App::start(config) => Some(app?),
            _ = terminate.recv() => None,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(app) = app else {
            tracing::info!("told to stop before the start was over");
            return anyhow::Ok(());
        };
        loop {
            tokio::select! {
                _ = hang_up.recv() => app.reopen_access_log(),
                _ = terminate.recv() => break,
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        let drained = {
            let mut draining = pin!(app.drain());
            loop {
                tokio::select! {
                    () = &mut draining => break true,
                    _ = hang_up.recv() => app.reopen_access_log(),
                    _ = terminate.recv() => break false,
                    _ = tokio::signal::ctrl_c() => break false,
                }
            }
        };
        let mut stopping = pin!(app.stop());
        if drained {
            tokio::select! {
                () = &mut stopping => return anyhow::Ok(()),
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        tracing::warn!("a second signal: stopping now");
        // What is not on disk by then is read anew.
        let _ = tokio::time::timeout(AT_ONCE, stopping).await;
        anyhow::Ok(())
    });
    // Before the error that ends it, if one does.
    runtime.block_on(logging::finish());
    runtime.shutdown_background();
    ran?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. Who reads it may have seen enough (`causeway status | head`): that is no fault.
pub(crate) fn say(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

/// Writes a page for people.
fn show(page: &str) -> io::Result<()> {
    say(&plain(page))
}

/// A text that cannot steer a terminal: names and errors in it come from other clusters, which may say anything.
fn plain(text: &str) -> String {
    let plain = |c: char| match c {
        '\n' => c,
        _ if c.is_control() => char::REPLACEMENT_CHARACTER,
        _ => c,
    };
    text.chars().map(plain).collect()
}

fn schema() -> anyhow::Result<ExitCode> {
    let both = serde_json::json!({
        "gateway": schemars::schema_for!(Gateway),
        "mesh": schemars::schema_for!(discovery::file::MeshFile),
    });
    say(&(serde_json::to_string_pretty(&both)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn check(file: &PathBuf) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    if is_mesh(&text) {
        discovery::file::load(file)?;
        println!("{}: a good mesh file", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let (gateway, _) = config::load(Some(file), &[])?;
    println!("{}: a good gateway file", file.display());
    if let Some(mesh) = gateway.source.file {
        discovery::file::load(&mesh)?;
        println!("{}: a good mesh file", mesh.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// A file with services or networks at its top is a mesh.yaml. Where it cannot be read as YAML, lines have to tell.
fn is_mesh(text: &str) -> bool {
    let mesh_keys = ["services", "networks", "passthrough"];
    match discovery::yaml::read::<BTreeMap<String, IgnoredAny>>("", text) {
        Ok(top) => mesh_keys.iter().any(|key| top.contains_key(*key)),
        Err(_) => {
            let starts = |line: &str, key: &str| {
                let rest = line.strip_prefix(key);
                rest.is_some_and(|rest| rest.starts_with(':'))
            };
            let mut lines = text.lines();
            lines.any(|line| mesh_keys.iter().any(|key| starts(line, key)))
        }
    }
}
