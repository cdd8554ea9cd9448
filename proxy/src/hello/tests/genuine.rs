//! Hellos as rustls writes them, byte for byte, and what its own acceptor makes of any.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::super::Alpn;
use super::{parse, parse_bytewise};

/// What rustls makes of first bytes.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A hello, with this name and these protocols.
    Accepted(Option<String>, Vec<String>),
    /// More bytes are wanted.
    Incomplete,
    /// Refused.
    Rejected(Error),
}

/// Asks rustls's acceptor.
pub(super) fn ask(mut raw: &[u8]) -> Verdict {
    let mut acceptor = Acceptor::default();
    loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let protocols = hello.alpn().into_iter().flatten();
                let protocols = protocols.map(|p| String::from_utf8_lossy(p).into_owned());
                let protocols = protocols.collect();
                return Verdict::Accepted(hello.server_name().map(str::to_owned), protocols);
            }
            Err((error, _)) => return Verdict::Rejected(error),
            Ok(None) if raw.is_empty() => return Verdict::Incomplete,
            Ok(None) => acceptor.read_tls(&mut raw).expect("a slice can be read"),
        };
    }
}

/// The hello of a rustls client.
pub(super) fn hello(name: &str, alpn: &[&str], early_data: bool) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Nobody))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.enable_early_data = early_data;
    let name = ServerName::try_from(name.to_owned()).expect("a name that rustls takes");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut raw = Vec::new();
    client.write_tls(&mut raw).expect("a Vec can be written");
    raw
}

/// The certificate is never seen: the handshake ends with the hello.
#[derive(Debug)]
struct Nobody;

impl ServerCertVerifier for Nobody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(Error::DecryptError)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::DecryptError)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::DecryptError)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[test]
fn hellos_of_rustls_are_read_whole_and_bytewise() {
    let mesh = "outbound_.5000_._.hello.default.svc.cluster.local";
    let cases: [(&str, &[&str]); 4] = [
        (mesh, &["istio"]),
        (mesh, &["istio-peer-exchange", "istio", "h2"]),
        ("a.test", &["h2", "http/1.1"]),
        ("a.test", &[]),
    ];
    for (name, alpn) in cases {
        let raw = hello(name, alpn, false);
        let parsed = parse(&raw).unwrap().unwrap();
        assert_eq!(parsed.name.as_str(), name);
        assert_eq!(parsed.alpn, alpn.iter().copied().collect::<Alpn>());
        assert_eq!(parsed.len, raw.len());
        assert!(!parsed.early_data);
        assert_eq!(parse_bytewise(&raw), Ok(Some(parsed)));
    }
}
