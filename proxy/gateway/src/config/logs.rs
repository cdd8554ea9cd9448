//! What is written down: the log of the gateway itself, and the access log. It must not write anything.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is written to standard error.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Log {
    /// From which level on; `info` by default.
    pub level: Level,
    /// `text` (default) or `json`.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What stops something from working.
    Error,
    /// What may soon.
    Warn,
    /// What changes.
    #[default]
    Info,
    /// What helps to find a defect.
    Debug,
    /// Everything.
    Trace,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// One line for each connection that ended. Failures are always written; probes never are.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AccessLog {
    /// `json` (default), or `text`: Istio's default line.
    pub format: AccessLogFormat,
    /// Where lines go: `-` (default) is standard output, anything else a file, which is opened again on SIGHUP.
    pub path: PathBuf,
    /// Connections that ended well: `off` (default), `sampled`, `on`.
    pub successes: Successes,
    /// Share of them when sampled, from 0 to 1; 0.01 by default.
    pub sample: f64,
    /// Lines a second for each reason of failure; 100 by default. What is left out is counted in the next line.
    pub failures_per_second: u32,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    /// One JSON object a line, with everything that is known.
    #[default]
    Json,
    /// Istio's default text line, so that parsers of it keep working.
    Text,
}

/// Which connections that ended well are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Successes {
    /// None.
    #[default]
    Off,
    /// A share of them.
    Sampled,
    /// All.
    On,
}

impl AccessLog {
    /// Whether lines go to standard output.
    #[must_use]
    pub fn is_standard_output(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Share of the connections that ended well that is written, from 0 to 1.
    #[must_use]
    pub fn success_share(&self) -> f64 {
        match self.successes {
            Successes::Off => 0.0,
            Successes::Sampled => self.sample,
            Successes::On => 1.0,
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            format: AccessLogFormat::default(),
            path: "-".into(),
            successes: Successes::default(),
            sample: 0.01,
            failures_per_second: proxy::config::Reports::default().failures_per_second,
        }
    }
}
