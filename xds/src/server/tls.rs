//! Certificates of the server, read again when the files change. It must never fall back to anything weaker.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::serve::TlsFiles;

/// What is wrong with the certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of the kind.
    #[error("{}: {problem}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it. Never its contents.
        problem: String,
    },
    /// The files do not go together.
    #[error("{}, its key and the client CA do not go together: {problem}", .certificate.display())]
    Together {
        /// The certificate.
        certificate: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The certificates in force.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stamps: Stamps,
    config: Arc<ServerConfig>,
}

/// Tells whether files are the same as before: of each its device, inode, length and time of change. Kubernetes swaps a link
/// when it renews a mounted Secret, which is another inode.
type Stamps = [Option<(u64, u64, u64, i64, i64)>; 3];

impl Certificates {
    /// Reads the files.
    pub(super) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let config = Arc::new(config(&files)?);
        let state = Mutex::new(State { stamps, config });
        Ok(Self { files, state })
    }

    /// What a new connection uses. Files that have changed are read; while they cannot be, those before stay in force, and the
    /// second value says why.
    pub(super) fn current(&self) -> (Arc<ServerConfig>, Option<Result<(), TlsError>>) {
        let mut state = self.state.lock();
        let stamps = stamps(&self.files);
        if stamps == state.stamps {
            return (state.config.clone(), None);
        }
        let outcome = config(&self.files).map(|config| {
            state.config = Arc::new(config);
            // Only now: a renewal that was caught half way is tried again.
            state.stamps = stamps;
        });
        (state.config.clone(), Some(outcome))
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &Path| {
        let data = fs::metadata(path).ok()?;
        Some((
            data.dev(),
            data.ino(),
            data.len(),
            data.mtime(),
            data.mtime_nsec(),
        ))
    };
    [
        stamp(&files.certificate),
        stamp(&files.key),
        stamp(&files.client_ca),
    ]
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let problem = |file: &Path, problem: String| TlsError::File {
        file: file.into(),
        problem,
    };
    let certificates = |file: &Path| {
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        let read: Vec<CertificateDer<'static>> =
            read.map_err(|fault| problem(file, fault.to_string()))?;
        match read.is_empty() {
            true => Err(problem(file, "it holds no certificate".into())),
            false => Ok(read),
        }
    };
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|fault| problem(&files.key, fault.to_string()))?;
    let mut roots = RootCertStore::empty();
    for root in certificates(&files.client_ca)? {
        let added = roots.add(root);
        added.map_err(|fault| problem(&files.client_ca, fault.to_string()))?;
    }
    let together = |problem: String| TlsError::Together {
        certificate: files.certificate.clone(),
        problem,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|fault| together(fault.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| together(fault.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|fault| together(fault.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
