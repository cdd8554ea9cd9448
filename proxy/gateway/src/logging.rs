//! The gateway's own log, on standard error, and its level while it runs. One for the process.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Level, Log, LogFormat};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts it. The variable `RUST_LOG`, where it is set, overrides the level.
pub(crate) fn start(config: &Log) {
    let level = match config.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    // The Kubernetes client says of each failed request that it failed; discovery says which cluster's, and why.
    let usual = match config.level {
        Level::Error | Level::Warn | Level::Info => format!("{level},kube_client=off"),
        Level::Debug | Level::Trace => level.to_owned(),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
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
}

/// Sets the level from now on: `debug`, or a level for each part, like `info,proxy=debug`.
///
/// # Errors
/// When it is no level, or the log is not ours.
pub(crate) fn set_level(level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|fault| {
        format!("{level:?} is no level ({fault}): give error, warn, info, debug or trace, or one for each part, like info,proxy=debug")
    })?;
    let handle = FILTER
        .get()
        .ok_or("the log of this process is not the gateway's")?;
    handle.reload(filter).map_err(|fault| fault.to_string())
}
