//! The gateway's own log, on standard error, and its level while it runs. One for the process. It must not hold up whoever has
//! something to say: what standard error does not take in time is lost and counted.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Level, Log, LogFormat};
use crate::lines::{To, Writer};

/// How long the last lines may take when the gateway stops.
const LAST_LINES: Duration = Duration::from_secs(1);

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

static LINES: OnceLock<Writer> = OnceLock::new();

/// Starts it. The variable `RUST_LOG`, where it is set, overrides the level.
///
/// # Errors
/// When there is no thread to be had for it.
pub(crate) fn start(config: &Log) -> io::Result<()> {
    let writer = Writer::start("log", To::Error)?;
    let _ = LINES.set(writer.clone());
    // The standard hook writes to standard error itself, and a worker would wait there for who does not read it.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a fault of the gateway itself; it is worth a report");
    }));
    let level = match config.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives(level)));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(move || Line(writer.clone()));
    let started = match config.format {
        LogFormat::Text => tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init(),
        LogFormat::Json => tracing_subscriber::registry()
            .with(filter)
            .with(lines.json())
            .try_init(),
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// What a level means. The Kubernetes client says of each failed request that it failed; discovery says which cluster's, and why.
fn directives(level: &str) -> String {
    match level {
        "error" | "warn" | "info" => format!("{level},kube_client=off"),
        other => other.to_owned(),
    }
}

/// Waits until everything that was said is written, but not for long.
pub(crate) async fn finish() {
    if let Some(writer) = LINES.get() {
        let _ = tokio::time::timeout(LAST_LINES, writer.flush()).await;
    }
}

/// Lines that standard error did not take.
pub(crate) fn lost() -> u64 {
    let writer = LINES.get();
    writer.map_or(0, |writer| writer.counts().lost.load(Relaxed))
}

/// Sets the level from now on: `debug`, or a level for each part, like `info,proxy=debug`.
///
/// # Errors
/// When it is no level, or the log is not ours.
pub(crate) fn set_level(level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(directives(level)).map_err(|fault| {
        format!("{level:?} is no level ({fault}): give error, warn, info, debug or trace, or one for each part, like info,proxy=debug")
    })?;
    let handle = FILTER
        .get()
        .ok_or("the log of this process is not the gateway's")?;
    handle.reload(filter).map_err(|fault| fault.to_string())
}

/// One line: the subscriber writes each in one piece.
struct Line(Writer);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
