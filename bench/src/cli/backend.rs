//! `bench backend`: what its arguments make of an endpoint. It serves nothing itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::backend::{Backend as Endpoint, Fault, Manner, Serving};
use clap::Args;
use sidecar::SIDECAR_ALPN;

use super::{pki, span};

/// An endpoint: answers with its name, sends everything back, or moves bulk; it can be slow and it can fail.
#[derive(Args)]
pub(crate) struct Backend {
    /// Where to listen.
    address: SocketAddr,
    /// How to answer.
    #[arg(long, value_enum, default_value = "answer")]
    manner: Manner,
    /// Who to say it is.
    #[arg(long, default_value = "bench")]
    name: String,
    /// How long to think before each answer.
    #[arg(long, value_parser = span, default_value = "0s", value_name = "TIME")]
    delay: Duration,
    /// Share of the connections that fail, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    errors: f64,
    /// How they fail.
    #[arg(long, value_enum, default_value = "reset")]
    error: Fault,
    /// Real mutual TLS, with the ALPN values that sidecars offer each other.
    #[arg(long)]
    tls: bool,
    /// Folder with root-cert.pem, cert-chain.pem and key.pem, as Istio names them; implies --tls.
    #[arg(long, value_name = "FOLDER")]
    certificates: Option<PathBuf>,
}

impl Backend {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            (0.0..=1.0).contains(&self.errors),
            "--errors must be from 0 to 1"
        );
        let tls = match self.tls || self.certificates.is_some() {
            true => Some(pki(self.certificates.as_deref())?.server_config(SIDECAR_ALPN)),
            false => None,
        };
        bench::cores::raise_file_limit();
        let serving = Serving {
            name: self.name,
            delay: self.delay,
            fault: self.error,
            share: self.errors,
            tls,
            ..Serving::new(self.manner)
        };
        let endpoint = Endpoint::start(self.address, serving, 0)
            .with_context(|| format!("cannot listen on {}", self.address))?;
        println!("listening on {}", endpoint.address);
        loop {
            // Until it is killed.
            std::thread::park();
        }
    }
}
