//! When the credential for our own cluster ends. It is the client's business to read and renew it; nothing of it is kept here.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use kube::config::AuthInfo;
use secrecy::ExposeSecret;

use crate::kubernetes::expiry;

/// Bytes of a token's or certificate's file.
const FILE: u64 = 1 << 20;

/// Where it is seen when the credential ends.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    /// Of a token or certificate that does not change.
    ends_at: Option<i64>,
    /// A token that is renewed on disk, as a Pod's is by the kubelet.
    token: Option<PathBuf>,
    /// A certificate on disk.
    certificate: Option<PathBuf>,
}

impl Credential {
    /// Of what a kubeconfig or service account says. One that a program makes does not say when it ends.
    pub(super) fn of(user: &AuthInfo) -> Self {
        let token = user.token.as_ref();
        let token = token.and_then(|token| expiry::of_token(token.expose_secret()));
        let certificate = user.client_certificate_data.as_ref();
        let certificate = certificate.and_then(|data| {
            let pem = String::from_utf8(expiry::base64(data)?).ok()?;
            expiry::of_certificate(&pem)
        });
        Self {
            ends_at: token.into_iter().chain(certificate).min(),
            token: user.token_file.as_ref().map(PathBuf::from),
            certificate: user.client_certificate.as_ref().map(PathBuf::from),
        }
    }

    /// When it ends, in seconds since 1970, as it says itself; the soonest of several.
    #[must_use]
    pub fn ends_at(&self) -> Option<i64> {
        let token = self.token.as_ref().and_then(read);
        let token = token.and_then(|token| expiry::of_token(token.trim()));
        let certificate = self.certificate.as_ref().and_then(read);
        let certificate = certificate.and_then(|pem| expiry::of_certificate(&pem));
        self.ends_at
            .into_iter()
            .chain(token)
            .chain(certificate)
            .min()
    }
}

fn read(path: &PathBuf) -> Option<String> {
    let mut text = String::new();
    let mut file = File::open(path).ok()?.take(FILE);
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    /// A token without a signature that ends then.
    fn token(ends: i64) -> String {
        let claims = expiry::encoded(format!("{{\"exp\":{ends}}}").as_bytes());
        format!("e30.{}.x", claims.expect("base64"))
    }

    #[test]
    fn a_token_that_is_renewed_on_disk_is_looked_at_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, token(7_000)).expect("written");
        let credential = Credential::of(&AuthInfo {
            token_file: file.to_str().map(str::to_owned),
            ..AuthInfo::default()
        });
        assert_eq!(credential.ends_at(), Some(7_000));
        std::fs::write(&file, format!("{}\n", token(9_000))).expect("written");
        assert_eq!(credential.ends_at(), Some(9_000));
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(credential.ends_at(), None);
    }

    #[test]
    fn the_sooner_of_several_counts_and_none_is_none() {
        let fixed = |ends| AuthInfo {
            token: Some(SecretString::from(token(ends))),
            ..AuthInfo::default()
        };
        assert_eq!(Credential::of(&fixed(5_000)).ends_at(), Some(5_000));
        assert_eq!(Credential::of(&AuthInfo::default()).ends_at(), None);
    }
}
