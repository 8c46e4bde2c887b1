//! Who the gateway is and whom it trusts: the three files of the uplink, read, bounded and checked against each other.
//! How they are used on a connection is the client's.

mod error;
mod expiry;
mod look;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lineside_protocols::sample::UnixMillis;
use lineside_protocols::uplink::{KeySource, Settings};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::error::{IdentityError, Item};
pub use self::expiry::{Expiry, Stage};
pub use self::look::Look;
use crate::pin::{PinnedVerifier, trusting};

/// Longest file that is read: a bundle of all public authorities has a quarter of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The certificate with its key, and the authorities that may have signed the server's.
#[derive(Debug)]
pub struct Identity {
    authorities: Vec<CertificateDer<'static>>,
    /// From the beginning of the first to the end of the last.
    authorities_validity: (UnixMillis, UnixMillis),
    own: CertifiedKey,
    validity: (UnixMillis, UnixMillis),
}

impl Identity {
    /// Reads and checks the files that the settings name.
    ///
    /// # Errors
    /// [`IdentityError`], which knows the setting that it is about and what to do.
    pub fn load(settings: &Settings) -> Result<Self, IdentityError> {
        Self::load_with(settings, credentials_directory().as_deref())
    }

    fn load_with(settings: &Settings, credentials: Option<&Path>) -> Result<Self, IdentityError> {
        let authorities = certificates(Item::Ca, &settings.ca)?;
        roots(&settings.ca, &authorities)?;
        // One that has expired among others is no harm.
        let all = authorities.iter().filter_map(validity_of);
        let authorities_validity = all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let authorities_validity = authorities_validity.unwrap_or((UnixMillis(0), UnixMillis(i64::MAX)));
        let chain = certificates(Item::Certificate, &settings.certificate)?;
        let validity = validity(&settings.certificate, &chain)?;
        let key_path = key_path(&settings.private_key, credentials)?;
        let key = private_key(&key_path, &settings.private_key)?;
        let key =
            ring::sign::any_supported_type(&key).map_err(|_| IdentityError::KeyKind { path: key_path.clone() })?;
        let own = CertifiedKey::new(chain, key);
        if own.keys_match().is_err() {
            let at = (1..own.cert.len()).find(|&at| {
                let rest = own.cert.get(at..).unwrap_or_default().to_vec();
                CertifiedKey::new(rest, Arc::clone(&own.key)).keys_match().is_ok()
            });
            let certificate = settings.certificate.clone();
            return Err(IdentityError::Mismatch { certificate, private_key: key_path, matching: at.map(|at| at + 1) });
        }
        Ok(Identity { authorities, authorities_validity, own, validity })
    }

    /// When the client certificate expires.
    #[must_use]
    pub fn not_after(&self) -> UnixMillis {
        self.validity.1
    }

    /// Whether it is the same certificate and the same authorities; the key then is the same too.
    #[must_use]
    pub fn is_same(&self, other: &Identity) -> bool {
        self.own.cert == other.own.cert && self.authorities == other.authorities
    }

    /// What somebody should see to of the certificates by this clock, at most one of the client's and one of the
    /// authorities'. Not errors: the clock may be wrong, and the cloud decides.
    #[must_use]
    pub fn expiries(&self, now: UnixMillis) -> Vec<Expiry> {
        let all = [(Item::Certificate, self.validity), (Item::Ca, self.authorities_validity)];
        all.into_iter().filter_map(|(item, validity)| Expiry::of(item, validity, now)).collect()
    }

    /// TLS 1.2 or 1.3 as this identity, trusting these authorities alone, and of them only chains with a pinned key,
    /// where any is pinned.
    pub(crate) fn tls(&self, pins: &[[u8; 32]]) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let roots = trusting(&self.authorities)?;
        let own = Arc::new(SingleCertAndKey::from(self.own.clone()));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let builder = if pins.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let verifier = PinnedVerifier::new(provider, roots, self.authorities.clone(), pins.to_vec())?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut tls = builder.with_client_cert_resolver(own);
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // With resumption the server would go on seeing the identity of the first handshake after a rotation.
        tls.resumption = Resumption::disabled();
        Ok(tls)
    }
}

/// Whether each of them can be an authority.
fn roots(path: &Path, certificates: &[CertificateDer<'static>]) -> Result<(), IdentityError> {
    let unusable = certificates.iter().position(|certificate| trusting([certificate]).is_err());
    unusable.map_or(Ok(()), |at| {
        Err(IdentityError::Certificate { item: Item::Ca, path: path.to_owned(), position: at + 1 })
    })
}

fn certificates(item: Item, path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read(item, path, |_| Ok(()))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|_| IdentityError::Damaged { item, path: path.to_owned() })?;
    if all.is_empty() {
        let has_key = PrivateKeyDer::pem_slice_iter(&text).next().is_some();
        return Err(IdentityError::Nothing {
            item,
            path: path.to_owned(),
            instead: has_key.then_some("a private key"),
        });
    }
    Ok(all)
}

/// Of the first certificate, which is the client's own.
fn validity(path: &Path, chain: &[CertificateDer<'_>]) -> Result<(UnixMillis, UnixMillis), IdentityError> {
    chain.first().and_then(validity_of).ok_or_else(|| IdentityError::Certificate {
        item: Item::Certificate,
        path: path.to_owned(),
        position: 1,
    })
}

fn validity_of(certificate: &CertificateDer<'_>) -> Option<(UnixMillis, UnixMillis)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let milliseconds = |seconds: i64| UnixMillis(seconds.saturating_mul(1000));
    let validity = certificate.validity();
    Some((milliseconds(validity.not_before.timestamp()), milliseconds(validity.not_after.timestamp())))
}

/// Where the key lies. A credential is looked for where systemd puts it (systemd.exec(5), `LoadCredential=`).
fn key_path(source: &KeySource, credentials: Option<&Path>) -> Result<PathBuf, IdentityError> {
    match source {
        KeySource::File(path) => Ok(path.clone()),
        KeySource::Credential(name) => credential(name, credentials),
    }
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn credential(name: &str, directory: Option<&Path>) -> Result<PathBuf, IdentityError> {
    // systemd's own rule: a valid file name (systemd.exec(5), LoadCredential=).
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(IdentityError::CredentialName { name: name.to_owned() });
    }
    let directory = directory.ok_or_else(|| IdentityError::NoCredentials { name: name.to_owned() })?;
    Ok(directory.join(name))
}

fn private_key(path: &Path, source: &KeySource) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let text = read(Item::PrivateKey, path, |file| match source {
        KeySource::File(_) => private(path, file),
        // systemd guards its credentials itself, with an access list that shows as group permission.
        KeySource::Credential(_) => Ok(()),
    })?;
    let all: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(&text).collect();
    let mut all = all.map_err(|_| IdentityError::Damaged { item: Item::PrivateKey, path: path.to_owned() })?;
    let path = path.to_owned();
    match (all.pop(), all.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), others) => Err(IdentityError::SeveralKeys { path, count: others + 1 }),
        (None, _) if holds(&text, b"ENCRYPTED") => Err(IdentityError::EncryptedKey { path }),
        (None, _) => {
            let has_certificate = CertificateDer::pem_slice_iter(&text).next().is_some();
            let instead = has_certificate.then_some("a certificate");
            Err(IdentityError::Nothing { item: Item::PrivateKey, path, instead })
        }
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Neither group nor others may do anything with the key's file.
fn private(path: &Path, file: &File) -> Result<(), IdentityError> {
    let unreadable = |source| IdentityError::Unreadable { item: Item::PrivateKey, path: path.to_owned(), source };
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(IdentityError::Permission { path: path.to_owned(), mode }) }
}

fn read(
    item: Item,
    path: &Path,
    check: impl FnOnce(&File) -> Result<(), IdentityError>,
) -> Result<Vec<u8>, IdentityError> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => IdentityError::Missing { item, path: path.to_owned() },
        _ => IdentityError::Unreadable { item, path: path.to_owned(), source },
    };
    // Opening a pipe would wait for its writer, so the kind of file comes first.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(IdentityError::NotAFile { item, path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    check(&file)?;
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(IdentityError::TooLarge { item, path: path.to_owned() });
    }
    Ok(text)
}
