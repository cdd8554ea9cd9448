//! Certificates of a mesh that lives as long as the process: one root, leaves with SPIFFE names. Never for anything but
//! demos, tests and measurements.

mod files;

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};

/// Who clients are.
const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
/// Who services are.
const SERVICE: &str = "spiffe://cluster.local/ns/default/sa/hello";

/// The root of one mesh, with one identity for its clients and one for its services.
pub struct Pki {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    client: Leaf,
    service: Leaf,
}

struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Pki {
    /// A new root and its leaves.
    ///
    /// # Panics
    /// When the random generator or the certificate generator fails: nothing that asks for this can go on without.
    #[must_use]
    pub fn new() -> Self {
        let root = root();
        Self::of(
            root.der(),
            leaf(&root, CLIENT).into(),
            leaf(&root, SERVICE).into(),
        )
        .expect("a certificate just made is well-formed")
    }

    fn of(root: &CertificateDer<'static>, client: Leaf, service: Leaf) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        Ok(Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            roots: Arc::new(roots),
            client,
            service,
        })
    }

    /// What a sidecar's client side presents and demands: mutual TLS 1.3, a server certificate of this root whatever its
    /// name, no session resumption (each connection is a whole handshake, as between pods that have not met).
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.3 and the key belongs to the certificate.
    #[must_use]
    pub fn client_config(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let verifier = AnyNameOfRoot {
            roots: Arc::clone(&self.roots),
            algorithms: self.provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.client.chain.clone(), self.client.key.clone_key())
            .expect("the key was made for the certificate");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// What an endpoint presents and demands: mutual TLS 1.3, a client certificate of this root.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.3 and the key belongs to the certificate.
    #[must_use]
    pub fn server_config(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&self.provider),
        )
        .build()
        .expect("there is a root");
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.service.chain.clone(), self.service.key.clone_key())
            .expect("the key was made for the certificate");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

/// A new root.
fn root() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
        .distinguished_name
        .push(DnType::OrganizationName, "cluster.local");
    let key = KeyPair::generate().expect("a key pair needs only random bytes");
    CertifiedIssuer::self_signed(params, key).expect("the root's fields are fixed")
}

/// A new identity, as good for a client as for a server.
fn leaf(root: &CertifiedIssuer<'_, KeyPair>, spiffe: &str) -> CertifiedKey<KeyPair> {
    let mut params = CertificateParams::default();
    let name = spiffe.try_into().expect("a SPIFFE name is ASCII");
    params.subject_alt_names = vec![SanType::URI(name)];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let signing_key = KeyPair::generate().expect("a key pair needs only random bytes");
    let cert = params
        .signed_by(&signing_key, root)
        .expect("the leaf's fields are fixed");
    CertifiedKey { cert, signing_key }
}

impl From<CertifiedKey<KeyPair>> for Leaf {
    fn from(made: CertifiedKey<KeyPair>) -> Self {
        Self {
            chain: vec![made.cert.der().clone()],
            key: PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into(),
        }
    }
}

/// Accepts a certificate that chains to the mesh's root, whatever name it bears: sidecars compare SPIFFE names, which DNS
/// rules know nothing of, and the server name of a mesh connection is no name of the server.
#[derive(Debug)]
struct AnyNameOfRoot {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyNameOfRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let cert = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &cert,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
