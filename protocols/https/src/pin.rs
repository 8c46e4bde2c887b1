//! Pinned keys: of the chains that the authorities vouch for, only those with a key that the configuration names.
//!
//! What a server sends along with its certificate is not yet its chain: anybody can append a certificate that is
//! pinned. So a key counts if it is the server's own, or if it signed, over whatever is between them, the server's
//! certificate: then the certificate can be verified with the pinned one as the only authority.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Most certificates of a server's chain that are looked at; a real one has three.
const LONGEST_CHAIN: usize = 16;

/// Verifies as every client does, and then asks for a pinned key.
#[derive(Debug)]
pub(crate) struct PinnedVerifier {
    usual: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    authorities: Vec<CertificateDer<'static>>,
    pins: Vec<[u8; 32]>,
}

impl PinnedVerifier {
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        roots: RootCertStore,
        authorities: Vec<CertificateDer<'static>>,
        pins: Vec<[u8; 32]>,
    ) -> Result<Self, Error> {
        let usual = verifier(roots, &provider)?;
        Ok(PinnedVerifier { usual, provider, authorities, pins })
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        spki_sha256(certificate).is_some_and(|hash| self.pins.contains(&hash))
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.usual.verify_server_cert(own, others, name, ocsp, now)?;
        if self.is_pinned(own) {
            return Ok(verified);
        }
        let others = others.get(..LONGEST_CHAIN).unwrap_or(others);
        let unpinned = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let pinned = others.iter().chain(&self.authorities).filter(|certificate| self.is_pinned(certificate));
        let pinned = trusting(pinned).map_err(|_| unpinned())?;
        if pinned.is_empty() {
            return Err(unpinned());
        }
        let pinned = verifier(pinned, &self.provider)?.verify_server_cert(own, others, name, ocsp, now);
        pinned.map_err(|_| unpinned())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// A store of these authorities and no other.
pub(crate) fn trusting<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>,
) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone().into_owned())?;
    }
    Ok(roots)
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

/// SHA-256 of the SubjectPublicKeyInfo in its DER form (RFC 7469, 2.4). It stays when a certificate is renewed with
/// the same key.
fn spki_sha256(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256::digest(certificate.public_key().raw).into())
}
