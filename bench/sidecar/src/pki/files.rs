//! A mesh's certificates in files, so that a client and an endpoint in two processes, or a client in a real cluster, have the
//! same root. It must not write a key that others may read.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Leaf, Pki, SERVICE, leaf, root};

/// The names that Istio's agent gives them (`OUTPUT_CERTS`).
const ROOT: &str = "root-cert.pem";
const CHAIN: &str = "cert-chain.pem";
const KEY: &str = "key.pem";

impl Pki {
    /// Reads `root-cert.pem`, `cert-chain.pem` and `key.pem` in that folder; the one identity serves clients and services.
    ///
    /// # Errors
    /// When a file cannot be read, or is no PEM of its kind.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let in_file = |name: &str, error: String| {
            io::Error::other(format!("{}: {error}", folder.join(name).display()))
        };
        let root = CertificateDer::from_pem_file(folder.join(ROOT))
            .map_err(|error| in_file(ROOT, error.to_string()))?;
        let identity = || -> io::Result<Leaf> {
            let chain = CertificateDer::pem_file_iter(folder.join(CHAIN))
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| in_file(CHAIN, error.to_string()))?;
            let key = PrivateKeyDer::from_pem_file(folder.join(KEY))
                .map_err(|error| in_file(KEY, error.to_string()))?;
            Ok(Leaf { chain, key })
        };
        Self::of(&root, identity()?, identity()?).map_err(|error| in_file(ROOT, error.to_string()))
    }

    /// Makes a new mesh and writes those three files for [`Self::read`]; what is there is replaced.
    ///
    /// # Errors
    /// When the folder or a file cannot be written.
    pub fn create(folder: &Path) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let root = root();
        let made = leaf(&root, SERVICE);
        for (name, text) in [
            (ROOT, root.pem()),
            (CHAIN, made.cert.pem()),
            (KEY, made.signing_key.serialize_pem()),
        ] {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(folder.join(name))?;
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{Backend, Client};

    #[tokio::test]
    async fn two_who_read_the_same_folder_trust_each_other() {
        let folder = std::env::temp_dir().join(format!("sidecar-files-{}", std::process::id()));
        Pki::create(&folder).unwrap();
        let (one, other) = (Pki::read(&folder).unwrap(), Pki::read(&folder).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        let ip = Ipv4Addr::LOCALHOST.into();
        let backend = Backend::start(&one, "us/a/one", ip).await.unwrap();
        let answer = Client::new(&other, backend.address()).ask().await.unwrap();
        assert_eq!(answer.who, "us/a/one");
        let stranger = Client::new(&Pki::new(), backend.address());
        assert!(stranger.ask().await.is_err());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Pki::read(Path::new("/nowhere")).map(drop).unwrap_err();
        assert!(
            error.to_string().contains("/nowhere/root-cert.pem"),
            "{error}"
        );
    }
}
