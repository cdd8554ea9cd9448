//! `causeway create-remote-secret`: a Secret on standard output, everything for people on standard error.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use discovery::Span;
use discovery::kubernetes::client::{self, Local};
use discovery::kubernetes::remote_secret::{self, Request};

use super::say;

/// What can be asked for.
#[derive(Args)]
pub(super) struct Options {
    /// The kubeconfig of the cluster that others shall find; by default those that KUBECONFIG names, else ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of that kubeconfig; by default its current one.
    #[arg(long)]
    context: Option<String>,
    /// The cluster's id; by default the UID of its namespace kube-system.
    #[arg(long)]
    name: Option<String>,
    /// The namespace of the account and of the Secret.
    #[arg(long, default_value = "istio-system")]
    namespace: String,
    /// The account that reads the cluster.
    #[arg(long, default_value = "causeway-reader")]
    service_account: String,
    /// The address under which other clusters reach the API.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How long the token holds, like 24h; without it, until its Secret is deleted.
    #[arg(long, value_parser = span)]
    duration: Option<Span>,
    /// Prints what would be applied, and changes nothing.
    #[arg(long)]
    dry_run: bool,
}

fn span(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| "write a number and its unit, like 30m or 24h".to_owned())
}

/// Runs it.
pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let request = Request {
        name: options.name,
        namespace: options.namespace,
        service_account: options.service_account,
        server: options.server,
        duration: options.duration.map(|span| span.0),
    };
    request.check()?;
    if options.dry_run {
        for manifest in remote_secret::manifests(&request) {
            say(&format!("{}---\n", manifest.yaml))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let local = Local {
        kubeconfig: options.kubeconfig.or_else(usual_kubeconfig),
        context: options.context,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let made = runtime.block_on(async {
        let home = client::local(&local).await?;
        let made = remote_secret::create(&home, &request).await;
        made.with_context(|| format!("no remote Secret for {}", home.server))
    })?;
    say(&made.yaml)?;
    for warning in made.warnings {
        eprintln!("causeway: warning: {warning}");
    }
    if let Some(expires) = made.expires {
        eprintln!(
            "causeway: the server lets the token end at {expires}; renew the Secret before that"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The file that kubectl reads where nothing names another, if it is there. A gateway reads it only where its configuration says
/// so, as nobody wants one that follows whatever cluster a person works on.
fn usual_kubeconfig() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".kube/config");
    (!named && path.is_file()).then_some(path)
}
