//! go-control-plane (`tests/foreign`) as a child: its xDS client or its server. It must decide nothing that a story is about.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running client or server, ended when this is dropped.
pub struct Foreign {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Foreign {
    /// Starts it; `tests/foreign/main.go` says with what.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(binary: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(binary)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        Self {
            to: process.stdin.take().expect("its input"),
            from: BufReader::new(process.stdout.take().expect("its output")),
            process,
        }
    }

    /// The next line that it says, waited for.
    ///
    /// # Panics
    /// When it has ended; what it said of that is on standard error.
    pub fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("UTF-8");
        serde_json::from_str(&line).expect("it goes on, and says JSON")
    }

    /// Gives it a line, and waits for what it says to that.
    ///
    /// # Panics
    /// When it has ended.
    pub fn tell(&mut self, line: &str) -> Value {
        writeln!(self.to, "{line}").expect("it reads");
        self.hear()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
