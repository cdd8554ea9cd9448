//! The arguments of each command, and what they become. Nothing here measures.

pub(crate) mod backend;
pub(crate) mod compare;
pub(crate) mod floor;
pub(crate) mod load;
mod measured;
pub(crate) mod memory;
pub(crate) mod scale;
pub(crate) mod scrape;
pub(crate) mod syscalls;
pub(crate) mod xds;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sidecar::Pki;

/// Where a mesh's certificates are kept unless a folder is given: `bench backend --tls` makes them, `bench load --tls` uses them.
const CERTIFICATES: &str = "target/bench/certificates";

/// A length of time like `250ms`, `10s` or `5m`; a bare number is seconds.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit '{unit}': use us, ms, s, m or h")),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("'{digits}' is no number"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

/// The mesh whose certificates stand in that folder; in the default one a new mesh is made where there is none.
fn pki(folder: Option<&Path>) -> Result<Pki> {
    let path = folder.map_or_else(|| PathBuf::from(CERTIFICATES), Path::to_path_buf);
    if folder.is_none() && !path.exists() {
        Pki::create(&path)
            .with_context(|| format!("cannot make certificates in {}", path.display()))?;
        eprintln!("made certificates of a new mesh in {}", path.display());
    }
    Pki::read(&path).with_context(|| {
        format!(
            "cannot read certificates in {}: it must hold root-cert.pem, cert-chain.pem and key.pem",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit_or_is_seconds() {
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(span("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(span("2m"), Ok(Duration::from_secs(120)));
        assert!(span("2 weeks").is_err() && span("-1s").is_err() && span("s").is_err());
    }
}
