//! What a figure must not be read without: the machine, the kernel, the day, the commit. It must not fail: what cannot be found
//! out is said so.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::namespace;
use crate::peers::workspace;

/// Where and when.
#[derive(Clone, Debug)]
pub struct Machine {
    /// In UTC, to the second.
    pub date: String,
    /// What the processor calls itself.
    pub processor: String,
    /// The kernel's release.
    pub kernel: String,
    /// TCP's congestion control.
    pub congestion_control: String,
    /// Of the work tree that this was run from, with a `+` where something is not committed.
    pub commit: String,
    /// How this was called.
    pub command: String,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here() -> Self {
        let processor = read("/proc/cpuinfo");
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
        let mark = if changed.is_empty() { "" } else { "+" };
        let commit = git(&["rev-parse", "--short", "HEAD"]);
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            date: jiff::Timestamp::now().strftime("%F %T UTC").to_string(),
            processor: processor.to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: namespace::congestion_control(),
            commit: format!("{commit}{mark}"),
            command: format!("bench {}", arguments.join(" ")),
        }
    }

    /// All of it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "date": self.date,
            "processor": self.processor,
            "kernel": self.kernel,
            "congestionControl": self.congestion_control,
            "commit": self.commit,
            "command": self.command,
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned())
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(workspace())
        .args(arguments)
        .output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
