//! Builds Helm once for each version of it.

use std::path::PathBuf;
use std::process::Command;

use crate::CannotBuild;
use crate::go::once;

/// The newest of version 3, which users of Terraform's provider and most others have.
const VERSION: &str = "v3.21.4";

/// The program, built now if it was not: that takes about two minutes.
pub(super) fn build() -> Result<PathBuf, CannotBuild> {
    once("helm", VERSION, "helm", |folder| {
        let mut go = Command::new("go");
        go.args(["install", "-ldflags=-s -w"])
            .arg(format!("helm.sh/helm/v3/cmd/helm@{VERSION}"))
            .env("GOBIN", folder);
        go
    })
}
