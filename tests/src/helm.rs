//! Helm, built once, and the chart `deploy/helm/causeway` as it renders. It must not know what ought to come out.

mod build;
mod pod;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::CannotBuild;
use crate::control_plane::documents;

pub use self::pod::{Pod, pod};

/// Prints the notes, which `helm template` leaves out.
const NOTES: &str =
    "notes: |\n  {{- include (print $.Template.BasePath \"/NOTES.txt\") . | nindent 2 }}\n";

/// The program.
#[derive(Clone, Debug)]
pub struct Helm {
    binary: PathBuf,
    chart: PathBuf,
}

/// A release: what it is called, where it goes, and with which arguments (`--set`, `--values`).
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// More arguments.
    pub arguments: &'a [&'a str],
}

impl Helm {
    /// Helm and our chart; Helm is built now if it was not, which takes some minutes.
    ///
    /// # Errors
    /// Where Go is not installed; tests are skipped with that reason.
    ///
    /// # Panics
    /// When Go is there and cannot build it.
    pub fn build() -> Result<Self, CannotBuild> {
        Ok(Self {
            binary: build::build()?,
            chart: Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/causeway"),
        })
    }

    /// Where the chart is.
    #[must_use]
    pub fn chart(&self) -> &Path {
        &self.chart
    }

    /// The folder that the program is in.
    ///
    /// # Panics
    /// Never: it is in one.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.binary.parent().expect("a folder")
    }

    /// What the chart becomes, as Helm writes it.
    ///
    /// # Errors
    /// What Helm complains of.
    pub fn text(&self, release: Release) -> Result<String, String> {
        self.template(&self.chart, release)
    }

    /// What the chart becomes, object by object.
    ///
    /// # Panics
    /// When Helm complains.
    #[must_use]
    pub fn objects(&self, release: Release) -> Vec<Value> {
        let text = self.text(release).unwrap_or_else(|why| panic!("{why}"));
        documents(&text)
    }

    /// The notes that are printed after an installation.
    ///
    /// # Panics
    /// When Helm complains.
    #[must_use]
    pub fn notes(&self, release: Release) -> String {
        let copy = self.copy();
        fs::write(copy.path().join("templates/notes.yaml"), NOTES).expect("written");
        let mut arguments = release.arguments.to_vec();
        arguments.extend(["--show-only", "templates/notes.yaml"]);
        let release = Release {
            arguments: &arguments,
            ..release
        };
        let text = self.template(copy.path(), release);
        let text = text.unwrap_or_else(|why| panic!("{why}"));
        let [object] = &documents(&text)[..] else {
            panic!("one document: {text}");
        };
        object["notes"].as_str().expect("notes").to_owned()
    }

    /// A copy of the chart, to be changed.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            fs::create_dir_all(copy.path().join(&folder)).expect("a folder");
            for entry in fs::read_dir(self.chart.join(&folder)).expect("the chart") {
                let entry = entry.expect("an entry");
                let path = folder.join(entry.file_name());
                if entry.path().is_dir() {
                    folders.push(path);
                } else {
                    fs::copy(entry.path(), copy.path().join(path)).expect("copied");
                }
            }
        }
        copy
    }

    /// Runs a command of Helm's; gives what it prints.
    ///
    /// # Errors
    /// What it complains of.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        // Nobody's own settings, plugins, clusters, or memory of what a server had.
        let home = tempfile::tempdir().expect("a folder");
        let output = Command::new(&self.binary)
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .output()
            .expect("helm runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn template(&self, chart: &Path, release: Release) -> Result<String, String> {
        let chart = chart.to_str().expect("a path in UTF-8");
        let Release {
            name,
            namespace,
            arguments,
        } = release;
        let mut all = vec!["template", name, chart, "--namespace", namespace];
        all.extend(arguments);
        self.run(&all)
    }
}
